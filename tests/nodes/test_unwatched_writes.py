"""Writes while a model was not named, or its triggers were missing."""

import pytest

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.models import Conflict
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()
BASE = ["auth.User", "adminapp.Label"]


@pytest.fixture
def net():
    return Network("abc")


def name(settings, *labels):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MODELS": list(labels)}
    for using in (A, B, C):
        registry.forget(using)


def migrate(*aliases):
    for using in aliases:
        install.install(using, node={v: k for k, v in ALIASES.items()}[using])


def test_notes_of_a_model_that_is_not_named_for_a_while(settings):
    net = Network("ab")
    old = Tag.objects.using(A).create(name="old")
    gone = Tag.objects.using(A).create(name="gone")
    net.ok("b", "a")
    name(settings, *BASE)
    Tag.objects.using(A).create(name="new")
    Tag.objects.using(A).filter(pk=old.pk).update(name="changed")
    Tag.objects.using(A).filter(pk=gone.pk).delete()
    net.ok("b", "a")
    name(settings, "testapp.Tag", *BASE)
    net.heal([("b", "a")])
    assert sorted(t.name for t in Tag.objects.using(B).all()) == ["changed", "new"]


def test_writes_while_the_triggers_were_missing(net):
    tags = [Tag.objects.using(A).create(name=n) for n in ("old", "gone", "same")]
    net.ok("b", "a")
    install.uninstall(A)
    Tag.objects.using(A).filter(pk=tags[0].pk).update(name="changed")
    Tag.objects.using(A).filter(pk=tags[1].pk).delete()
    migrate(A)
    net.heal([("b", "a")])
    assert sorted(t.name for t in Tag.objects.using(B).all()) == ["changed", "same"]
    assert net.rows("a") == net.rows("b")
    assert not Conflict.objects.using(B).exists()
