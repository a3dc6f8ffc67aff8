"""What capture costs the application that writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.models import ReplicatedModel
from handleref_sync.registry import replicated
from handleref_sync.replication.stamping import stamp
from tests.benchmarks.app.models import Row, Twin
from tests.benchmarks.node.rows import timed, values

BATCH = 100


def writes(rows: int, commit: str = "batch", salt: int = 0) -> dict[str, Any]:
    """Seconds of each kind of write, captured and not, turn by turn so that the machine's moods hit both.

    `commit`: a hundred in one transaction (``batch``), or each in its own (``each``).
    """
    found: dict[str, float] = {}

    def note(what: str, work: Callable[[], object]) -> None:
        if commit == "batch":
            with transaction.atomic():
                spent = timed(work)
        else:
            spent = timed(work)
        found[what] = found.get(what, 0.0) + spent

    for n in range(rows // BATCH):
        for model in (Row, Twin) if n % 2 else (Twin, Row):
            turn(model, "captured" if model is Row else "plain", note, salt * 10_000_000 + n * BATCH)
    return {"seconds": found}


def turn(model: Any, name: str, note: Callable[[str, Callable[[], object]], None], first: int) -> None:
    """A hundred rows by each of the ways to write."""
    made = [model(**values("rows", i, [])) for i in range(first, first + BATCH)]
    alone = [model(**values("rows", i, [])) for i in range(first + BATCH, first + 2 * BATCH)]

    def each(work: Callable[[Any], object], rows: list[Any]) -> Callable[[], object]:
        return lambda: [work(row) for row in rows]

    def changed(row: Any) -> None:
        row.elevation += 1
        row.save()

    def updated(row: Any) -> None:
        model.objects.filter(pk=row.pk).update(elevation=F("elevation") + 1)

    note(f"save (new) {name}", each(lambda row: row.save(), alone))
    note(f"save (changed) {name}", each(changed, alone))
    note(f"update of one {name}", each(updated, alone))
    note(f"bulk_create {name}", lambda: model.objects.bulk_create(made))
    there = list(model.objects.order_by("-pk")[:BATCH])
    pks = [row.pk for row in there]
    note(f"update of 100 {name}", lambda: model.objects.filter(pk__in=pks).update(elevation=F("elevation") + 1))
    note(f"delete of one {name}", each(lambda row: model.objects.filter(pk=row.pk).delete(), alone))
    note(f"delete of 100 {name}", lambda: model.objects.filter(pk__in=pks).delete())


def ready_to_ship(rows: int) -> dict[str, Any]:
    """Seconds until new rows are captured and stamped, and of the plain writes: one by one, and in bulk."""
    found: dict[str, float] = {}
    stamp("default")
    for n in range(0, rows, 1000):
        for model in (Row, Twin) if n % 2000 else (Twin, Row):
            for way in ("save", "bulk_create"):
                made = [model(**values("rows", i, [])) for i in range(n, n + 1000)]

                def work(way: str = way, model: Any = model, made: list[Any] = made) -> None:
                    with transaction.atomic():
                        if way == "save":
                            for row in made:
                                row.save()
                        else:
                            model.objects.bulk_create(made, batch_size=1000)
                    if model is Row:
                        stamp("default")

                name = f"{way} {'captured' if model is Row else 'plain'}"
                found[name] = found.get(name, 0.0) + timed(work)
    return {"seconds": found}


def stamp_existing() -> dict[str, Any]:
    """Seconds in which rows that were there before get their stamps: noted, and numbered."""
    ReplicatedModel.objects.filter(label="app.row").update(fields={})
    described = replicated("default")["app.row"]
    vendor = vendor_for(connection)
    vendor.uninstall(described.table)
    noted = timed(lambda: install.install("default"))
    numbered = timed(lambda: stamp("default"))
    return {"noted": noted, "stamped": numbered}


def write_for(seconds: float, pause: float) -> dict[str, Any]:
    """New rows one by one, `pause` seconds apart, for so long; how long each write took, in seconds."""
    waits = []
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        number += 1
        row = Row(**values("rows", number, []))
        started = time.perf_counter()
        row.save()
        waits.append(time.perf_counter() - started)
        time.sleep(pause)
    waits.sort()
    return {"writes": len(waits), "longest": waits[-1], "median": waits[len(waits) // 2]}
