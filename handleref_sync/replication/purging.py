"""Letting tombstones go that nobody needs any more.

The invariant: a record that was deleted never comes back by itself. A tombstone goes only when every peer has it, and
only if our version vector covers all that it knows. What these tombstones knew is kept, united to one vector. A peer
that may lack one of them, for it was away, was restored from a backup or is new, has to show all that it has
(`Peer.rejoining`). Whatever version of such a record it then brings knows a write that we have incorporated, and a
record of which that is so and which has no stamp here was purged. See `plan.Planner`, which buries it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Q

from handleref_sync.core import hlc
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models import Parked, Peer, Stamp
from handleref_sync.replication import lives
from handleref_sync.replication.ledger import Ledger, local_node, locked, now_ms
from handleref_sync.replication.versions import key_of

CHUNK = 2000


@dataclass
class Purge:
    """What a purge did, or would do."""

    tombstones: int = 0
    """How many there were."""
    purged: int = 0
    young: int = 0
    """Deleted too short a time ago."""
    uncovered: int = 0
    """Of records that others may bring back without our noticing: our version vector does not cover them."""
    waiting: dict[str, int] = field(default_factory=dict)
    """By peer: how many it has not acknowledged."""
    forgotten: list[str] = field(default_factory=list)
    """Peers that nothing waits for any more."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dict(vars(self))


def purge(using: str, *, keep: timedelta, older_than: timedelta | None = None, dry_run: bool = False) -> Purge:
    """Drop tombstones that are older than `keep` and that every peer has acknowledged.

    `older_than`: first forget the peers that have not acknowledged those of that age. Such a peer has to be paired
    again, and then shows all that it has, so that what was deleted meanwhile is deleted there too. In bounded
    transactions; raises NotInstalled.
    """
    local_node(using)
    report = Purge()
    if older_than is not None:
        report.forgotten = _late(using, older_than)
        if not dry_run:
            for name in report.forgotten:
                lives.forget(using, name)
    after = 0
    while True:
        with locked(using) as ledger:
            rows = list(_tombstones(using).filter(sequence__gt=after).order_by("sequence")[:CHUNK])
            going = _unneeded(ledger, rows, report, keep)
            if going and not dry_run:
                ledger.drop(
                    VersionVector.union(ledger.clock_of(row.node_id, row.counter, row.clock) for row in going)
                )
                Stamp.objects.using(using).filter(pk__in=[row.pk for row in going]).delete()
        if len(rows) < CHUNK:
            return report
        after = rows[-1].sequence


def _tombstones(using: str) -> Any:
    return Stamp.objects.using(using).filter(deleted=True)


def _late(using: str, age: timedelta) -> list[str]:
    """Peers that lack a tombstone of that age."""
    old = (
        _tombstones(using).filter(timestamp__lt=_before(age)).order_by("-sequence").values_list("sequence", flat=True)
    )
    last = old.first() or 0
    late = Peer.objects.using(using).filter(Q(acknowledged__lt=last), revoked=None)
    return sorted(late.values_list("name", flat=True))


def _unneeded(ledger: Ledger, rows: list[Stamp], report: Purge, keep: timedelta) -> list[Stamp]:
    peers = [p for p in Peer.objects.using(ledger.using).filter(revoked=None) if p.name not in report.forgotten]
    known = {peer.name: VersionVector.parse(peer.known) for peer in peers}
    vector, limit = ledger.vector(), _before(keep)
    parked = set(Parked.objects.using(ledger.using).values_list("model", "key"))
    going = []
    for row in rows:
        model = ledger.by_number.get(row.model_id)
        report.tombstones += 1
        clock = ledger.clock_of(row.node_id, row.counter, row.clock)
        lacking = [p.name for p in peers if p.acknowledged < row.sequence and not known[p.name].covers(clock)]
        for name in lacking:
            report.waiting[name] = report.waiting.get(name, 0) + 1
        if row.timestamp >= limit:
            report.young += 1
        elif not vector.covers(clock):
            report.uncovered += 1
        elif not lacking and model is not None and (model.label, key_of(ledger, row)) not in parked:
            report.purged += 1
            going.append(row)
    return going


def _before(age: timedelta) -> int:
    return max(now_ms() - int(age.total_seconds() * 1000), 0) << hlc.LOGICAL_BITS
