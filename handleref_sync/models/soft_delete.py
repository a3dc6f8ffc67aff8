"""Soft deletion set by set, for a queryset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections, transaction
from django.utils import timezone

PARAMETERS = 10_000
"""How many a statement has at most where the database sets no limit."""


def soft_delete(rows: Any) -> tuple[int, dict[str, int]]:
    """Soft-delete the queryset `rows` with its cascade: see HandleRefQuerySet.soft_delete.

    Parents come first, then the children of all of them at once, and so on. Rows that are deleted already lead no
    further, which also ends every cycle. Raises TypeError for a queryset that stands for no set of rows of its own,
    and for a ``delete_cascade`` that names something else than a relation to a model with a status.
    """
    if rows.query.combinator:
        raise TypeError(f"Calling soft_delete() after .{rows.query.combinator}() is not supported.")
    if rows.query.is_sliced:
        raise TypeError("Cannot use 'limit' or 'offset' with soft_delete().")
    if rows._fields is not None:
        raise TypeError("Cannot call soft_delete() after .values() or .values_list()")
    if rows.query.distinct_fields:
        raise TypeError("Cannot call soft_delete() after .distinct(*fields).")
    rows = rows._chain()
    rows._for_write = True
    using = rows.db
    counts: Counter[str] = Counter()
    with transaction.atomic(using=using):
        level = [(rows.model, rows)]
        while level:
            below: list[tuple[Any, Any]] = []
            for model, chosen in level:
                pks = list(chosen.exclude(status="deleted").order_by().values_list("pk", flat=True))
                for chunk in _chunks(pks, using):
                    counts[model._meta.label] += _mark(model, chunk, using)
                    below += _children(model, chunk, using)
            level = below
    return counts.total(), {label: count for label, count in counts.items() if count}


def _mark(model: Any, pks: Sequence[Any], using: str) -> int:
    values: dict[str, Any] = {"status": "deleted"}
    for field in model._meta.concrete_fields:
        # As in save(): whoever takes the times from somewhere else switches `auto_now` off.
        if field.name == "updated" and getattr(field, "auto_now", False):
            values["updated"] = timezone.now()
    undeleted = model._base_manager.using(using).filter(pk__in=pks).exclude(status="deleted")
    return int(undeleted.update(**values))


def _children(model: Any, pks: Sequence[Any], using: str) -> Iterator[tuple[Any, Any]]:
    """For each name in the model's ``delete_cascade``: the model it leads to, and the rows there."""
    options = getattr(model, "_handleref", None)
    for name in options.delete_cascade if options else ():
        query_name, related = _relation(model, name)
        ends = model._base_manager.using(using).filter(pk__in=pks).values(f"{query_name}__pk")
        yield related, related._default_manager.using(using).filter(pk__in=ends)


def _relation(model: Any, name: str) -> tuple[str, Any]:
    """The name that queries use for the relation behind the attribute `name`, and the model at its other end."""
    for relation in model._meta.related_objects:
        if relation.get_accessor_name() == name:
            found: Any = relation
            break
    else:
        try:
            found = model._meta.get_field(name)
        except FieldDoesNotExist:
            found = None
        if found is not None and found.auto_created and not found.concrete:
            found = None  # the name that queries use for a reverse relation is no attribute of the object
    related = found.related_model if found is not None else None
    if related is None or not any(field.name == "status" for field in related._meta.concrete_fields):
        raise TypeError(
            f"{model._meta.label} has {name!r} in its delete_cascade, which is no relation to a model with a status; "
            "soft_delete() of a queryset can't follow it. Call delete() of each object."
        )
    return found.name, related


def _chunks(pks: list[Any], using: str) -> Iterator[list[Any]]:
    """As many as one statement can name; the rest of its parameters are status and time."""
    size = (connections[using].features.max_query_params or PARAMETERS + 10) - 10
    for start in range(0, len(pks), size):
        yield pks[start : start + size]
