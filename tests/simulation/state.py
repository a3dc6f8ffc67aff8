"""All that guarantee G1 says is the same everywhere: rows by key, stamps with their clocks, the conflict log.

As `tests.nodes.network.state` finds it, but by plain SQL on all replicated tables: it is asked for often.
"""

from __future__ import annotations

from typing import Any

from handleref_sync import registry
from handleref_sync.replication.carried import load
from tests.simulation.oracle import ENTRY, content_of, plain, select
from tests.simulation.world import Node

LOG = 'SELECT model, "key", node, counter, aspect, data, restored, dismissed FROM handleref_sync_conflict'


class _Names:
    """As much of a ledger as `load` asks for."""

    def __init__(self, names: dict[int, str]) -> None:
        self.node_name = names.__getitem__


def state(node: Node) -> dict[str, dict[Any, Any]]:
    """The state of one node."""
    models = registry.replicated(node.alias)
    names = dict(node.rows("SELECT id, name FROM handleref_sync_node"))
    books: Any = _Names(names)
    labels = {model.id: label for label, model in models.items()}
    keys, stamps = {}, {}
    for number, pk, key, author, counter, clock, timestamp, deleted, carried in node.rows(
        'SELECT model_id, pk, "key", node_id, counter, clock, timestamp, deleted, carried FROM handleref_sync_stamp'
    ):
        label = labels[number]
        key = plain(pk) if key is None else key
        if pk is not None:
            keys[label, pk] = key
        dot = f"{names[author]}:{counter}"
        marks = {name: kept.mark for name, kept in load(books, carried).items() if kept.mark} if carried else {}
        stamps[label, key] = (dot, clock or dot, timestamp, bool(deleted), marks)
    rows = {}
    for label, model in models.items():
        if label != ENTRY:
            for row in node.rows(select(model)):
                found = content_of(model, row, lambda label, pk: keys.get((label, pk), ("pk", pk)))
                rows[label, keys.get((label, row[0]), ("pk", row[0]))] = found
    log = {entry[:5]: entry[5:] for entry in node.rows(LOG)}
    return {"rows": rows, "stamps": stamps, "log": log}
