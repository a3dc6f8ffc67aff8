"""What a peer may not write stays as it is in its sessions (G10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from handleref_sync import registry
from tests.simulation.oracle import select
from tests.simulation.world import Broken, Node

Kept = Mapping[tuple[str, str], dict[str, Any]]
"""By model and field, or the empty text for all fields: by primary key, what is there."""


def kept(node: Node, peer: str) -> Kept:
    """What `peer` may not change on `node`. Nothing, where it may change all the same: see `_alone`."""
    found = node.rows("SELECT read_only FROM handleref_sync_peer WHERE name = ?", peer)
    read_only = _parsed(found[0][0]) if found else None
    if not read_only or node.rows("SELECT 1 FROM handleref_sync_parked WHERE peer <> ?", peer):
        return {}  # the latter: what others brought may be written now
    models = registry.replicated(node.alias)
    kept = {}
    for entry in read_only:
        label, field = (entry, "") if entry in models else entry.rsplit(".", 1)
        model = models[label]
        if model.by_field or not _alone(model, models, read_only):
            continue
        names = [column.name for column in model.columns]
        rows = {row[0]: row[1:] for row in node.rows(select(model))}
        at = [number for number, name in enumerate(names) if not field or model.own_name(name) == field]
        kept[label, field] = {pk: [values[number] for number in at] for pk, values in rows.items()}
    return kept


def unchanged(before: Kept, node: Node, peer: str) -> None:
    """Raises Broken if the session with `peer` changed it all the same."""
    after = kept(node, peer)
    for (label, field), rows in before.items():
        now = after.get((label, field), rows)
        if field:  # rows may come and go
            both = rows.keys() & now.keys()
            rows, now = ({pk: found[pk] for pk in both} for found in (rows, now))
        if rows != now:
            raise Broken(f"G10 {peer} has changed {label} {field} on {node.name}: from {rows} to {now}")


def _alone(model: Any, models: Mapping[str, Any], read_only: list[str]) -> bool:
    """Whether its rows change by themselves alone: not with what they refer to, which the peer may delete."""
    targets = {column.target for column in (*model.columns, *model.natural) if column.target is not None}
    return all(target in read_only for target in targets - {model.label})


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
