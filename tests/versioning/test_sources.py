"""Where revisions come from."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from reversion.models import Revision

from handleref_sync.models import LocalNode, RevisionSource
from handleref_sync.versioning import available
from handleref_sync.versioning.sources import local_node_name, node_of, sources_of
from tests.nodes.network import ALIASES

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))


def revision(**source):
    made = Revision.objects.create(date_created=timezone.now())
    if source:
        values = {"dot": "b:1", "timestamp": 1, "peer": "c", **source}
        RevisionSource.objects.create(revision_id=made.pk, **values)
    return made.pk


def test_sources_come_in_one_query_and_only_for_what_replication_made(node):
    here, there, other = revision(), revision(node="b"), revision(node="c", lost=True)
    with CaptureQueriesContext(connections["default"]) as queries:
        found = sources_of([here, there], "default")
    assert len(queries) == 1
    assert set(found) == {there} and other not in found
    assert (found[there].node, found[there].peer, found[there].lost) == ("b", "c", False)
    assert sources_of([], "default") == {}


def test_an_ordinary_revision_counts_for_the_local_node(node):
    assert node_of(revision(), "default") == local_node_name("default") == "a"
    assert node_of(revision(node="b"), "default") == "b"
    LocalNode.objects.all().delete()
    assert node_of(revision(), "default") is None


def test_there_is_a_history_only_where_reversion_is_an_installed_app(settings):
    assert available()
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "reversion"]
    assert not available()
