"""What the application of a node does in one step: the kinds register themselves here, by theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import ProtectedError, RestrictedError

from tests.simulation.steps import Write

NAMES = ["anna", "bert", "carl", "dora"]
THEMES: dict[str, dict[str, Callable[..., Any]]] = {}
KINDS: dict[str, Callable[..., Any]] = {}
MODELS = {
    "tags": ("testapp.tag",),
    "owners": ("refapp.owner", "refapp.nulled", "refapp.protected", "refapp.restricted", "refapp.cascaded"),
    "desks": ("refapp.owner", "refapp.desk", "refapp.desk_near"),
    "unique": ("refapp.account", "refapp.seat"),
    "parked": ("refapp.label",),
    "places": ("testapp.country", "testapp.airport"),
    "items": ("testapp.item", "testapp.tag", "testapp.item_tags"),
    "fields": ("resolverapp.report",),
    "resolvers": ("resolverapp.basket", "resolverapp.price"),
    "identities": ("identityapp.city", "identityapp.street", "identityapp.person", "identityapp.ticket"),
}
"""Of what a theme writes: what rights may be about."""
FIELDS = {
    "testapp.tag": ("name",),
    "refapp.nulled": ("name", "owner"),
    "refapp.account": ("login", "email"),
    "refapp.label": ("name",),
    "testapp.airport": ("name", "elevation"),
    "resolverapp.report": ("title", "body"),
    "resolverapp.price": ("amount",),
    "identityapp.city": ("name", "mayor"),
}


def kind(theme: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a kind of write: a function of (using, a, b, value)."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        THEMES.setdefault(theme, {})[name] = KINDS[name] = function
        return function

    return register


def write(using: str, step: Write) -> bool:
    """Do it, in one transaction. False where the database or a model's on_delete refuses."""
    try:
        with transaction.atomic(using=using):
            KINDS[step.kind](using, step.a, step.b, step.value)
        return True
    except (DatabaseError, ProtectedError, RestrictedError, Undone):
        return False


class Undone(Exception):
    pass


def nth(model: Any, using: str, number: int) -> Any:
    rows = model._base_manager.using(using).order_by("pk")
    count = rows.count()
    return rows[number % count] if count else None


def change(model: Any, using: str, n: int, /, **values: Any) -> None:
    row = nth(model, using, n)
    if row is not None:
        model._base_manager.using(using).filter(pk=row.pk).update(**values)


def delete(model: Any, using: str, number: int) -> None:
    row = nth(model, using, number)
    if row is not None:
        row.delete(**({"hard": True} if hasattr(row, "_handleref") else {}))


def simple(
    theme: str, name: str, model: Any, field: str, form: Callable[[int], Any] = lambda value: f"v{value}"
) -> None:
    kind(theme, f"{name} {field}")(lambda using, a, b, value: change(model, using, a, **{field: form(value)}))


def deletes(theme: str, name: str, model: Any) -> None:
    kind(theme, f"delete {name}")(lambda using, a, b, value: delete(model, using, a))
