"""The rows of each shape: how they come into being, and how they change."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connections, transaction

from tests.benchmarks.app.models import SHAPES, WIDE, Narrow

CHUNK = 1000
PARENTS = 100
"""Rows to one parent."""
MOMENT = datetime(2024, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)


def values(shape: str, number: int, parents: list[Any]) -> dict[str, Any]:
    """The fields of row `number`. `parents`: primary keys to refer to."""
    if shape == "narrow":
        return {"code": f"X{number:09}", "elevation": number % 9000}
    if shape == "wide":
        made: dict[str, Any] = {"elevation": number % 9000}
        for column in range(WIDE):
            made[f"column_{column}"] = (
                f"Text {number * 31 % 10_007} of {column}",
                number * 7919 % 1_000_003,
                Decimal(number * 104_729 % 99_999_999) / 100,
                MOMENT + timedelta(seconds=number * 61 + column, microseconds=number % 1000),
            )[column % 4]
        return made
    found = {
        "name": f"Aerodrome number {number}",
        "code": f"X{number:07}",
        "city": f"City {number % 997}",
        "elevation": number % 9000,
        "latitude": (number * 7919 % 180_000_000) / 1e6 - 90,
        "longitude": (number * 104_729 % 360_000_000) / 1e6 - 180,
    }
    if parents:
        found["land_id"] = parents[number % len(parents)]
        found["other_id"] = parents[number * 7 % len(parents)] if number % 5 else None
    return found


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def put(table: str, columns: list[str], rows: Iterable[tuple[Any, ...]], using: str = "default") -> float:
    """Insert rows as fast as the driver can; seconds of that, without those in which `rows` are made."""
    connection, spent = connections[using], 0.0
    names = ", ".join(map(connection.ops.quote_name, columns))
    table = connection.ops.quote_name(table)
    marks = ", ".join(["%s"] * len(columns))
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for chunk in chunks(rows, 5000):
            started = time.perf_counter()
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in chunk:
                        copy.write_row(row)
            else:
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", chunk)
            spent += time.perf_counter() - started
        started = time.perf_counter()
    return spent + time.perf_counter() - started


def plain(model: Any, made: Iterable[Any], using: str = "default") -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Columns, and the values of instances as the driver takes them."""
    connection = connections[using]
    fields = [
        f for f in model._meta.local_concrete_fields if not (f.primary_key and f.get_internal_type() == "AutoField")
    ]
    return [f.column for f in fields], (
        tuple(f.get_db_prep_save(f.value_from_object(each), connection) for f in fields) for each in made
    )


def instances(shape: str, rows: int, start: int, *, twin: bool = False) -> Iterator[Any]:
    """Unsaved rows, one after the other, so that a million of them takes no memory."""
    described = SHAPES[shape]
    model = described.twin if twin else described.model
    parents = parents_of(shape, rows) if described.parent else []
    for number in range(start, start + rows):
        made = model(**values(shape, number, parents))
        if hasattr(made, "created"):  # by the driver nothing else sets them; as of somebody who writes one a minute
            made.created = made.updated = MOMENT + timedelta(seconds=number * 61, microseconds=number * 7919 % 10**6)
        yield made


def parents_of(shape: str, rows: int) -> list[Any]:
    """Primary keys of the parents of `rows` rows, which are made where they lack."""
    parent, count = SHAPES[shape].parent, max(1, rows // PARENTS)
    there = parent.objects.count()
    if there < count:
        parent.objects.bulk_create((parent(name=f"Land {n}") for n in range(there, count)), batch_size=CHUNK)
    return list(parent.objects.order_by("pk").values_list("pk", flat=True)[:count])


def fill(rows: int, shape: str = "rows", start: int = 0) -> dict[str, Any]:
    """Rows in the captured table, by the driver alone: how they came there is not what is measured."""
    made = instances(shape, rows, start)
    columns, lines = plain(SHAPES[shape].model, made)
    return {"seconds": put(SHAPES[shape].model._meta.db_table, columns, lines)}


def touch(rows: int, shape: str = "rows") -> dict[str, Any]:
    """Change `rows` rows, as somebody would who edits them one after another."""
    model = SHAPES[shape].model
    value = time.time_ns() % 1_000_000
    if model is Narrow:
        raise ValueError("what is touched has an integer as its primary key")
    for pks in chunks(list(model.objects.order_by("pk").values_list("pk", flat=True)[:rows]), 500):
        model.objects.filter(pk__in=pks).update(elevation=value)
    return {}


def delete(rows: int, shape: str = "rows") -> dict[str, Any]:
    """Delete `rows` rows; seconds of it."""
    model, spent = SHAPES[shape].model, 0.0
    for pks in chunks(list(model.objects.order_by("pk").values_list("pk", flat=True)[:rows]), 500):
        started = time.perf_counter()
        model.objects.filter(pk__in=pks).delete()
        spent += time.perf_counter() - started
    return {"seconds": spent}


def count(shape: str = "rows") -> dict[str, Any]:
    return {"rows": SHAPES[shape].model.objects.count()}
