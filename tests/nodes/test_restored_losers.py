"""Losers that are written back in awkward moments."""

import contextlib
import sqlite3

import pytest
from django.db import connections

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict
from handleref_sync.replication.conflicts import restore
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def test_restoring_a_loser_does_not_stamp_before_the_hello(net):
    """A database that was restored from a backup must not give a dot again."""
    if connections[A].vendor != "sqlite":
        pytest.skip("backup API")
    c = Country.objects.using(A).create(code="x", name="x")
    Country.objects.using(A).create(code="z", name="z")
    net.ok("b", "a")
    t = Country.objects.using(B).get(code="x")
    Country.objects.using(B).filter(pk=t.pk).update(name="b")
    stamp(B)
    tick()
    Country.objects.using(A).filter(pk=c.pk).update(name="a")
    net.ok("b", "a")
    entry = Conflict.objects.using(A).get()
    with contextlib.closing(sqlite3.connect(":memory:")) as copy:
        connections[A].connection.backup(copy)
        Country.objects.using(A).create(code="l", name="lost in the restore")
        net.ok("b", "a")
        copy.backup(connections[A].connection)
    assert Country.objects.using(A).count() == 2
    Country.objects.using(A).filter(pk=c.pk).update(name="written after the restore")
    restore(A, entry.id)
    net.heal([("b", "a")])
    assert net.rows("a") == net.rows("b")


def test_no_other_record_is_made_of_a_loser_whose_record_is_parked(net):
    c = Country.objects.using(A).create(code="x", name="x")
    net.ok("c", "a")
    Country.objects.using(B).create(code="x", name="theirs")
    Country.objects.using(C).update(code="y", name="loser")
    stamp(C)
    tick()
    Country.objects.using(A).filter(pk=c.pk).update(name="winner")
    net.ok("c", "a")
    net.ok("b", "a")
    entry = Conflict.objects.using(B).get()
    assert parked("b")
    with pytest.raises(ConfigurationError, match="itself is not here yet"):
        restore(B, entry.id)
    assert Country.objects.using(B).count() == 1
