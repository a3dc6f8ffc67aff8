"""Changes that can't be written yet: kept in a row of their own, fed on, retried, and gone when superseded.

The invariant: what has arrived is in its table, superseded by a write that knew it, in the conflict log, or here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from handleref_sync import wire
from handleref_sync.core.change import Change, Record
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models import Parked
from handleref_sync.replication.ledger import Ledger

Reason = Parked.Reason


def park(ledger: Ledger, change: Change, reason: Reason, detail: str = "", waits_for: Record | None = None) -> bool:
    """Keep `change` until it can be written. False if that very version was parked already."""
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
        data = wire.pack({"fields": list(change.fields), "values": list(change.values)})
    Parked.objects.using(ledger.using).create(
        model=change.record.model,
        key=change.record.key,
        node_id=node,
        counter=version.dot.counter,
        clock=str(version.clock),
        timestamp=version.timestamp,
        data=data,
        sequence=ledger.take(1),
        **why,
    )
    return True


def superseded(ledger: Ledger, applied: Mapping[Record, VersionVector]) -> None:
    """Drop parked versions that the applied clocks know."""
    for parked in Parked.objects.using(ledger.using).all():
        clock = applied.get(Record(parked.model, parked.key))
        if clock is not None and clock.get(ledger.node_name(parked.node_id), 0) >= parked.counter:
            parked.delete(using=ledger.using)


def waiting(ledger: Ledger, arrived: Iterable[Record] | None = None) -> list[Parked]:
    """Parked changes that wait for one of `arrived`; all of them, if that is None. Oldest writes first."""
    parked = Parked.objects.using(ledger.using).order_by("timestamp", "sequence")
    if arrived is None:
        return list(parked)
    wanted = {str(record) for record in arrived}
    return [p for p in parked.exclude(waits_for="") if p.waits_for in wanted]
