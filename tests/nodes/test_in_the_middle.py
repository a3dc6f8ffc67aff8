"""What must wait until the end of a feed: the vector for what was left out, and what is settled for its next page."""

import pytest
from django.db import connections

from handleref_sync.exceptions import PeerUnreachable
from handleref_sync.models import LocalNode, Node, Peer
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.refapp.models import Account, Label, Owner, Seat
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()
only_sqlite = pytest.mark.skipif(
    "any(c.vendor != 'sqlite' for c in connections.all())", reason="other databases refuse such values"
)


@pytest.fixture
def small_pages(settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1}


def vector(using, node):
    return Node.objects.using(using).filter(name=node).values_list("vector", flat=True).first() or 0


@only_sqlite
def test_a_record_that_an_earlier_page_left_out_is_not_taken_for_known(small_pages):
    """The last page is whole in itself; what an earlier one could not read is covered by its vector all the same."""
    net = Network("abc")
    Country.objects.using(A).create(code="x", name="bad")
    Country.objects.using(A).create(code="y", name="good")
    net.ok("b", "a")
    good, bad = (Country.objects.using(A).get(name=name) for name in ("good", "bad"))
    Country.objects.using(A).filter(pk=bad.pk).update(name="worse")
    values = connections[A].cursor().execute("SELECT created FROM testapp_country WHERE id = %s", [bad.pk]).fetchone()
    spoil = "UPDATE testapp_country SET created = %s WHERE id = %s"
    connections[A].cursor().execute(spoil, ["2024-13-45 00:00:00", bad.pk])
    tick()
    Country.objects.using(A).filter(pk=good.pk).update(name="better")
    before = vector(B, "a")
    net.ok("b", "a")
    assert [c.name for c in Country.objects.using(B).order_by("code")] == ["bad", "better"]
    assert vector(B, "a") == before < LocalNode.objects.using(A).get().sequence
    connections[A].cursor().execute(spoil, [*values, bad.pk])
    net.heal([("b", "a"), ("c", "b")])
    assert [c.name for c in Country.objects.using(C).order_by("code")] == ["worse", "better"]


def breaks_off(net, here, there, pages):
    """A round whose link breaks after so many pages."""
    transport = net.transport(here, there)
    call, pulls = transport.call, []

    def broken(action, message):
        pulls.extend([action] if action == "pull" else [])
        if len(pulls) > pages:
            raise PeerUnreachable("The link broke.")
        return call(action, message)

    transport.call = broken
    assert net.sync(here, there, transport).reason == "unreachable"


def test_nothing_is_settled_in_the_middle_of_another_peers_feed(small_pages):
    """A login that passed from one record to another collides only until the next page is read."""
    net = Network("abc", [Label, Account, Seat, Owner])
    first = Account.objects.using(A).create(login="bob")
    net.everywhere()
    tick()
    Account.objects.using(A).filter(pk=first.pk).update(login="was-bob")
    Account.objects.using(A).create(login="bob")
    tick()
    Account.objects.using(A).filter(pk=first.pk).update(login="rob")
    breaks_off(net, "b", "a", pages=1)
    assert [reason for _, _, reason in parked("b")] == ["unique"]
    assert Peer.objects.using(B).get(name="a").mid_feed
    net.ok("b", "c")
    assert [account.login for account in Account.objects.using(B).all()] == ["bob"], "it was settled too early"
    net.everywhere()
    for using in (A, B, C):
        assert sorted(Account.objects.using(using).values_list("login", flat=True)) == ["bob", "rob"]
