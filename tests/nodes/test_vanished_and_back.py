"""A row that vanished unseen, and is there again before its deletion is noted."""

import pytest
from django.db import connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.replication import feed
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def test_a_row_that_is_back_is_not_deleted(monkeypatch):
    net = Network("ab")
    tag = Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    Tag.objects.using(A).filter(pk=tag.pk).update(name="u")
    feed.stamp(A)
    with transaction.atomic(using=A), vendor_for(connections[A]).applying():
        Tag.objects.using(A).filter(pk=tag.pk).delete()
    real = feed._note_deletions

    def late(using, vanished):
        Tag.objects.using(A).create(pk=tag.pk, name="back")
        real(using, vanished)

    monkeypatch.setattr(feed, "_note_deletions", late)
    net.ok("b", "a")
    monkeypatch.undo()
    net.heal([("b", "a")])
    assert [t.name for t in Tag.objects.using(B).all()] == ["back"]
    assert net.rows("a") == net.rows("b")
