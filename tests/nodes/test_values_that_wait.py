"""Values that came before this node had a column for them, and that do not fit once it has one."""

import dataclasses
import logging

import pytest

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.replication.upgrade import take_effect
from handleref_sync.status import status
from tests.nodes.network import ALIASES, Network, tick
from tests.refapp.models import Seat
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def column(monkeypatch):
    """Node b has no column for the names of seats until this is called, as a node that has not migrated yet."""
    original = registry.replicated

    def replicated(using):
        found = dict(original(using))
        if using == B:
            seat = found["refapp.seat"]
            columns = tuple(c for c in seat.columns if c.name != "name")
            found["refapp.seat"] = dataclasses.replace(seat, columns=columns)
        return found

    monkeypatch.setattr(registry, "replicated", replicated)

    def there():
        monkeypatch.setattr(registry, "replicated", original)
        registry.forget(B)
        install.install(B, node="b")

    return there


def names(using):
    return dict(Seat.objects.using(using).values_list("number", "name"))


def test_one_that_the_database_refuses_waits_alone(column, caplog):
    net = Network("abc", [Seat])
    for using, number, name in ((A, 1, "x"), (C, 2, "x"), (A, 3, "z")):
        Seat.objects.using(using).create(number=number, name=name)
        tick()
    for other in "ac":
        net.ok("b", other, push=False)
    column()
    with caplog.at_level(logging.ERROR, logger="handleref_sync.replication"):
        assert take_effect(B) == 2
    assert "the value kept for name still waits" in caplog.text
    assert sorted(names(B).values(), key=str) == [None, "x", "z"] and names(B)[3] == "z"
    assert status(B)["waiting_fields"] == {"refapp.seat": ["name"]}
    # Nothing else is held up, and it is there as soon as it fits.
    Tag.objects.using(A).create(name="the rest")
    (holder,) = (number for number, name in names(B).items() if name == "x")
    Seat.objects.using({1: A, 2: C}[holder]).filter(number=holder).update(name="other")
    for other in "acac":
        net.ok("b", other, push=False)
    assert Tag.objects.using(B).exists()
    assert names(B) == {1: "x", 2: "x", 3: "z", holder: "other"}
    assert status(B)["waiting_fields"] == {}
