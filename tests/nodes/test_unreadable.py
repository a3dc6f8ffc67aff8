"""Values that are none of their field's type: SQLite holds them, and any program may write them."""

import pytest
from django.db import connections

from handleref_sync.models import Parked
from handleref_sync.replication.stamping import stamp
from handleref_sync.status import status
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Country, Tag

A, B, C = ALIASES.values()
pytestmark = [
    pytest.mark.django_db(transaction=True, databases=list(ALIASES.values())),
    pytest.mark.skipif(
        "any(c.vendor != 'sqlite' for c in connections.all())", reason="other databases refuse such values"
    ),
]


def spoil(using, pk):
    connections[using].cursor().execute(
        "UPDATE testapp_country SET created = '2024-13-45 00:00:00' WHERE id = %s", [pk]
    )


def test_one_does_not_stop_the_rest_and_comes_when_it_is_mended():
    net = Network("ab")
    bad = Country.objects.using(A).create(code="x", name="bad")
    Country.objects.using(A).create(code="y", name="good")
    spoil(A, bad.pk)
    net.ok("b", "a")
    assert [c.name for c in Country.objects.using(B).all()] == ["good"]
    assert Country.objects.using(A).values("pk").count() == 2
    assert list(status(A)["unreadable"]) == ["testapp.country"]
    assert list(status(A)["unreadable"]["testapp.country"]) == [str(bad.pk)]
    bad.save(using=A)
    net.ok("b", "a")
    assert status(A)["unreadable"] == {}
    assert net.rows("a") == net.rows("b")


def test_one_that_was_deleted_is_not_shown_any_more():
    net = Network("ab")
    bad = Country.objects.using(A).create(code="x", name="bad")
    spoil(A, bad.pk)
    net.ok("b", "a")
    assert status(A)["unreadable"]
    connections[A].cursor().execute("DELETE FROM testapp_country")
    Country.objects.using(A).create(code="y", name="good")
    net.ok("b", "a")
    assert status(A)["unreadable"] == {}


def test_one_that_is_here_is_not_written_over_unseen():
    net = Network("ab")
    Country.objects.using(A).create(code="x", name="one")
    net.ok("b", "a")
    theirs = Country.objects.using(B).get()
    spoil(B, theirs.pk)
    stamp(B)
    tick()
    Country.objects.using(A).update(name="two")
    Tag.objects.using(A).create(name="the rest")
    net.ok("b", "a")
    assert Tag.objects.using(B).exists()
    assert Country.objects.using(B).values_list("name", flat=True).get() == "one"
    assert "can't be read" in Parked.objects.using(B).get().detail
    theirs.save(using=B)
    net.heal([("b", "a")])
    assert not Parked.objects.using(B).exists()
    assert net.rows("a") == net.rows("b")
