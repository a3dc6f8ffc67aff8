"""A parked version that comes again: joined with others, or known by its dot alone."""

import logging

import pytest
from django.db import connections

from handleref_sync.core.change import Change, Mark, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Conflict, Parked, Stamp
from handleref_sync.replication import parking
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.conflicts import describe
from handleref_sync.replication.ledger import locked
from handleref_sync.replication.page import Page
from handleref_sync.replication.plan import Held
from handleref_sync.replication.versions import change_of
from tests.nodes.network import ALIASES, ORDERS, Network, parked, sequence, tick
from tests.refapp.models import Seat

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    """c has a seat whose name a or b is about to give to another one."""
    net = Network("abc", [Seat])
    Seat.objects.using(A).create(number=1, name=None)
    net.everywhere()
    Seat.objects.using(C).create(number=100, name="x")
    tick()
    return net


def make_way(net, pairs=ORDERS[0]):
    Seat.objects.using(C).filter(number=100).update(name="y")
    net.everywhere(pairs)


@pytest.mark.parametrize("pairs", ORDERS)
def test_a_joined_version_under_the_same_dot_takes_the_place_of_the_parked_one(net, pairs):
    Seat.objects.using(B).filter(number=1).update(number=5)
    tick()
    Seat.objects.using(A).filter(number=1).update(name="x")
    net.ok("c", "a", push=False)  # c parks what a wrote
    net.ok("b", "a")  # joined: a's dot, and the number that b wrote carried along
    before = Parked.objects.using(C).get()
    net.ok("c", "a", push=False)
    after = Parked.objects.using(C).get()
    assert after.sequence > before.sequence and after.data != before.data
    make_way(net, pairs)
    assert sorted(Seat.objects.using(C).values_list("number", "name")) == [(5, "x"), (100, "y")]
    assert not Conflict.objects.using(C).exists()


@pytest.mark.parametrize("pairs", ORDERS)
def test_a_write_that_knew_the_dot_alone_does_not_drop_what_is_parked_under_it(net, pairs):
    Seat.objects.using(B).filter(number=1).update(name="x")
    tick()
    Seat.objects.using(A).filter(number=1).update(number=5)
    net.ok("c", "a", push=False)  # c has what a wrote
    net.ok("b", "a")  # joined: a's dot, and the name that b wrote carried along
    net.ok("c", "a", push=False)  # parked, for that name is taken at c
    assert parked("c")
    stamp = Stamp.objects.using(C).select_related("node").get(model__label="refapp.seat", key="a:1")
    dot = Dot("d", 1)  # d had got what a wrote, and not yet what b wrote
    version = Version(dot, stamp.version_vector.with_dot(dot), stamp.timestamp + 1)
    carried = {"name": (Mark(1, Dot("a", 1)), None)}
    change = Change(Record("refapp.seat", "a:1"), version, ("number",), (9,), carried)
    page = Page([change], (0, ""), False, True, VersionVector())
    apply_page(C, net.peer("c", "b"), page, whole=False, scope="")
    assert parked("c")
    make_way(net, pairs)
    assert sorted(Seat.objects.using(C).values_list("number", "name")) == [(9, "x"), (100, "y")]


def brought(dot):
    """Who brought a change: it does not matter here."""
    return ""


def version(**others):
    return Version(Dot("a", 9), VersionVector({"a": 9, **others}), 900)


def mark(node):
    return Mark({"b": 500, "c": 700}[node], Dot(node, 3))


def test_what_two_nodes_joined_to_one_version_is_joined_where_both_are_parked(net):
    """Each carries what the other lacks; of the field that both carry, the lesser goes to the log."""
    record = Record("refapp.seat", "a:7")
    with locked(C) as ledger:
        by_b = {"number": (mark("b"), 5), "later": (mark("b"), "b")}
        by_c = {"number": (mark("c"), 6), "more": (mark("c"), "c")}
        one = Change(record, version(b=3), ("name",), ("x",), by_b)
        other = Change(record, version(c=3), ("name",), ("x",), by_c)
        assert parking.park(ledger, [Held(one, parking.Reason.UNIQUE)], brought)
        assert not parking.park(ledger, [Held(other, parking.Reason.INVALID, "why")], brought)
        waiting = Parked.objects.using(C).get()
        joined = change_of(ledger, waiting)
        assert joined.version == version(b=3, c=3) and (waiting.reason, waiting.detail) == ("invalid", "why")
        assert joined.content == {**by_b, **by_c, "name": (Mark(900, Dot("a", 9)), "x")}
        # Either of the two once more, and less than there is, changes nothing.
        for again in (one, other, joined):
            before = sequence("c")
            parking.park(ledger, [Held(again, parking.Reason.INVALID, "why")], brought)
            assert change_of(ledger, Parked.objects.using(C).get()) == joined and sequence("c") == before
    (lost,) = describe(C)
    assert lost["values"] == {"number": 5} and lost["node"] == "b"


def test_of_a_model_that_is_not_here_nothing_is_lost_either(net):
    record = Record("unknown.model", "k")
    with locked(C) as ledger:
        one = Change(record, version(b=3), ("name",), ("x",), {"number": (mark("b"), 5)})
        other = Change(record, version(c=3), ("name",), ("x",), {"number": (mark("c"), 6)})
        for change in (other, one):
            parking.park(ledger, [Held(change, parking.Reason.UNKNOWN_MODEL)], brought)
        joined = change_of(ledger, Parked.objects.using(C).get())
    assert joined.content["number"] == (mark("c"), 6) and describe(C)[0]["values"] == {"number": 5}


@pytest.mark.parametrize(
    "second",
    [
        Change(Record("refapp.seat", "a:7"), version(b=3), ("name",), ("other",)),
        Change(Record("refapp.seat", "a:7"), version(b=3), (), None),
        Change(Record("refapp.seat", "a:8"), version(), ("name",), ("x",)),
    ],
    ids=["content", "deletion", "record"],
)
def test_another_content_of_a_parked_dot_is_said_and_kept_in_the_log(net, second, caplog):
    first = Change(Record("refapp.seat", "a:7"), version(), ("name",), ("x",))
    with locked(C) as ledger, caplog.at_level(logging.ERROR, "handleref_sync.replication"):
        parking.park(ledger, [Held(first, parking.Reason.UNIQUE)], brought)
        for _ in range(2):
            assert not parking.park(ledger, [Held(second, parking.Reason.UNIQUE)], brought)
        assert change_of(ledger, Parked.objects.using(C).get()) == first
    (lost,) = describe(C)
    assert lost["key"] == second.record.key and lost["counter"] == 9
    assert lost["values"] == (None if second.deleted else {"name": second.values[0]})
    assert "one dot, two contents" in caplog.text


def test_thousands_are_parked_with_a_few_statements(net, django_assert_max_num_queries):
    """As where a peer has a model that is not here yet."""

    def waiting(number):
        dot = Dot("a", 1000 + number)
        change = Change(
            Record("unknown.model", f"k{number}"), Version(dot, VersionVector.of(dot), 900), ("name",), ("x",)
        )
        return Held(change, parking.Reason.UNKNOWN_MODEL)

    with locked(C) as ledger:
        ledger.node_number("a")
        with django_assert_max_num_queries(20, connection=connections[C]):
            assert len(parking.park(ledger, [waiting(number) for number in range(1000)], brought)) == 1000
        assert parking.park(ledger, [waiting(number) for number in range(1001)], brought) == [waiting(1000)]
    places = Parked.objects.using(C).filter(model="unknown.model").values_list("sequence", flat=True)
    assert len(set(places)) == 1001 and max(places) <= sequence("c")
