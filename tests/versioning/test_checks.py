"""The checks of the history, and what is made where they were not heeded."""

import pytest
from django.db import router

from handleref_sync.capture import install
from handleref_sync.models import RevisionSource
from handleref_sync.versioning.sources import local_node_name, sources_of
from tests.messages import found
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Country
from tests.versioning.history import count

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


class Elsewhere:
    """Keeps the given applications out of the second database."""

    def __init__(self, *labels):
        self.labels = labels

    def allow_migrate(self, db, app_label, **hints):
        return False if db == B and app_label in self.labels else None


@pytest.fixture
def replicated_history(settings, transactional_db):
    """MODELS that name reversion's tables; afterwards their triggers are taken off again."""
    before = settings.HANDLEREF_SYNC
    settings.HANDLEREF_SYNC = {**before, "MODELS": [*before["MODELS"], "reversion.Version", "reversion.Revision"]}
    yield
    settings.HANDLEREF_SYNC = before
    for using in (A, B):
        install.install(using)


def test_a_replicated_history_is_refused_and_makes_none(replicated_history, register):
    register(Country)
    message = found()["handleref_sync.E010"]
    assert "reversion.Version, reversion.Revision can't be replicated" in message.msg and message.hint
    net = Network("ab")
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    assert Country.objects.using(B).get().name == "France" and count(B) == (0, 0, 0)


def test_a_history_elsewhere_is_warned_of_and_shows_nothing(settings, register, monkeypatch):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "DATABASE": B}
    monkeypatch.setattr(router, "routers", [Elsewhere("reversion")])
    assert found() == {}
    register(Country)
    message = found()["handleref_sync.W010"]
    assert "a router keeps django-reversion out of 'second'" in message.msg and message.hint
    net = Network("ab")
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    assert Country.objects.using(B).get().name == "France" and count(B) == (0, 0, 0)


def test_a_database_that_is_no_node_has_no_sources(monkeypatch):
    RevisionSource.objects.using(B).create(revision_id=1, node="a", dot="a:1", timestamp=1, peer="a")
    assert set(sources_of([1], B)) == {1}
    monkeypatch.setattr(router, "routers", [Elsewhere("handleref_sync")])
    assert sources_of([1], B) == {} and local_node_name(B) is None


def test_without_reversion_there_is_nothing_to_check(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "reversion"]
    assert found() == {}
