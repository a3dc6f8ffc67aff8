"""Tombstones go when nobody needs them any more, and what was deleted does not come back."""

from datetime import timedelta

import pytest
from django.db import connections

from handleref_sync.capture.base import vendor_for
from handleref_sync.models import Conflict, LocalNode, Node, Peer, Stamp
from handleref_sync.replication import lives
from handleref_sync.replication.purging import purge
from handleref_sync.replication.stamping import stamp
from handleref_sync.transport import pairing
from tests.nodes.network import ALIASES, ORDERS, Network, tick
from tests.refapp.models import Owner
from tests.testapp.models import Item, Tag

pytestmark = pytest.mark.django_db(databases=list(ALIASES.values()), transaction=True)
A, B, C = ALIASES["a"], ALIASES["b"], ALIASES["c"]
NOW = timedelta(0)


@pytest.fixture
def net():
    """A chain: a, b, c; so that b can be away from a while c is not from b."""
    return Network("abc")


def tombstones(using):
    return Stamp.objects.using(using).filter(deleted=True).count()


def delete(using, model, **which):
    model._base_manager.using(using).filter(**which)._raw_delete(using)


@pytest.fixture
def lamp(net):
    """Made at a, known everywhere, and deleted at a."""
    Item.objects.using(A).create(name="lamp")
    net.everywhere()
    delete(A, Item)


def test_one_stays_until_every_peer_has_it(net, lamp):
    report = purge(A, keep=NOW)
    assert (report.purged, report.waiting) == (0, {}), "it is not even stamped"
    net.ok("b", "a")
    net.ok("b", "a")
    report = purge(A, keep=NOW)
    assert (report.purged, report.waiting) == (0, {"c": 1})
    net.everywhere()
    tick()
    assert purge(A, keep=NOW).purged == 1
    assert tombstones(A) == 0
    net.heal(ORDERS[0])
    assert tombstones(A) == 0


def test_and_for_as_long_as_is_asked(net, lamp):
    net.everywhere()
    report = purge(A, keep=timedelta(days=1))
    assert (report.purged, report.young) == (0, 1)


def test_a_dry_run_drops_nothing(net, lamp):
    net.everywhere()
    tick()
    assert purge(A, keep=NOW, dry_run=True).purged == 1
    assert tombstones(A) == 1
    assert not LocalNode.objects.using(A).get().dropped


def test_what_came_in_part_only_is_kept(net):
    """The vector does not cover it, so if it came back nobody would notice."""
    Peer.objects.using(A).filter(name="b").update(relay=False)
    Item.objects.using(B).create(name="lamp")
    net.ok("b", "a")
    delete(A, Item)
    net.heal([("b", "a"), ("c", "a")])
    tick()
    report = purge(A, keep=NOW)
    assert (report.purged, report.uncovered) == (0, 1)


def away(net):
    """c misses a deletion, is forgotten, edits the record, and comes back."""
    Item.objects.using(A).create(name="lamp")
    Item.objects.using(A).create(name="rope")
    net.everywhere()
    delete(A, Item, name="lamp")
    net.heal([("b", "a")])
    tick()
    for name in "ab":
        report = purge(ALIASES[name], keep=NOW, older_than=NOW)
        assert report.forgotten == ["c"]
        assert report.purged == 1
    Peer.objects.using(C).all().delete()
    for name in "ab":
        Peer.objects.using(ALIASES[name]).create(name="c", public_key=b"", rejoining=True)
        Peer.objects.using(C).create(name=name, public_key=b"")


@pytest.mark.parametrize("edited", [False, True])
def test_who_was_away_brings_nothing_back(net, edited):
    away(net)
    if edited:
        tick()
        Item.objects.using(C).filter(name="lamp").update(name="lantern")
    net.ok("c", "a")
    net.everywhere()
    for using in (A, B, C):
        assert [item.name for item in Item.objects.using(using).all()] == ["rope"]
    lost = Conflict.objects.using(A).filter(model="testapp.item")
    assert lost.count() == 1, "what was deleted can be restored"
    assert not Peer.objects.using(A).get(name="c").rejoining


def test_its_own_new_records_are_taken(net):
    away(net)
    Item.objects.using(C).create(name="oar")
    Tag.objects.using(C).create(name="t")
    net.everywhere()
    assert {item.name for item in Item.objects.using(A).all()} == {"rope", "oar"}
    assert Tag.objects.using(B).count() == 1


def test_a_tombstone_that_comes_again_rests(net, lamp):
    net.everywhere()
    tick()
    purge(A, keep=NOW)
    before = LocalNode.objects.using(A).get().sequence
    Peer.objects.using(B).update(given=[])  # b does not remember what a has had
    Peer.objects.using(A).filter(name="b").update(rejoining=True)
    net.heal(ORDERS[0])
    assert tombstones(A) == 0
    assert LocalNode.objects.using(A).get().sequence == before


def test_what_is_made_again_where_the_deletion_is_known_is_taken(net):
    """b has the tombstone that a has dropped. What b makes there knows that it was deleted, and is no mistake."""
    Owner.objects.using(A).create(name="anna")
    net.everywhere()
    delete(A, Owner)
    net.everywhere()
    tick()
    assert purge(A, keep=NOW).purged == 1
    Owner.objects.using(B).create(name="anna")
    net.heal(ORDERS[0])
    for using in (A, B, C):
        assert Owner.objects.using(using).count() == 1
        assert not Conflict.objects.using(using).exists()


@pytest.mark.parametrize("starts", ["a", "b"])
def test_who_was_restored_from_an_older_backup_brings_nothing_back(net, starts):
    """b knew of the deletion, so that the tombstone could go, and then goes back to before it."""
    Item.objects.using(A).create(name="lamp")
    net.everywhere()
    before = {model: list(model.objects.using(B).values()) for model in (Stamp, Peer)}
    nodes = list(Node.objects.using(B).values())
    sequence = LocalNode.objects.using(B).get().sequence
    delete(A, Item)
    net.everywhere()
    tick()
    assert purge(A, keep=NOW).purged == 1
    with vendor_for(connections[B]).applying():
        Item.objects.using(B).create(id=next(s["pk_text"] for s in before[Stamp]), name="lamp")
    for model, rows in before.items():
        model.objects.using(B).all().delete()
        model.objects.using(B).bulk_create(model(**row) for row in rows)
    for node in nodes:
        Node.objects.using(B).filter(pk=node["id"]).update(vector=node["vector"], seen=node["seen"])
    LocalNode.objects.using(B).update(sequence=sequence)
    lives.restored(B)
    other = {"a": "b", "b": "a"}[starts]
    for _ in range(2):
        net.ok(starts, other)
    assert not Item.objects.using(B).exists()
    assert not Item.objects.using(A).exists()


def test_who_took_over_what_another_had_dropped_lets_a_third_show_what_it_has(net):
    """c comes late and never had the tombstone; b, who was away, meets c alone."""
    Peer.objects.all().delete()
    for using in (B, C):
        Peer.objects.using(using).all().delete()

    def pair(one, other):
        for here, there in ((one, other), (other, one)):
            pairing._save(ALIASES[here], there, "", b"", read_only=[])

    pair("a", "b")
    Item.objects.using(A).create(name="lamp")
    net.ok("b", "a")
    delete(A, Item)
    stamp(A)
    tick()
    assert purge(A, keep=NOW, older_than=NOW).forgotten == ["b"]
    pair("b", "c")
    pair("c", "a")
    net.ok("c", "a")
    for _ in range(2):
        net.ok("c", "b")
    assert not Item.objects.using(B).exists()
    assert not Item.objects.using(C).exists()
