"""A model that is taken out of MODELS and named again."""

import pytest

from handleref_sync.capture import install
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Country, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def tags(settings):
    """Says whether tags are replicated from here on, and migrates."""
    named = settings.HANDLEREF_SYNC

    def name(yes):
        models = [label for label in named["MODELS"] if yes or label != "testapp.Tag"]
        settings.HANDLEREF_SYNC = {**named, "MODELS": models}
        for node, using in ALIASES.items():
            install.install(using, node=node)

    yield name
    name(True)


def test_what_was_stamped_before_still_arrives(tags):
    net = Network("ab")
    Tag.objects.using(A).create(name="t")
    stamp(A)
    tags(False)
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    assert Country.objects.using(B).exists()
    tags(True)
    net.ok("b", "a")
    assert Tag.objects.using(B).exists()
    assert net.rows("a") == net.rows("b")


def test_it_does_not_hide_behind_the_vector_of_a_third_node(tags):
    net = Network("abc")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    tags(False)
    Country.objects.using(A).create(code="fr", name="France")
    net.heal([("b", "a"), ("c", "b")])
    tags(True)
    net.heal([("b", "a"), ("c", "b")])
    assert Tag.objects.using(C).exists()


def test_writes_that_were_not_stamped_yet_are_kept(tags):
    net = Network("ab")
    Tag.objects.using(A).create(name="one")
    net.ok("b", "a")
    Tag.objects.using(A).update(name="two")
    tags(False)
    net.ok("b", "a")
    tags(True)
    net.ok("b", "a")
    assert Tag.objects.using(B).get().name == "two"
