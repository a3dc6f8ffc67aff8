"""How a record is known across nodes."""

import json

import pytest

from handleref_sync.models import Conflict, Stamp
from handleref_sync.replication.conflicts import describe, restore
from tests.identityapp.models import Bus, City, Engine, Street, Ticket, Vehicle
from tests.nodes.network import ALIASES, Network, tick

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")


@pytest.fixture
def net():
    return Network("abc", [City, Street, Ticket, Vehicle, Bus, Engine])


def keys(using, model):
    stamps = Stamp.objects.using(using).filter(model__label=model._meta.label_lower, deleted=False)
    return sorted(stamps.values_list("key", flat=True))


def test_rows_made_apart_with_the_same_natural_key_are_one_record(net):
    City.objects.using(B).create(code="xx", name="so that primary keys differ")
    for using in (A, B, C):
        City.objects.using(using).create(code="par", name="Paris")
    net.everywhere()
    assert City.objects.using(A).filter(code="par").count() == 1
    assert '["par"]' in keys(A, City)
    assert not Conflict.objects.using(A).exists()


def test_where_they_differ_the_later_wins_and_the_other_is_in_the_log(net):
    City.objects.using(A).create(code="par", name="of a")
    tick()
    City.objects.using(B).create(code="par", name="of b")
    net.everywhere()
    assert City.objects.using(C).get().name == "of b"
    assert describe(C)[0]["values"]["name"] == "of a"


def test_a_natural_key_with_a_parent_in_it_has_the_parents_key(net):
    for using in (B, A, C):
        Street.objects.using(using).create(city=City.objects.using(using).create(code="par"), name="Rivoli")
    net.everywhere()
    (key,) = keys(B, Street)
    assert json.loads(key) == ['["par"]', "Rivoli"]


def test_changing_a_natural_field_later_does_not_change_the_key(net):
    City.objects.using(A).create(code="old")
    net.everywhere()
    City.objects.using(B).update(code="new")
    net.everywhere()
    assert City.objects.using(C).get().code == "new" and keys(C, City) == ['["old"]']


def test_a_key_that_another_record_holds_is_told_apart_everywhere_alike(net):
    City.objects.using(A).create(code="old", name="first")
    net.everywhere()
    City.objects.using(A).update(code="new")
    City.objects.using(A).create(code="old", name="second")
    net.everywhere()
    assert keys(A, City) == keys(B, City) == keys(C, City)
    assert len(keys(A, City)) == 2 and keys(A, City)[0].startswith('["old","a:')
    City.objects.using(C).filter(name="second").update(name="still the second")
    net.everywhere()
    assert sorted(City.objects.using(B).values_list("code", "name")) == [
        ("new", "first"),
        ("old", "still the second"),
    ]


def test_a_name_that_is_used_again_after_a_deletion_is_the_same_record(net):
    City.objects.using(A).create(code="par", name="first")
    net.everywhere()
    City.objects.using(B).all().delete()
    net.everywhere()
    City.objects.using(B).create(code="par", name="again")
    net.everywhere()
    assert City.objects.using(A).get().name == "again"
    assert Stamp.objects.using(A).filter(model__label="identityapp.city").count() == 1


def test_a_deletion_and_a_row_of_the_same_name_in_one_transaction(net):
    City.objects.using(A).create(code="par", name="first")
    net.everywhere()
    City.objects.using(A).all().delete()
    City.objects.using(A).create(code="par", name="again")
    net.everywhere()
    assert City.objects.using(B).get().name == "again"


def test_a_row_that_waits_to_be_stamped_meets_its_like_as_itself(net):
    City.objects.using(A).create(code="par", name="of a")
    net.ok("c", "a")
    transport = net.transport("b", "a")
    inner = transport.call

    def meanwhile(action, message):
        answer = inner(action, message)
        if action == "pull" and not City.objects.using(B).exists():
            City.objects.using(B).create(code="par", name="of b, while the page was under way")
        return answer

    transport.call = meanwhile
    report = net.sync("b", "a", transport=transport)
    assert not report.error and report.conflicts == 1
    net.everywhere()
    assert City.objects.using(A).count() == 1


def test_a_natural_field_that_is_null_names_nothing(net, monkeypatch):
    """Two rows of which nothing is known are not the same."""
    from handleref_sync import registry

    monkeypatch.setattr(City.HandleRef, "identity", ("mayor",))
    for using in (A, B, C):
        registry.forget(using)
    City.objects.using(A).create(code="a")
    City.objects.using(B).create(code="b")
    net.everywhere()
    assert City.objects.using(C).count() == 2
    monkeypatch.undo()
    registry.forget(A)


def test_primary_keys_that_are_the_same_everywhere(net):
    Ticket.objects.using(A).create(pk=1000, text="from outside")
    Ticket.objects.using(A).create(pk=1001, text="with a parent", parent_id=1000)
    net.everywhere()
    assert Ticket.objects.using(C).get(pk=1001).parent_id == 1000
    # The database of the receiver goes on behind them.
    mine = Ticket.objects.using(B).create(text="made here")
    assert mine.pk > 1001
    net.everywhere()
    assert Ticket.objects.using(A).get(pk=mine.pk).text == "made here"


def test_a_child_table_is_known_by_its_parent(net):
    Vehicle.objects.using(B).create(plate="to differ")
    bus = Bus.objects.using(A).create(plate="A 1", seats=40)
    Engine.objects.using(A).create(vehicle=bus.vehicle_ptr, power=200)
    net.everywhere()
    there = Bus.objects.using(B).get()
    assert (there.plate, there.seats, there.engine.power) == ("A 1", 40, 200)
    there.seats = 41
    there.save()
    net.everywhere()
    assert Bus.objects.using(A).get().seats == 41
    assert keys(A, Bus) == keys(A, Engine) == keys(C, Bus)


def test_deleting_a_parent_takes_the_child_along(net):
    Bus.objects.using(A).create(plate="A 1", seats=40)
    net.everywhere()
    Bus.objects.using(C).get().delete()
    net.everywhere()
    assert not Vehicle.objects.using(A).exists() and not Bus.objects.using(A).exists()


def test_a_child_row_that_goes_alone_and_comes_back(net):
    bus = Bus.objects.using(A).create(plate="A 1", seats=40)
    net.everywhere()
    bus.delete(keep_parents=True)
    net.everywhere()
    assert Vehicle.objects.using(B).exists() and not Bus.objects.using(B).exists()
    vehicle = Vehicle.objects.using(B).get()
    again = Bus(vehicle_ptr=vehicle, seats=12)
    again.__dict__.update(plate=vehicle.plate)
    again.save(using=B)
    net.everywhere()
    assert Bus.objects.using(C).get().seats == 12


def test_a_child_that_lost_is_restored_with_its_parents_key(net):
    Bus.objects.using(A).create(plate="A 1", seats=40)
    net.everywhere()
    Bus.objects.using(A).update(seats=1)
    tick()
    Bus.objects.using(B).update(seats=2)
    net.everywhere()
    (lost,) = describe(C)
    restore(C, lost["id"])
    net.everywhere()
    assert Bus.objects.using(A).get().seats == 1


def test_parent_and_child_arrive_in_pages_of_their_own(net, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1}
    for number in range(3):
        Bus.objects.using(A).create(plate=f"A {number}", seats=number)
    net.everywhere()
    assert Bus.objects.using(C).count() == 3
    Bus.objects.using(C).all().delete()
    net.everywhere()
