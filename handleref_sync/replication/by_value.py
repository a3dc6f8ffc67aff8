"""Foreign keys by another field than the primary key, and what becomes of them when that field's value changes.

The invariant: after a row got another value, the rows that referred to it still do. On the wire a reference is the
key of its record, which stays: so to follow it is no write, and nobody else would make it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models, router

from handleref_sync.registry import Replicated
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.stamping import PARAMETERS, pk_text

Written = tuple[Content, tuple[str, ...], list[tuple[str, list[Any]]]]
"""Of one model: fields, and rows to be updated, each by its primary key with database values for those fields."""


class Follower(NamedTuple):
    """A row that refers to one whose value changes, replicated or not."""

    field: Any
    pk: Any
    value: Any
    """What its foreign key has to be."""


@cache
def by_value(model: type[models.Model]) -> Mapping[str, list[Any]]:
    """The foreign keys to other fields of `model` than its primary key, by the name of the field."""
    found: dict[str, list[Any]] = defaultdict(list)
    for other in apps.get_models(include_auto_created=True):
        for field in other._meta.local_concrete_fields:
            if not isinstance(field, models.ForeignKey) or field.primary_key or not other._meta.managed:
                continue
            target = field.target_field
            if target.model is model and not target.primary_key:
                found[target.name].append(field)
    return found


def followers(ledger: Ledger, written: Iterable[Written]) -> list[Follower]:
    """The rows that have to follow when `written` is. To be asked before: then it is still seen who refers to whom.

    Those that are written themselves, foreign key and all, are left out.
    """
    groups = list(written)
    found = [follower for group in groups for follower in _of_group(ledger, *group)]
    if not found:
        return []
    own = {
        (content.model.label, content.columns[name].field.name, text)
        for content, fields, rows in groups
        for name in fields
        for text, _ in rows
    }
    return [follower for follower in found if _name(ledger, follower) not in own]


def _name(ledger: Ledger, follower: Follower) -> tuple[str, str, str]:
    label = follower.field.model._meta.label_lower
    model = ledger.models.get(label)
    return label, follower.field.name, "" if model is None else pk_text(model, follower.pk, ledger)


def _of_group(
    ledger: Ledger, content: Content, fields: tuple[str, ...], rows: list[tuple[str, list[Any]]]
) -> Iterator[Follower]:
    model = content.model
    referred = by_value(model.model)
    for place, name in enumerate(fields):
        field = content.columns[name].field
        if field.name in referred:
            old = _old(ledger, content, str(field.column), [text for text, _ in rows])
            new = {model.pk.to_python(text): row[place] for text, row in rows if old.get(text) != row[place]}
            yield from _following(ledger, referred[field.name], new)


def _old(ledger: Ledger, content: Content, column: str, texts: list[str]) -> dict[str, Any]:
    model: Replicated = content.model
    pks = [content.db_pk(text) for text in texts]
    rows = ledger.vendor.select_rows(model.table, model.pk_column, [model.pk_column, column], pks)
    return {str(pk): value for pk, value in rows}


def _following(ledger: Ledger, fields: Iterable[Any], new: Mapping[Any, Any]) -> Iterator[Follower]:
    """The rows that refer by `fields` to those with the `new` values, by primary key, and what refers to them."""
    pks = list(new)
    for field in fields:
        if not router.allow_migrate_model(ledger.using, field.model):
            continue  # its table is in another database
        rows, moved = field.model._base_manager.using(ledger.using), {}
        for start in range(0, len(pks), PARAMETERS):
            chunk = pks[start : start + PARAMETERS]
            found = rows.filter(**{f"{field.name}__pk__in": chunk}).values_list("pk", f"{field.name}__pk")
            moved.update({pk: new[parent] for pk, parent in found})
        yield from (Follower(field, pk, value) for pk, value in moved.items())
        further = by_value(field.model).get(field.name, ())
        if further and moved:
            yield from _following(ledger, further, moved)


def follow(ledger: Ledger, found: Iterable[Follower]) -> None:
    """Let them refer to the new values. Triggers must be silent."""
    groups: dict[Any, list[tuple[Any, Any]]] = defaultdict(list)
    for field, pk, value in found:
        own = field.model._meta.pk
        groups[field].append((value, own.get_db_prep_value(pk, ledger.vendor.connection)))
    for field, rows in groups.items():
        options = field.model._meta
        ledger.vendor.update_rows(options.db_table, options.pk.column, [field.column], rows)
