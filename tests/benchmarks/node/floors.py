"""What the same rows cost without the library: each a command of a node that takes no part in anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management import call_command
from django.db import connection, connections, models, transaction

from handleref_sync.models import Stamp
from tests.benchmarks import databases
from tests.benchmarks.app.models import SHAPES
from tests.benchmarks.node.rows import CHUNK, chunks, instances, parents_of, put, timed


def empty(*classes: type[models.Model]) -> None:
    with connection.cursor() as cursor:
        for model in classes:
            truncate = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE TABLE"
            cursor.execute(f"{truncate} {connection.ops.quote_name(model._meta.db_table)}")


def floor_bulk_create(rows: int, shape: str = "rows") -> dict[str, Any]:
    """Seconds of Django's ``bulk_create(batch_size=1000)`` into a table that nobody captures."""
    empty(SHAPES[shape].twin)
    twin, spent = SHAPES[shape].twin, 0.0
    with transaction.atomic():
        for made in chunks(instances(shape, rows, 0, twin=True), 50 * CHUNK):
            spent += timed(lambda made=made: twin.objects.bulk_create(made, batch_size=CHUNK))
        started = time.perf_counter()
    return {"seconds": spent + time.perf_counter() - started}


def floor_raw(kind: str, name: str, rows: int, shape: str = "rows") -> dict[str, Any]:
    """Seconds in which the driver alone writes the rows, and the stamps, that the database `name` has."""
    described = SHAPES[shape]
    empty(described.twin, Stamp)
    if described.parent:
        parents_of(shape, rows)
    connections.databases["source"] = {**connections.databases["default"], **databases.django(kind, name)}
    try:
        twin = [f.column for f in described.twin._meta.local_concrete_fields]
        found = put(described.twin._meta.db_table, twin, _read(described.model, twin))
        stamp = [f.column for f in Stamp._meta.local_concrete_fields]
        return {"rows": found, "stamps": put(Stamp._meta.db_table, stamp, _read(Stamp, stamp))}
    finally:
        connections["source"].close()
        del connections["source"], connections.databases["source"]
        empty(described.twin, Stamp)


def _read(model: type[models.Model], columns: list[str]) -> Iterator[tuple[Any, ...]]:
    source = connections["source"]
    names = ", ".join(map(source.ops.quote_name, columns))
    with source.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM {model._meta.db_table}")
        while found := cursor.fetchmany(5000):
            yield from found


def floor_dump_and_load(rows: int, shape: str = "rows") -> dict[str, Any]:
    """Seconds of ``dumpdata`` and of ``loaddata`` of the rows."""
    floor_bulk_create(rows, shape)
    with TemporaryDirectory(prefix="handleref-bench-") as home:
        file = Path(home) / "rows.json"
        dump = timed(lambda: call_command("dumpdata", SHAPES[shape].twin._meta.label, output=str(file), verbosity=0))
        empty(SHAPES[shape].twin)
        load = timed(lambda: call_command("loaddata", str(file), verbosity=0))
        found = {"dump": dump, "load": load, "bytes": file.stat().st_size}
    empty(SHAPES[shape].twin)
    return found


def floor_update(rows: int) -> dict[str, Any]:
    """Seconds of one plain UPDATE of all rows of the twin."""
    twin = SHAPES["rows"].twin
    floor_bulk_create(rows)
    spent = timed(lambda: twin.objects.update(elevation=models.F("elevation") + 1))
    empty(twin)
    return {"seconds": spent}


def floor_delete(rows: int) -> dict[str, Any]:
    """Seconds of a plain delete by primary key, 500 in a transaction, as `rows.delete` does it."""
    twin = SHAPES["rows"].twin
    floor_bulk_create(rows)
    pks = list(twin.objects.order_by("pk").values_list("pk", flat=True))

    def work() -> None:
        for some in chunks(pks, 500):
            twin.objects.filter(pk__in=some).delete()

    return {"seconds": timed(work)}
