"""What somebody can do about a record that is gone, so that another one can be written back."""

from __future__ import annotations

import json

from handleref_sync.core.change import Record
from handleref_sync.models import Conflict, Stamp
from handleref_sync.replication.ledger import Ledger

DELETED = "It was deleted, and no version of it was kept."


def way_back(ledger: Ledger, gone: Record, stamp: Stamp | None) -> str:
    """What to do so that `gone`, of which this is the stamp, is there for a row that refers to it."""
    label, key = gone.model, gone.key
    if stamp is None:
        return "It has not arrived yet: run sync_peer, then restore this."
    kept = Conflict.objects.using(ledger.using).filter(model=label, key=key, aspect="", data__isnull=False)
    entry = kept.order_by("-timestamp", "id").first()
    if entry is not None:
        return f"Restore that first: sync_conflicts --restore {entry.id[:12]}."
    model = ledger.models[label]
    if model.identity == "pk":
        again = f"the {label} with the primary key {key}"
    elif model.identity == "natural":
        values = zip(model.natural, json.loads(key), strict=True)
        again = f"the {label} with {', '.join(f'{column.field.name}={value!r}' for column, value in values)}"
    else:
        return f"{DELETED} Make another {label} in its place, and this row: sync_conflicts --json shows its values."
    return f"{DELETED} Make {again} again, which is the same record; run sync_peer, then restore this."
