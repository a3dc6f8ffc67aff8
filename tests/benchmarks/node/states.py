"""States that take long to reach by syncing, put in by the driver; and a comparison of two nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from handleref_sync.capture.base import vendor_for
from handleref_sync.models import LocalNode, Node, Peer, ReplicatedModel
from handleref_sync.transport.client import HttpTransport
from handleref_sync.verify import verify as verify_peer
from tests.benchmarks.app.models import Row
from tests.benchmarks.node.rows import instances, plain, put

SPOILT = 1_000_000
"""More than any elevation: what a row has that was spoilt."""


def seed(rows: int, author: str) -> dict[str, Any]:
    """Rows that `author` wrote and all have, with their stamps: for a pull of a million takes long."""
    node = Node.objects.get_or_create(name=author)[0]
    model = ReplicatedModel.objects.get(label="app.row").pk
    columns, made = plain(Row, instances("rows", rows, 1))
    stamp = ["model_id", "pk", "key", "node_id", "counter", "timestamp", "deleted", "sequence"]

    def stamps() -> Iterator[tuple[Any, ...]]:
        for n in range(1, rows + 1):
            yield model, str(n), f"{author}:{n}", node.pk, n, n, False, n

    with transaction.atomic(), vendor_for(connection).applying():
        put("app_row", ["id", *columns], ((n, *row) for n, row in enumerate(made, 1)))
        put("handleref_sync_stamp", stamp, stamps())
        LocalNode.objects.update(sequence=rows)
        Node.objects.filter(pk=node.pk).update(vector=rows, seen=rows)
        if connection.vendor == "postgresql":  # the next row must not take a number that is there
            connection.cursor().execute("SELECT setval(pg_get_serial_sequence('app_row', 'id'), %s)", [rows])
    if connection.vendor == "postgresql":
        connection.cursor().execute("ANALYZE")
    return {}


def meet_nodes(nodes: int) -> dict[str, Any]:
    """So many more nodes in the vector, all of whose writes are here."""
    there = Node.objects.count()
    Node.objects.bulk_create(
        Node(name=f"far-{n}", vector=1_000_000 + n, seen=1_000_000 + n) for n in range(there, there + nodes)
    )
    return {}


def advance_nodes() -> dict[str, Any]:
    """As if each of those nodes had written once more, and it were here."""
    Node.objects.filter(name__startswith="far-").update(vector=F("vector") + 1, seen=F("seen") + 1)
    return {}


def without_capture(rows: int) -> dict[str, Any]:
    """Rows that no trigger has seen, as there are before the library is installed."""
    columns, made = plain(Row, instances("rows", rows, 1))
    with transaction.atomic(), vendor_for(connection).applying():
        put("app_row", columns, made)
    return {}


def read() -> dict[str, Any]:
    """CPU seconds of reading every row as Django does, and nothing more: the floor of a comparison."""
    started = time.process_time()
    for _ in Row.objects.values_list().iterator(chunk_size=2000):
        pass
    return {"cpu": time.process_time() - started}


def spoil(rows: int) -> dict[str, Any]:
    """Let just so many rows differ from what they were, without a trigger seeing it."""
    every = max(1, Row.objects.count() // max(1, rows))
    chosen = list(Row.objects.order_by("pk").values_list("pk", flat=True)[every // 2 :: every])[:rows]
    with transaction.atomic(), vendor_for(connection).applying():
        Row.objects.filter(elevation__gte=SPOILT).update(elevation=F("elevation") - SPOILT)  # those of last time
        Row.objects.filter(pk__in=chosen).update(elevation=F("elevation") + SPOILT)
    return {}


def verify() -> dict[str, Any]:
    """Compare with the hub."""
    known = Peer.objects.get()
    transport = HttpTransport("default", known)
    report = verify_peer("default", known, transport)
    transport.close()
    return {**report.as_dict(), "differences": len(report.differences), "models": {}}
