"""Rows that are deleted and inserted again under their primary keys, as by an import that reloads a table."""

from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from handleref_sync.models import Conflict, Stamp
from handleref_sync.replication import stamping
from tests.identityapp.models import City, Engine, Person, Remark, Street, Vehicle
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@contextmanager
def one_transaction(using):
    """In which references may dangle in between."""
    with transaction.atomic(using=using), connections[using].constraint_checks_disabled():
        yield


def reload(using, rows):
    model = type(rows[0])
    with one_transaction(using):
        model._base_manager.using(using).all()._raw_delete(using)
        model._base_manager.using(using).bulk_create(rows)


def countries(*names):
    return [Country.objects.using(A).create(code=f"{number}", name=name) for number, name in enumerate(names)]


@pytest.mark.parametrize("chunk", [4, 5000])
def test_the_records_go_on_and_keep_their_children(monkeypatch, chunk):
    monkeypatch.setattr(stamping, "CHUNK", chunk)
    net = Network("abc", [Country, Airport])
    rows = countries(*"abcdef")
    for row in rows:
        Airport.objects.using(A).create(country=row, name=f"of {row.code}")
    net.everywhere()
    keys = set(Stamp.objects.using(A).filter(model__label="testapp.country").values_list("key", flat=True))
    for row in rows:
        row.name += "!"
    tick()
    reload(A, rows)
    net.everywhere()
    assert set(Stamp.objects.using(A).filter(model__label="testapp.country").values_list("key", flat=True)) == keys
    for using in (A, B, C):
        assert sorted(c.name for c in Country.objects.using(using).all()) == ["a!", "b!", "c!", "d!", "e!", "f!"]
        airports = Airport.objects.using(using).select_related("country")
        assert sorted(a.name for a in airports) == [f"of {number}" for number in range(6)]
        assert all(a.name == f"of {a.country.code}" for a in airports)
        assert not Conflict.objects.using(using).exists()


def test_one_that_does_not_come_back_is_deleted():
    net = Network("abc", [Country, Airport])
    kept, gone = countries("kept", "gone")
    net.everywhere()
    with one_transaction(A):
        Country.objects.using(A).all()._raw_delete(A)
        Country.objects.using(A).bulk_create([kept, Country(code="n", name="new")])
    net.everywhere()
    assert sorted(c.name for c in Country.objects.using(B).all()) == ["kept", "new"] and gone.pk


def test_a_deletion_that_was_heard_of_is_one():
    net = Network("ab", [Country, Airport])
    (row,) = countries("first")
    net.ok("b", "a")
    pk, key = row.pk, Stamp.objects.using(A).get(model__label="testapp.country").key
    row.delete(hard=True, using=A)
    net.ok("b", "a")
    Country.objects.using(A).create(pk=pk, code="x", name="second")
    net.ok("b", "a")
    stamps = Stamp.objects.using(B).filter(model__label="testapp.country")
    assert stamps.get(deleted=True).key == key and stamps.get(deleted=False).key != key
    assert [c.name for c in Country.objects.using(B).all()] == ["second"]


def test_another_record_takes_the_children():
    """A city is known by its code."""
    net = Network("abc", [City, Street, Person, Remark])
    city = City.objects.using(A).create(code="par", name="of the first")
    Street.objects.using(A).create(city=city, name="s")
    Person.objects.using(A).create(name="p", home=city)
    Remark.objects.using(A).create(about=city, text="r")
    net.heal([("b", "a"), ("c", "b")])
    reload(A, [City(pk=city.pk, code="lyo", name="of the second")])
    net.heal([("b", "a"), ("c", "b")])
    for using in (A, B, C):
        there = City.objects.using(using).get()
        assert there.code == "lyo"
        assert Street.objects.using(using).get().city == there
        assert Person.objects.using(using).get().home == there
        assert Remark.objects.using(using).get().about == there
        assert not Conflict.objects.using(using).exists()


@pytest.fixture
def by_name(settings):
    """Items are known by their names, vehicles by their plates."""
    named = {label: {} for label in settings.HANDLEREF_SYNC["MODELS"]}
    named |= {"testapp.item": {"identity": ["name"]}, "identityapp.Vehicle": {"identity": ["plate"]}}
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MODELS": named}


def test_another_record_takes_what_is_known_by_it(by_name):
    net = Network("ab", [Item, Item.tags.through, Vehicle, Engine])
    item = Item.objects.using(A).create(name="one")
    item.tags.add(Tag.objects.using(A).create(name="t"))
    vehicle = Vehicle.objects.using(A).create(plate="one")
    Engine.objects.using(A).create(vehicle=vehicle, power=7)
    net.heal([("b", "a")])
    item.name = "two"
    reload(A, [item])
    reload(A, [Vehicle(pk=vehicle.pk, plate="two")])
    net.heal([("b", "a")])
    for using in (A, B):
        assert [t.name for t in Item.objects.using(using).get(name="two").tags.all()] == ["t"]
        assert (Engine.objects.using(using).get().vehicle.plate, Vehicle.objects.using(using).count()) == ("two", 1)
    assert net.rows("a") == net.rows("b")
