"""What becomes of the rows that refer to a primary key when that passes from one record to another.

The invariant: what a row says on the wire changes only with a new dot. A reference travels as the key of its record,
so a row that refers to a primary key says something else once another record has that, though nobody wrote the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import models

from handleref_sync.capture.base import Captured
from handleref_sync.registry import Column, Replicated
from handleref_sync.replication.ledger import Ledger

PARAMETERS = 500
Passing = Mapping[int, Mapping[str, tuple[str | None, int]]]
"""By the number of a model and the primary key: the key that the row's record had, and when the row was written."""


def passed_on(ledger: Ledger, passing: Passing) -> list[Captured]:
    """Notes about the rows that refer to those which are another record's now."""
    from handleref_sync.replication.stamping import pk_text  # which asks this

    notes: dict[tuple[int, str], list[Captured]] = {}
    for number, olds in passing.items():
        model = ledger.by_number[number]
        passed = [pk for pk, stamp in ledger.stamps_of(model, olds).items() if stamp.key != olds[pk][0]]
        timestamp = max((olds[pk][1] for pk in passed), default=0)
        for child, column, pk in _referring(ledger, model, [model.pk.to_python(text) for text in passed]):
            text = pk_text(child, pk, ledger)
            # One that is known by what it refers to is another record, too.
            ops = "DI" if child.identity in ("ends", "parent") else "U"
            fields = f"{column.name}," if child.by_field else None
            found = notes.setdefault((child.id, text), [])
            found += [Captured(0, child.id, text, op, timestamp, fields) for op in ops]
    return [note for group in notes.values() for note in group]


def _referring(ledger: Ledger, model: Replicated, pks: Sequence[Any]) -> Iterator[tuple[Replicated, Column, Any]]:
    """The rows of replicated models that refer to these: model, column, primary key."""
    if not pks:
        return
    for child in ledger.models.values():
        for column in (*child.columns, *(child.natural if child.parent else ())):
            found = _rows(ledger, child, column, model)
            if found is None:
                continue
            rows, name = found
            for start in range(0, len(pks), PARAMETERS):
                chunk = pks[start : start + PARAMETERS]
                for pk in rows.filter(**{f"{name}__in": chunk}).values_list("pk", flat=True):
                    yield child, column, pk


def _rows(ledger: Ledger, child: Replicated, column: Column, model: Replicated) -> tuple[Any, str] | None:
    """Those that may refer to `model` by this column, and the look-up that says to which row."""
    rows: models.QuerySet[Any] = child.model._base_manager.using(ledger.using)
    if column.generic is not None:
        from django.contrib.contenttypes.models import ContentType  # installed, where a model refers to it

        kind = ContentType.objects.db_manager(ledger.using).get_for_model(model.model)
        return rows.filter(**{column.generic: kind}), str(column.field.name)
    return (rows, f"{column.field.name}__pk") if column.target == model.label else None
