"""The loser of a conflict is in the history, marked, before its winner, once on each node."""

import re

import pytest
import reversion
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext
from reversion.models import Revision, Version

from handleref_sync import wire
from handleref_sync.core.change import Record
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Conflict, RevisionSource, Stamp
from handleref_sync.replication.conflicts import entry_id, restore
from handleref_sync.replication.stamping import stamp
from handleref_sync.versioning import recording
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.testapp.models import Airport, Country, Item, Tag
from tests.versioning.history import comments, count, entries, names

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def lost(using):
    return list(RevisionSource.objects.using(using).filter(lost=True).order_by("pk"))


def conflicting(net, model=Country, **values):
    """A row that a and b have changed apart, b later."""
    model.objects.using(A).create(name="first", **values)
    net.ok("b", "a")
    net.ok("c", "a")
    model.objects.using(A).update(name="of a")
    tick()
    model.objects.using(B).update(name="of b")
    for using in (A, B):
        stamp(using)


@pytest.mark.parametrize("caller", ["a", "b"])
def test_on_the_nodes_that_find_it_and_on_those_that_hear_of_it(net, register, caller):
    register(Country)
    conflicting(net, code="fr")
    net.ok(caller, "b" if caller == "a" else "a")
    net.ok("c", "a")
    net.heal([("a", "b"), ("b", "c"), ("c", "a")])
    for using in (A, B, C):
        there = Country.objects.using(using).get()
        assert there.name == "of b"
        (source,) = lost(using)
        entry = Conflict.objects.using(using).get()
        assert (source.node, source.dot, source.conflict) == ("a", f"a:{entry.counter}", entry.pk)
        assert source.timestamp == entry.timestamp
        assert [e for e in names(there) if e[1]] == [("a", True, "of a")]
    # Before the winner, where both are new; b has its own write already, and no revision of it.
    assert names(Country.objects.using(A).get()) == [("a", True, "of a"), ("b", False, "of b")]
    assert names(Country.objects.using(B).get()) == [("a", False, "first"), ("a", True, "of a")]
    assert names(Country.objects.using(C).get()) == [("a", False, "first"), ("a", True, "of a"), ("b", False, "of b")]


def test_the_comment_says_by_whom_when_and_against_what(net, register):
    register(Country)
    conflicting(net, code="fr")
    net.ok("b", "a")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC"
    pattern = rf"Lost a conflict: written by a at {moment}, against one by b at {moment}\. Logged in a sync with %s\."
    assert re.fullmatch(pattern % "b", comments(A)[0])
    assert re.fullmatch(pattern % "a", comments(B)[-1])
    (source,) = lost(B)
    assert (source.peer, source.node) == ("a", "a")


def test_it_can_be_reverted_to_and_that_replicates(net, register):
    register(Country)
    conflicting(net, code="fr")
    net.ok("b", "a")
    tick()
    version = Version.objects.using(B).get(revision_id=lost(B)[0].revision_id)
    with reversion.create_revision(using=B):
        version.revert()
    net.ok("b", "a")
    for using in (A, B):
        there = Country.objects.using(using).get()
        assert (there.name, there.node) == ("of a", "b")
        assert names(there)[-1] == ("b", False, "of a")
    assert Conflict.objects.using(A).count() == 1


def test_what_is_restored_from_the_conflict_log_is_in_the_history_and_replicates(net, register):
    register(Country)
    register(Tag)
    conflicting(net, code="fr")
    net.ok("b", "a")
    tick()
    before = Country.objects.using(B).get().version
    restore(B, Conflict.objects.using(B).get().pk)
    net.ok("b", "a")
    for using in (A, B):
        there = Country.objects.using(using).get()
        assert (there.name, there.node, there.version) == ("of a", "b", before + 1)
        assert names(there)[-1] == ("b", False, "of a")
    assert comments(B)[-1].startswith("Restored from the conflict log: written by a at ")
    net.heal([("a", "b"), ("b", "c"), ("c", "a")])
    assert net.rows("a") == net.rows("b") == net.rows("c")


def test_its_foreign_keys_are_those_of_this_node(net, register):
    register(Airport)
    for code in ("fr", "de"):
        Country.objects.using(A).create(code=code, name=code)
    # Where A's keys mean another row: a sequence of PostgreSQL goes on from test to test, here and there alike.
    for pk in Country.objects.using(A).values_list("pk", flat=True):
        Country.objects.using(B).create(pk=pk, code=f"x{pk % 10}", name="other")
    fr, de = Country.objects.using(A).order_by("pk")
    orly = Airport.objects.using(A).create(country=fr, name="Orly", extra={"a": None, "b": [1.5]})
    net.ok("b", "a")
    Airport.objects.using(A).filter(pk=orly.pk).update(country=de, elevation=89)
    tick()
    Airport.objects.using(B).update(name="Paris-Orly", extra={})
    net.ok("b", "a")
    there = Airport.objects.using(B).get()
    node, is_lost, fields = entries(there)[-1]
    assert (node, is_lost, fields["name"], fields["elevation"]) == ("a", True, "Orly", 89)
    assert fields["country_id"] == Country.objects.using(B).get(code="de").pk != de.pk
    assert fields["extra"] == {"a": None, "b": [1.5]}
    created = Airport.objects.using(A).get().created
    assert fields["created"] == created.replace(microsecond=created.microsecond // 1000 * 1000)  # JSON has no more
    Version.objects.using(B).get_for_object(there, model_db=B).first().revert()
    assert Airport.objects.using(B).get().country.code == "de"


def test_what_has_no_row_here_is_left_out_until_it_has_one(net, register, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1}
    register(Country)
    Country.objects.using(A).create(code="fr", name="first")
    net.ok("b", "a")
    Country.objects.using(A).update(name="of a")
    tick()
    Country.objects.using(B).update(name="of b")
    net.ok("b", "a")
    net.ok("c", "a")  # the conflict log's entry comes first, in a page of its own
    assert names(Country.objects.using(C).get()) == [("a", True, "of a"), ("b", False, "of b")]
    assert "against one by b" in comments(C)[0]


def test_a_deletion_that_lost_and_a_loser_against_a_deletion_are_left_out(net, register):
    register(Tag)
    for name in ("kept", "gone"):
        Tag.objects.using(A).create(name=name)
    net.ok("b", "a")
    Tag.objects.using(A).filter(name="kept").delete()
    Tag.objects.using(A).filter(name="gone").update(name="too early")
    tick()
    Tag.objects.using(B).filter(name="kept").update(name="later")
    Tag.objects.using(B).filter(name="gone").delete()
    assert net.ok("b", "a").conflicts == 2
    for using in (A, B):
        assert Conflict.objects.using(using).count() == 2 and lost(using) == []
        assert Tag.objects.using(using).get().name == "later"


def test_a_loser_whose_parent_is_not_here_waits_for_the_next_write(net, register):
    register(Airport)
    fr = Country.objects.using(A).create(code="fr", name="fr")
    Airport.objects.using(A).create(country=fr, name="Orly")
    net.ok("b", "a")
    Country.objects.using(B).create(code="de", name="in the way")
    Airport.objects.using(A).update(country=Country.objects.using(A).create(code="de", name="de"), name="of a")
    tick()
    Airport.objects.using(B).update(name="of b")
    assert net.ok("b", "a", push=False).parked == 1
    assert Conflict.objects.using(B).count() == 1 and lost(B) == []
    Country.objects.using(B).filter(name="in the way").update(code="xx")
    net.ok("b", "a", push=False)
    tick()
    Airport.objects.using(A).update(name="again")
    net.ok("b", "a", push=False)
    there = Airport.objects.using(B).get()
    # Nothing was pushed, so that a knew nothing of b's write, which loses now.
    assert names(there)[-3:] == [("a", True, "of a"), ("b", True, "of b"), ("a", False, "again")]


def test_it_is_shown_once_whoever_says_it_again(net, register):
    register(Country)
    conflicting(net, code="fr")
    net.ok("b", "a")
    (source,) = lost(B)
    with pytest.raises(IntegrityError), transaction.atomic(using=B):
        RevisionSource.objects.using(B).create(
            revision_id=99999, node="a", dot=source.dot, timestamp=1, peer="a", lost=True, conflict=source.conflict
        )
    for n in range(3):
        tick()
        Country.objects.using(A).update(name=f"later {n}")
        net.ok("b", "a")
    assert len(lost(B)) == len(lost(A)) == 1


def test_what_was_purged_from_the_history_does_not_come_back(net, register):
    register(Country)
    conflicting(net, code="fr")
    net.ok("b", "a")
    Revision.objects.using(B).all().delete()
    recording.tidy(B)
    tick()
    Country.objects.using(A).update(name="later")
    net.ok("b", "a")
    assert names(Country.objects.using(B).get()) == [("a", False, "later")]
    Conflict.objects.using(B).all().delete()
    assert recording.tidy(B) == 1


def test_many_losers_take_no_more_queries(net, register):
    register(Airport)
    register(Item)
    fr = Country.objects.using(A).create(code="fr", name="fr")

    def conflict(rows):
        for using in (A, B):
            Airport.objects.using(using).all().delete()
        Airport.objects.using(A).bulk_create(Airport(country=fr, name=str(n)) for n in range(rows))
        net.ok("b", "a")
        net.ok("b", "a")
        Airport.objects.using(A).update(name="of a")
        tick()
        Airport.objects.using(B).update(name="of b")
        for using in (A, B):
            stamp(using)
        with CaptureQueriesContext(connections[B]) as queries:
            assert net.ok("b", "a", push=False).conflicts == rows
        return len(queries)

    conflict(2)
    assert conflict(3) == conflict(30)
    assert len(lost(B)) == 35 and count(B)[0] == 70


@pytest.mark.parametrize(
    ("data", "waits"),
    [
        (b"", True),
        (b"\xc1", True),
        (wire.pack([]), True),
        (wire.pack({}), True),
        (wire.pack({"fields": ["name"], "values": []}), True),
        (wire.pack({"fields": [1], "values": [1]}), True),
        (wire.pack({"fields": ["no such field"], "values": [1]}), False),
        (wire.pack({"fields": ["version"], "values": ["not a number"]}), False),
        (wire.pack({"fields": ["name"], "values": [None]}), False),
    ],
)
def test_an_entry_that_makes_no_sense_stops_nothing(net, register, data, waits):
    register(Country)
    fr = Country.objects.using(A).create(code="fr", name="France")
    stamp(A)
    record = Record("testapp.country", fr.stamp.key)
    entry = Conflict(model=record.model, key=record.key, node="c", counter=1, timestamp=5, data=data)
    entry.id = entry_id(record, Dot("c", 1))
    entry.save(using=A)
    net.ok("b", "a")
    there = Country.objects.using(B).get()
    assert names(there) == [("a", False, "France")]
    assert Conflict.objects.using(B).exists() is not waits and bool(parked("b")) is waits
    assert lost(B) == []


@pytest.mark.parametrize("key", ["no json", "[]", "[7, 8]", "{}", '["a:1"]'])
def test_a_membership_with_an_odd_key_stops_nothing(net, register, key):
    register(Item)
    tag = Tag.objects.using(A).create(name="t")
    item = Item.objects.using(A).create(name="i")
    item.tags.add(tag)
    stamp(A)
    Stamp.objects.using(A).filter(model__label="testapp.item_tags").update(key=key)
    net.ok("b", "a")
    assert Item.objects.using(B).get().tags.count() == 1 and count(B) == (1, 1, 1)
