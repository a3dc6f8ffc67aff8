"""What `REPLACE` removes on SQLite, where no trigger fires for it."""

import pytest
from django.db import connections

from tests.nodes.network import ALIASES, Network
from tests.refapp.models import Label, Seat

A, B, C = ALIASES.values()
pytestmark = [
    pytest.mark.django_db(transaction=True, databases=list(ALIASES.values())),
    pytest.mark.skipif("any(c.vendor != 'sqlite' for c in connections.all())", reason="elsewhere triggers see it"),
]


def test_it_is_noticed_though_the_feed_has_passed_it():
    net = Network("abc", [Label, Seat])
    Label.objects.using(A).create(name="x")
    two = Label.objects.using(A).create(name="y")
    Seat.objects.using(A).create(number=1, name="one")
    seat = Seat.objects.using(A).create(number=2, name="two")
    net.everywhere()
    with connections[A].cursor() as cursor:
        cursor.execute("INSERT OR REPLACE INTO refapp_label (id, name) VALUES (%s, 'x')", [two.pk])
        cursor.execute("INSERT OR REPLACE INTO refapp_seat (id, number, name) VALUES (%s, 1, 'two')", [seat.pk])
    net.everywhere()
    assert [label.name for label in Label.objects.using(C).all()] == ["x"]
    assert [(seat.number, seat.name) for seat in Seat.objects.using(C).all()] == [(1, "two")]
