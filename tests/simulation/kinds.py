"""The kinds of writes. Rows are picked by number, so that each write means something on any node."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import connections

from tests.identityapp.models import City, Person, Street, Ticket
from tests.refapp.models import Account, Below, Cascaded, Desk, Label, Nulled, Owner, Protected, Restricted, Seat
from tests.resolverapp.models import Basket, Price, Report
from tests.simulation.writes import NAMES, Undone, change, delete, deletes, kind, nth, simple
from tests.testapp.models import Airport, Country, Item, Tag

INTO = "INTO testapp_tag (id, name) VALUES (%s, %s)"
REPLACE = {
    "sqlite": f"INSERT OR REPLACE {INTO}",
    "postgresql": f"INSERT {INTO} ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
    "mysql": f"REPLACE {INTO}",
}

# -- tags: a UUID as key, raw SQL, bulk writes ---------------------------------------------------------------


@kind("tags", "tag")
def _(using: str, a: int, b: int, value: int) -> None:
    Tag.objects.using(using).create(id=uuid.UUID(int=value * 8 + a % 2), name=f"t{value}")


@kind("tags", "tags in bulk")
def _(using: str, a: int, b: int, value: int) -> None:
    tags = [Tag(id=uuid.UUID(int=value * 8 + n), name=f"b{value}") for n in range(2 + a % 3)]
    Tag.objects.using(using).bulk_create(tags, update_conflicts=True, update_fields=["name"], unique_fields=["id"])


@kind("tags", "all tags")
def _(using: str, a: int, b: int, value: int) -> None:
    tags = list(Tag.objects.using(using).all()[:20])
    for tag in tags:
        tag.name = f"a{value}"
    Tag.objects.using(using).bulk_update(tags, ["name"])


@kind("tags", "raw")
def _(using: str, a: int, b: int, value: int) -> None:
    tag = nth(Tag, using, a)
    if tag is not None:
        with connections[using].cursor() as cursor:
            cursor.execute("UPDATE testapp_tag SET name = %s WHERE id = %s", [f"r{value}", tag.pk.hex])


@kind("tags", "replace")
def _(using: str, a: int, b: int, value: int) -> None:
    tag = nth(Tag, using, a)
    if tag is not None:
        with connections[using].cursor() as cursor:
            cursor.execute(REPLACE[connections[using].vendor], [tag.pk.hex, f"p{value}"])


@kind("tags", "undone")
def _(using: str, a: int, b: int, value: int) -> None:
    Tag.objects.using(using).create(id=uuid.UUID(int=value * 8 + 7), name="never")
    raise Undone


simple("tags", "tag", Tag, "name")
deletes("tags", "tag", Tag)

# -- owners: every on_delete, a natural identity -------------------------------------------------------------


@kind("owners", "owner")
@kind("desks", "owner for desks")
def _(using: str, a: int, b: int, value: int) -> None:
    Owner.objects.using(using).get_or_create(name=NAMES[a % 4])


def _child(model: Any) -> Callable[..., Any]:
    def make(using: str, a: int, b: int, value: int) -> None:
        owner = nth(Owner, using, a)
        if owner is not None:
            model.objects.using(using).create(owner=owner, name=f"c{value}")

    return make


for model in (Nulled, Protected, Restricted, Cascaded):
    kind("owners", model.__name__.lower())(_child(model))
    deletes("owners", model.__name__.lower(), model)
simple("owners", "nulled", Nulled, "name")
deletes("owners", "owner", Owner)


@kind("owners", "below")
def _(using: str, a: int, b: int, value: int) -> None:
    parent = nth(Cascaded, using, a)
    if parent is not None:
        Below.objects.using(using).create(parent=parent, name=f"c{value}")


@kind("owners", "moved")
def _(using: str, a: int, b: int, value: int) -> None:
    change(Cascaded, using, a, owner=nth(Owner, using, b))


# -- desks: parents, unique values, memberships at once ------------------------------------------------------


@kind("desks", "desk")
def _(using: str, a: int, b: int, value: int) -> None:
    owner = nth(Owner, using, a)
    if owner is not None:
        Desk.objects.using(using).create(owner=owner, code=f"k{b % 4}", spare=nth(Owner, using, a + 1))


@kind("desks", "near")
def _(using: str, a: int, b: int, value: int) -> None:
    desk = nth(Desk, using, a)
    if desk is not None:
        desk.near.add(nth(Desk, using, b))


@kind("desks", "far")
def _(using: str, a: int, b: int, value: int) -> None:
    desk = nth(Desk, using, a)
    if desk is not None:
        desk.near.remove(nth(Desk, using, b))


kind("desks", "desk code")(lambda using, a, b, value: change(Desk, using, a, code=f"k{b % 4}"))
kind("desks", "desk owner")(lambda using, a, b, value: change(Desk, using, a, owner=nth(Owner, using, b)))
deletes("desks", "desk", Desk)
kind("desks", "delete owner of desks")(lambda using, a, b, value: delete(Owner, using, a))

# -- unique values: parked, renamed, given by a callable -----------------------------------------------------


@kind("unique", "account")
def _(using: str, a: int, b: int, value: int) -> None:
    Account.objects.using(using).create(login=NAMES[a % 4], number=b % 3, email=f"{NAMES[b % 4]}@x")


@kind("unique", "account login")
def _(using: str, a: int, b: int, value: int) -> None:
    change(Account, using, a, login=NAMES[b % 4].upper() if value % 2 else NAMES[b % 4])


@kind("unique", "seat")
def _(using: str, a: int, b: int, value: int) -> None:
    Seat.objects.using(using).create(number=a % 4, name=None if b % 2 else f"s{value}")


kind("unique", "seat number")(lambda using, a, b, value: change(Seat, using, a, number=b % 4))
simple("unique", "seat", Seat, "name")
deletes("unique", "account", Account)
deletes("unique", "seat", Seat)


@kind("parked", "label")
def _(using: str, a: int, b: int, value: int) -> None:
    Label.objects.using(using).create(name=NAMES[a % 4])


kind("parked", "label name")(lambda using, a, b, value: change(Label, using, a, name=NAMES[b % 4]))
deletes("parked", "label", Label)


@kind("parked", "labels change places")
def _(using: str, a: int, b: int, value: int) -> None:
    one, other = nth(Label, using, a), nth(Label, using, a + 1)
    if one is not None and one.pk != other.pk:
        for label, name in ((one, "-"), (other, one.name), (one, other.name)):
            Label.objects.using(using).filter(pk=label.pk).update(name=name)


# -- HandleRefModels: soft deletion, memberships -------------------------------------------------------------


@kind("places", "country")
def _(using: str, a: int, b: int, value: int) -> None:
    Country.objects.using(using).create(code=f"{a % 3}{b % 3}", name=f"c{value}")


@kind("places", "airport")
def _(using: str, a: int, b: int, value: int) -> None:
    country = nth(Country, using, a)
    if country is not None:
        Airport.objects.using(using).create(country=country, name=f"a{value}", extra={"b": b, "a": [value]})


@kind("places", "save airport")
def _(using: str, a: int, b: int, value: int) -> None:
    airport = nth(Airport, using, a)
    if airport is not None:
        airport.elevation = value
        airport.save()


@kind("places", "soft-delete country")
def _(using: str, a: int, b: int, value: int) -> None:
    country = nth(Country, using, a)
    if country is not None:
        country.delete()


simple("places", "airport", Airport, "name")
deletes("places", "airport", Airport)
deletes("places", "country", Country)


@kind("items", "item")
def _(using: str, a: int, b: int, value: int) -> None:
    Item.objects.using(using).create(name=f"i{value}")


@kind("items", "tag for items")
def _(using: str, a: int, b: int, value: int) -> None:
    Tag.objects.using(using).get_or_create(id=uuid.UUID(int=a % 3), defaults={"name": f"t{value}"})


@kind("items", "item tags")
def _(using: str, a: int, b: int, value: int) -> None:
    item, tag = nth(Item, using, a), nth(Tag, using, b)
    if item is not None and tag is not None:
        (item.tags.add if value % 3 else item.tags.remove)(tag)


simple("items", "item", Item, "name")
deletes("items", "item", Item)
kind("items", "delete tag of items")(lambda using, a, b, value: delete(Tag, using, a))

# -- resolvers: by field, a function, one side's preference -----------------------------------------------------


@kind("fields", "report")
def _(using: str, a: int, b: int, value: int) -> None:
    Report.objects.using(using).create(title=f"r{value}", body=f"b{value}", parent=nth(Report, using, b))


kind("fields", "report body")(lambda using, a, b, value: change(Report, using, a, body=f"b{value}"))
kind("fields", "report parent")(lambda using, a, b, value: change(Report, using, a, parent=nth(Report, using, b)))
simple("fields", "report", Report, "title")
deletes("fields", "report", Report)


@kind("resolvers", "basket")
def _(using: str, a: int, b: int, value: int) -> None:
    Basket.objects.using(using).create(words=f"w{value}", size=b)


@kind("resolvers", "basket words")
def _(using: str, a: int, b: int, value: int) -> None:
    basket = nth(Basket, using, a)
    if basket is not None:
        change(Basket, using, a, words=f"{basket.words} w{value}"[-60:], size=basket.size + b % 2)


deletes("resolvers", "basket", Basket)


@kind("resolvers", "price")
def _(using: str, a: int, b: int, value: int) -> None:
    Price.objects.using(using).create(amount=value)


simple("resolvers", "price", Price, "amount", lambda value: value)
deletes("resolvers", "price", Price)

# -- identities: by content, by a parent's key, by a number from outside; a cycle


@kind("identities", "city")
def _(using: str, a: int, b: int, value: int) -> None:
    City.objects.using(using).get_or_create(code=f"c{a % 3}", defaults={"name": f"n{value}"})


@kind("identities", "street")
def _(using: str, a: int, b: int, value: int) -> None:
    city = nth(City, using, a)
    if city is not None:
        Street.objects.using(using).get_or_create(city=city, name=NAMES[b % 2], defaults={"length": value})


@kind("identities", "person")
def _(using: str, a: int, b: int, value: int) -> None:
    Person.objects.using(using).create(name=f"p{value}", home=nth(City, using, a))


kind("identities", "city mayor")(lambda using, a, b, value: change(City, using, a, mayor=nth(Person, using, b)))
simple("identities", "city", City, "name")
simple("identities", "street", Street, "length", lambda value: value)
deletes("identities", "city", City)
deletes("identities", "street", Street)
deletes("identities", "person", Person)


@kind("identities", "ticket")
def _(using: str, a: int, b: int, value: int) -> None:
    parent = Ticket.objects.using(using).filter(pk=1 + b % 5).first() if b != a else None
    Ticket.objects.using(using).update_or_create(pk=1 + a % 5, defaults={"text": f"t{value}", "parent": parent})


deletes("identities", "ticket", Ticket)
