"""Changes that can't be written yet: kept in a row of their own, fed on, retried, and gone when superseded.

The invariant: what has arrived is in its table, superseded by a write that knew it, in the conflict log, or here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core.change import Change, Record
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models import Parked
from handleref_sync.replication import clashes
from handleref_sync.replication.conflicts import moment
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.stamping import PARAMETERS

Reason = Parked.Reason


def park(
    ledger: Ledger,
    change: Change,
    reason: Reason,
    detail: str = "",
    waits_for: Record | None = None,
    peer: str = "",
) -> bool:
    """Keep `change`, which `peer` brought, until it can be written. False if that very version was parked already."""
    version = change.version
    node = ledger.node_number(version.dot.node)
    known = Parked.objects.using(ledger.using).filter(node=node, counter=version.dot.counter)
    why = {"reason": reason, "detail": detail[:1000], "waits_for": str(waits_for or "")}
    before = known.first()
    if before is not None:
        known.exclude(**why).update(**why)
        clock = VersionVector.parse(before.clock)
        if not clock.covers(version.clock):
            # Somebody has united it with others meanwhile, and those behind us have to learn that.
            known.update(clock=str(clock.unite(version.clock)), sequence=ledger.take(1))
        return False
    data = None
    if change.values is not None:
        content: dict[str, Any] = {"fields": list(change.fields), "values": list(change.values)}
        if change.carried:
            content["carried"] = [
                [name, mark.timestamp, *mark.dot, value] for name, (mark, value) in sorted(change.carried.items())
            ]
        data = wire.pack(content)
    Parked.objects.using(ledger.using).create(
        model=change.record.model,
        key=change.record.key,
        node_id=node,
        counter=version.dot.counter,
        clock=str(version.clock),
        timestamp=version.timestamp,
        data=data,
        peer=peer,
        sequence=ledger.take(1),
        **why,
    )
    return True


def superseded(ledger: Ledger, applied: Mapping[Record, VersionVector]) -> None:
    """Drop parked versions that the applied clocks know."""
    keys: dict[str, list[str]] = defaultdict(list)
    for record in applied:
        keys[record.model].append(record.key)
    for label, some in keys.items():
        for start in range(0, len(some), PARAMETERS):
            parked = Parked.objects.using(ledger.using).filter(model=label, key__in=some[start : start + PARAMETERS])
            for change in parked:
                clock = applied[Record(change.model, change.key)]
                if clock.counter(ledger.node_name(change.node_id)) >= change.counter:
                    change.delete(using=ledger.using)


def waiting(ledger: Ledger, arrived: Iterable[Record] | None = None) -> list[Parked]:
    """Parked changes that wait for one of `arrived`; all of them, if that is None. Oldest writes first."""
    parked = Parked.objects.using(ledger.using).order_by("timestamp", "sequence")
    if arrived is None:
        return list(parked)
    wanted = {str(record) for record in arrived}
    return [p for p in parked.exclude(waits_for="") if p.waits_for in wanted]


ADVICE: dict[str, str] = {
    Reason.PARENT_MISSING: "It is written when that record arrives. Is its model replicated where this was written?",
    Reason.PARENT_DELETED: "It is settled by on_delete when a peer that has the parent is met.",
    Reason.STILL_REFERENCED: "Delete what refers to it, or write it again here if it is to stay.",
    Reason.UNKNOWN_MODEL: "Name the model in MODELS, and run manage.py migrate.",
    Reason.UNIQUE: "Change one of the two records, or set on_unique of the model.",
    Reason.INVALID: "Bring both nodes to the same migrations, or correct the value where it was written.",
    Reason.LOCKED: "Nothing: the next sync tries again.",
    Reason.CLOCK_AHEAD: "Set the clocks right; it is written when its time has come.",
}


def describe(using: str) -> list[dict[str, Any]]:
    """What waits, for a person, the oldest first."""
    ledger = Ledger(using)
    return [
        {
            "model": change.model,
            "key": change.key,
            "node": change.node.name,
            "counter": change.counter,
            "written": moment(change.timestamp),
            "peer": change.peer,
            "since": change.since.isoformat(timespec="seconds"),
            "what": "deletion" if change.data is None else "content",
            "reason": change.reason,
            "in_words": change.get_reason_display(),
            "detail": clashes.in_words(change, collides) or change.detail,
            "collides_with": collides,
            "advice": ADVICE[change.reason],
        }
        for change in Parked.objects.using(using).select_related("node").order_by("since", "sequence")
        for collides in [clashes.clashes(ledger, change)]
    ]


def overdue(using: str) -> int:
    """How many changes have waited for longer than the setting PARKED_ALERT allows."""
    limit = timezone.now() - timedelta(seconds=settings.parked_alert)
    return Parked.objects.using(using).filter(since__lt=limit).count()
