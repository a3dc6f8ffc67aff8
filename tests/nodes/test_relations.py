"""How one record refers to another."""

from itertools import product

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from handleref_sync.replication.by_value import by_value
from handleref_sync.replication.conflicts import describe, restore
from tests.identityapp.models import Bus, City, Guest, Leg, Person, Remark, Route, Stop, Ticket
from tests.nodes.network import ALIASES, Network, parked, tick

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")


@pytest.fixture
def net():
    net = Network("abc", [City, Stop, Ticket, Route, Leg, Person])
    City.objects.using(B).create(code="zz")  # so that primary keys differ
    Person.objects.using(B).create(name="nobody")
    Route.objects.using(B).create(name="nowhere")
    return net


def test_by_another_field_than_the_primary_key(net):
    Stop.objects.using(A).create(city=City.objects.using(A).create(code="par"), name="Nation")
    net.everywhere()
    stop = Stop.objects.using(B).get()
    assert stop.city_id == "par"
    stop.city = City.objects.using(B).create(code="lyo")
    stop.save()
    net.everywhere()
    assert Stop.objects.using(C).get().city.code == "lyo"


def test_by_another_field_to_a_parent_that_came_before(net):
    city = City.objects.using(A).create(code="par")
    net.everywhere()
    Stop.objects.using(A).create(city=city, name="Nation")
    net.everywhere()
    assert Stop.objects.using(C).get().city.code == "par"


def test_what_lost_refers_by_another_field_too(net):
    par, lyo = (City.objects.using(A).create(code=code) for code in ("par", "lyo"))
    Stop.objects.using(A).create(city=par, name="Nation")
    net.everywhere()
    Stop.objects.using(A).update(city=lyo)
    tick()
    Stop.objects.using(B).update(name="of b")
    net.everywhere()
    (lost,) = describe(C)
    restore(C, lost["id"])
    net.everywhere()
    assert Stop.objects.using(B).get().city.code == "lyo"


def test_a_cycle_of_two_models_in_one_page_and_over_two(net, settings):
    for rows in (2000, 1):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": rows}
        city = City.objects.using(A).create(code=f"c{rows}")
        person = Person.objects.using(A).create(name=f"p{rows}", home=city)
        city.mayor = person
        city.save()
        net.everywhere()
        there = City.objects.using(C).get(code=f"c{rows}")
        assert there.mayor.name == f"p{rows}" and there.mayor.home == there


def test_a_chain_of_rows_of_one_table(net, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 2}
    parent = None
    for number in range(5):
        parent = Ticket.objects.using(A).create(text=str(number), parent=parent)
    net.everywhere()
    assert Ticket.objects.using(C).get(text="4").parent.parent.text == "2"
    Ticket.objects.using(B).get(text="0").delete()
    net.everywhere()
    assert not Ticket.objects.using(A).exists()


def test_memberships_of_both_sides_stay(net):
    route = Route.objects.using(A).create(name="1")
    other = Route.objects.using(A).create(name="2")
    buses = [Bus.objects.using(A).create(plate=str(number)) for number in range(3)]
    route.connections.add(other)
    route.buses.add(buses[0])
    net.everywhere()
    route.buses.add(buses[1])
    there = Route.objects.using(B).get(name="1")
    there.buses.add(Bus.objects.using(B).get(plate="2"))
    there.connections.clear()
    net.everywhere()
    for using in (A, B, C):
        found = Route.objects.using(using).get(name="1")
        assert sorted(bus.plate for bus in found.buses.all()) == ["0", "1", "2"]
        assert not found.connections.exists()
    assert not Route.objects.using(C).get(name="2").connections.exists()


def test_a_through_model_of_ones_own(net):
    route = Route.objects.using(A).create(name="1")
    city = City.objects.using(A).create(code="par")
    route.stops.add(Stop.objects.using(A).create(city=city, name="Nation"), through_defaults={"minutes": 7})
    net.everywhere()
    leg = Leg.objects.using(B).get()
    assert (leg.route.name, leg.stop.name, leg.minutes) == ("1", "Nation", 7)


def test_a_proxy_is_its_model(net):
    Guest.objects.using(A).create(name="a guest")
    net.everywhere()
    assert Guest.objects.using(C).filter(name="a guest").exists()


def test_a_generic_reference_is_translated(net):
    person = Person.objects.using(A).create(name="ada")
    ticket = Ticket.objects.using(A).create(pk=77, text="t")
    Remark.objects.using(A).create(about=person, text="on a person")
    Remark.objects.using(A).create(about=ticket, text="on a ticket")
    Remark.objects.using(A).create(text="on nothing")
    net.heal((("b", "a"), ("c", "b"), ("a", "c")))
    for using in (B, C):
        found = {remark.text: remark.about for remark in Remark.objects.using(using).all()}
        assert found["on a person"].name == "ada" and found["on a ticket"].pk == 77 and found["on nothing"] is None
    Remark.objects.using(B).filter(text="on nothing").update(
        content_type=ContentType.objects.db_manager(B).get_for_model(Person),
        object_id=Person.objects.using(B).get(name="nobody").pk,
    )
    net.heal((("b", "a"), ("c", "b"), ("a", "c")))
    assert Remark.objects.using(A).get(text="on nothing").about.name == "nobody"


def test_a_generic_reference_to_what_is_gone_is_held(net):
    person = Person.objects.using(A).create(name="ada")
    remark = Remark.objects.using(A).create(about=person, text="on a person")
    net.heal((("b", "a"),))
    Person.objects.using(B).filter(name="ada").delete()
    remark.text = "changed"
    remark.save()
    net.ok("b", "a", push=False)
    assert [(label, reason) for label, _, reason in parked("b")] == [("identityapp.remark", "parent-deleted")]


def test_a_generic_reference_to_what_is_not_replicated_stays_as_it_is(net):
    group = Group.objects.using(A).create(name="g")
    Remark.objects.using(A).create(about=group, text="on a group")
    net.heal((("b", "a"),))
    assert Remark.objects.using(B).get().object_id == str(group.pk)


def test_a_foreign_key_by_natural_key_waits_until_its_row_is_there(net):
    permission = Permission.objects.using(A).get(codename="add_city")
    from django.contrib.auth.models import User

    user = User.objects.using(A).create(username="u")
    user.user_permissions.add(permission)
    Permission.objects.using(B).filter(codename="add_city").delete()
    net.ok("b", "a")
    assert [label for label, _, _ in parked("b")] == ["auth.user_user_permissions"]
    kind = ContentType.objects.db_manager(B).get_for_model(City)
    Permission.objects.using(B).create(codename="add_city", name="Can add city", content_type=kind)
    net.ok("b", "a")
    assert User.objects.using(B).get().user_permissions.get().codename == "add_city" and not parked("b")


def rename(using, old, new):
    """As an application does, where the database does not do it."""
    with transaction.atomic(using=using), connections[using].constraint_checks_disabled():
        City.objects.using(using).filter(code=old).update(code=new)
        Stop.objects.using(using).filter(city_id=old).update(city_id=new)


@pytest.mark.parametrize("rows", [1, 2000])
def test_a_value_that_is_referred_to_is_changed(net, settings, rows):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": rows}
    Stop.objects.using(A).create(city=City.objects.using(A).create(code="par"), name="Nation")
    net.everywhere()
    Stop.objects.using(B).create(city_id="par", name="new at b")
    rename(A, "par", "PAR")
    net.everywhere()
    for using in (A, B, C):
        assert {s.name: s.city.code for s in Stop.objects.using(using).all()} == {"Nation": "PAR", "new at b": "PAR"}


def test_values_that_are_referred_to_change_places(net):
    cities = {code: City.objects.using(A).create(code=code, name=code) for code in ("par", "lyo", "lil")}
    for city in cities.values():
        Stop.objects.using(A).create(city=city, name=f"of {city.name}")
    moving = Stop.objects.using(A).create(city=cities["par"], name="of lyo")
    net.everywhere()
    for old, new in (("par", "-"), ("lyo", "par"), ("-", "lyo")):
        rename(A, old, new)
    moving.city = City.objects.using(A).get(name="lyo")
    moving.save()
    Stop.objects.using(A).create(city=moving.city, name="of lyo")
    Stop.objects.using(B).create(city_id="par", name="of par")
    net.everywhere()
    for using in (A, B, C):
        assert {c.name: c.code for c in City.objects.using(using).exclude(code="zz")} == {
            "par": "lyo",
            "lyo": "par",
            "lil": "lil",
        }
        stops = Stop.objects.using(using).select_related("city")
        assert len(stops) == 6 and all(s.name == f"of {s.city.name}" for s in stops)


def test_who_is_not_replicated_follows_a_changed_value(net, monkeypatch):
    """One that refers to what refers, too."""
    with isolate_apps("tests.identityapp"):

        class Shelter(models.Model):
            city = models.OneToOneField(City, to_field="code", on_delete=models.DO_NOTHING, related_name="+")

            class Meta:
                app_label = "identityapp"

        class Poster(models.Model):
            shelter = models.ForeignKey(Shelter, to_field="city", on_delete=models.DO_NOTHING, related_name="+")

            class Meta:
                app_label = "identityapp"

    made = [Shelter, Poster]
    real = apps.get_models
    monkeypatch.setattr(apps, "get_models", lambda *args, **options: [*real(*args, **options), *made])
    by_value.cache_clear()
    Stop.objects.using(A).create(city=City.objects.using(A).create(code="par"), name="Nation")
    net.everywhere()
    for using, model in product((A, B, C), made):
        with connections[using].schema_editor() as editor:
            editor.create_model(model)
    try:
        shelter = Shelter.objects.using(B).create(city_id="par")
        Poster.objects.using(B).create(shelter=shelter)
        rename(A, "par", "PAR")
        net.everywhere()
        assert Shelter.objects.using(B).get().city_id == Poster.objects.using(B).get().shelter_id == "PAR"
        assert Stop.objects.using(B).get().city_id == "PAR"
    finally:
        by_value.cache_clear()
        for using, model in product((A, B, C), reversed(made)):
            with connections[using].schema_editor() as editor:
                editor.delete_model(model)
