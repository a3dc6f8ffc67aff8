"""What was written behind the triggers' back: found by this database's own books, and made ordinary writes.

The invariant of a repair: no row is changed by it. What stands in a table is what the application goes by, so that is
what counts: it gets a stamp that speaks of it, with a new dot whose clock covers the old one. It then travels as any
write does, and where another node has changed the record meanwhile, the two are a conflict like any other.

What a database can't see by itself is a row that was changed under a stamp which stayed as it was. Two nodes see it:
they have one dot with two contents, and nothing says which is the right one. `keep` lets the row here become a new
write, and logs what the other side has under the old dot, both in one transaction. So whoever gets the new write over
the other content has that content in the log, whatever breaks off. If both sides do it at a time, the two new writes
don't know each other and meet as a conflict, so nothing is lost then either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field

from django.db import connections, transaction

from handleref_sync import registry
from handleref_sync.capture.base import CAPTURE, STAMP, Vendor, vendor_for
from handleref_sync.core.change import Change, Version
from handleref_sync.core.join import whole_of
from handleref_sync.core.reconcile import Decision
from handleref_sync.models import Capture
from handleref_sync.registry import Replicated
from handleref_sync.replication.applier import Applier
from handleref_sync.replication.carried import of_write
from handleref_sync.replication.conflicts import LABEL
from handleref_sync.replication.ledger import Ledger, locked, now_ms
from handleref_sync.replication.plan import Plan, Planner
from handleref_sync.replication.reading import Reader
from handleref_sync.replication.stamping import stamp_rows
from handleref_sync.replication.versions import version_of

BATCH = 1000


@dataclass
class Unseen:
    """Primary keys, as the capture table has them, of one model's rows that went wrong without a trigger's note."""

    unstamped: list[str] = field(default_factory=list)
    """Rows that have no stamp."""
    vanished: list[str] = field(default_factory=list)
    """Live stamps that have no row."""
    undead: list[str] = field(default_factory=list)
    """Rows whose stamp says that they were deleted."""

    def __len__(self) -> int:
        return sum(map(len, astuple(self)))


def find(using: str, label: str) -> Unseen:
    """What the books of one model and its table contradict each other in. Two set-based queries.

    In one snapshot: a write is committed together with its note, and a stamp together with the end of the note.
    """
    model, vendor = registry.replicated(using)[label], vendor_for(connections[using])
    with vendor.snapshot():
        if not vendor.columns(model.table):
            return Unseen()  # not migrated here yet
        table, stamped, noted = _sets(vendor, model)
        rows = _texts(vendor, f"{table} EXCEPT {stamped} EXCEPT {noted}")
        gone = _texts(vendor, f"{stamped} EXCEPT {table} EXCEPT {noted}")
        tombstones: set[str] = set()
        if rows:
            ledger = Ledger(using)
            for start in range(0, len(rows), BATCH):
                tombstones.update(ledger.stamps_of(model, rows[start : start + BATCH]))
    return Unseen([pk for pk in rows if pk not in tombstones], gone, [pk for pk in rows if pk in tombstones])


def _sets(vendor: Vendor, model: Replicated) -> tuple[str, str, str]:
    """SQL for the primary keys of the rows, of the live stamps, and of the notes of one model."""
    pk = vendor.text_pk(f"t.{vendor.quote(model.pk_column)}")
    return (
        f"SELECT {pk} FROM {vendor.quote(model.table)} t",
        f"SELECT s.pk FROM {STAMP} s WHERE s.model_id = {model.id} AND NOT s.deleted",
        f"SELECT c.pk FROM {CAPTURE} c WHERE c.model = {model.id}",
    )


def _texts(vendor: Vendor, sql: str) -> list[str]:
    return sorted(str(pk) for (pk,) in vendor.rows(sql))


def find_all(using: str) -> dict[str, Unseen]:
    """`find` for every model in which there is something to be found."""
    found = {label: find(using, label) for label in sorted(registry.replicated(using))}
    return {label: unseen for label, unseen in found.items() if len(unseen)}


def note(using: str) -> dict[str, int]:
    """Make a note of all that `find` finds, as the triggers would have; how many there were by model."""
    counts = {}
    for label, unseen in find_all(using).items():
        model = registry.replicated(using)[label]
        if unseen.unstamped or unseen.undead:
            with transaction.atomic(using=using):
                vendor_for(connections[using]).capture_existing(model)
        for start in range(0, len(unseen.vanished), BATCH):
            _note_deletions(using, label, unseen.vanished[start : start + BATCH])
        counts[label] = len(unseen)
    return counts


def _note_deletions(using: str, label: str, pks: Sequence[str]) -> None:
    with locked(using) as ledger:
        model = ledger.models[label]
        reader, live = Reader(ledger, model), ledger.stamps_of(model, pks)
        there = reader.present(pks)
        notes = [
            Capture(model=model.id, pk_text=pk, op="D", timestamp=now_ms() << 16)
            for pk, row in live.items()
            if not row.deleted and pk not in there
        ]
        Capture.objects.using(using).bulk_create(notes)


def keep(using: str, peer: str, theirs: Iterable[Change]) -> int:
    """Let what is here of these records be a new write, and log what `peer` has under the same dot.

    How many it did that for: a record that has come to the same content since is left alone.
    """
    by_model: dict[str, list[Change]] = defaultdict(list)
    for change in theirs:
        by_model[change.record.model].append(change)
    done = 0
    with locked(using) as ledger:
        ledger.vendor.bound_waits()
        planner = Planner(ledger)
        plans = [plan for label, changes in by_model.items() for plan in _keeping(planner, label, changes)]
        if plans:
            Applier(ledger, peer).carry_out(planner, plans)
        done = len(plans)
    return done


def _keeping(planner: Planner, label: str, changes: Sequence[Change]) -> list[Plan]:
    ledger, content = planner.ledger, planner.content(label)
    keys = [change.record.key for change in changes]
    pks = [row.pk_text for row in content.stamps(keys).values() if row.pk_text is not None]
    stamp_rows(ledger, content.model, pks)  # what was written since; its clock covers the dot as well
    stamps = content.stamps(keys)
    rows = content.read([str(row.pk_text) for row in stamps.values() if not row.deleted], under_lock=True)
    plans = []
    for change in changes:
        stamp = stamps.get(change.record.key)
        mine = None if stamp is None else version_of(ledger, stamp)
        if stamp is None or mine is None or not mine.clock.knows(change.version.dot):
            continue
        row = None if stamp.deleted else rows.get(str(stamp.pk_text))
        if not stamp.deleted and row is None:
            continue  # it can't be read
        here = None if row is None else dict(zip(content.fields, row, strict=True))
        if change.values is None or here is None:
            same = change.values is None and here is None
        else:
            same = content.same(change.fields, change.values, here)
        if same:
            continue
        timestamp = max(mine.timestamp, change.version.timestamp) + 1  # as all that the machine writes
        decision = Decision(False, Version(mine.dot, mine.clock.unite(change.version.clock), timestamp))
        lost = () if label == LABEL else (whole_of(change),)
        kept = None if stamp.deleted else of_write(ledger, stamp, content.model.names, None)
        plans.append(Plan(change, stamp, decision, content.fields, row, lost, kept, machine=True))
    return plans
