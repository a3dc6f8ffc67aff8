"""The feed: this database's stamps in the order of their sequence, as pages for one reader.

The invariant: a reader that has applied all pages up to a cursor holds, for each record whose sequence is at or below
it, a version that covers what was here. The cursor may run ahead of the reader's vector, never the other way round.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import connections
from django.db.models import QuerySet

from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.core.change import Change, Record
from handleref_sync.core.uncollected import uncollected
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import TooLarge
from handleref_sync.models import Capture, Parked, Peer, ReplicatedModel, Stamp
from handleref_sync.replication import place, shape
from handleref_sync.replication.again import again
from handleref_sync.replication.carried import change_of_row
from handleref_sync.replication.conflicts import LABEL
from handleref_sync.replication.cursors import Scope, give, remembered, resume
from handleref_sync.replication.ledger import Ledger, StampRow, locked, now_ms
from handleref_sync.replication.page import START, Cursor, Page
from handleref_sync.replication.reading import Reader
from handleref_sync.replication.stamping import PARAMETERS, stamp
from handleref_sync.replication.versions import change_of, key_of, version_of

logger = logging.getLogger("handleref_sync.replication")

SCAN_PAGES = 20
"""How many pages' worth of stamps one request looks through before it answers with what it has."""


@dataclass
class _Scan:
    """The stamps and parked changes that go into one page."""

    stamps: list[StampRow] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    position: int = 0
    head: bool = True

    def __len__(self) -> int:
        return len(self.stamps) + len(self.parked)


@uncollected()
def read_page(
    using: str, reader: Peer, cursor: Cursor, known: VersionVector, scope: Scope, rows: int | None = None
) -> Page:
    """The next page for `reader`, who stands at `cursor` and has incorporated `known`; of `rows` changes at most.

    Stamps first, in a transaction of its own: a snapshot that was taken before the sequence lock was granted would
    not show what the stamper has just numbered. Remembers the cursor that is given, durably, before it returns.
    """
    stamp(using)
    after = resume(reader, cursor, scope)
    vendor = vendor_for(connections[using])
    with vendor.snapshot():
        ledger = Ledger(using)
        scan = _scan(ledger, after, known, scope, rows or settings.page_rows)
        changes, whole, vanished, unreadable = _changes(ledger, scan)
        changes = _in_scope(changes, scope)
        # The vector speaks of all that was ever written. Who takes it over without the stamps of a model that is not
        # named at present would never get those once it is named again.
        whole = whole and not (scan.head and (_beyond(ledger, scope) or _incomplete(ledger, scope)))
        vector, dropped = ledger.vector(), ledger.dropped
        behind = 0 if scan.head else ledger.local.sequence - scan.position
    place.mark(using)
    if vanished:
        _note_deletions(using, vanished)
    _note_unreadable(using, unreadable)
    given: Cursor = cursor
    if scan.position != after or not remembered(reader, cursor, scope):
        given = again(using, lambda: give(using, reader, cursor, scan.position, scope))
    return Page(changes, given, scan.head, whole, vector, behind, dropped)


def read_records(using: str, records: Iterable[Record], scope: Scope) -> Page:
    """The current versions of some records, and what is parked for them, in the feed's order. Moves no cursor.

    Not `whole` where one is being written just now: it comes with its next stamp.
    """
    by_model: dict[str, list[str]] = defaultdict(list)
    for record in records:
        by_model[record.model].append(record.key)
    vendor = vendor_for(connections[using])
    with vendor.snapshot():
        ledger = Ledger(using)
        scan = _Scan()
        for label in by_model.keys() & scope.models & ledger.models.keys():
            keys = by_model[label]
            found = Reader(ledger, ledger.models[label]).stamps(keys)
            waiting = _passed_on(ledger).filter(model=label, key__in=keys)
            scan.stamps += [row for row in found.values() if scope.admits(ledger, row)]
            scan.parked += [row for row in waiting if scope.admits(ledger, row)]
        changes, whole, _, _ = _changes(ledger, scan)
    return Page(_in_scope(changes, scope), START, False, whole, VersionVector())


def lag(using: str, after: int, known: VersionVector, scope: Scope, limit: int = 100_000) -> int:
    """How many changes after `after` a reader with `known` lacks, unstamped ones too. Stops at `limit`."""
    ledger = Ledger(using)
    return len(_scan(ledger, after, known, scope, limit, scan_pages=1)) + dirty(ledger)


def dirty(ledger: Ledger) -> int:
    """How many rows wait to be stamped."""
    notes = Capture.objects.using(ledger.using).filter(model__in=ledger.by_number)
    return notes.values("model", "pk_text").distinct().count()


def _scan(
    ledger: Ledger, after: int, known: VersionVector, scope: Scope, limit: int, scan_pages: int = SCAN_PAGES
) -> _Scan:
    scan = _Scan(position=after)
    numbers = {model.id for model in ledger.models.values() if model.label in scope.models}
    covered = ledger.by_node(known)
    taken = 0
    for _ in range(scan_pages):
        stamps = ledger.stamps_after(scan.position, limit)
        parked = list(_passed_on(ledger).filter(sequence__gt=scan.position).order_by("sequence")[:limit])
        rows: list[StampRow | Parked] = [*stamps, *parked]
        rows.sort(key=lambda row: row.sequence)
        del rows[limit:]
        for row in rows:
            if taken == limit:
                scan.head = False
                return scan
            scan.position = row.sequence
            if row.clock is None:
                if row.counter <= covered.get(row.node_id, 0):
                    continue
            elif known.covers(VersionVector.parse(row.clock)):
                continue
            if not scope.admits(ledger, row):
                continue
            if isinstance(row, Parked):
                if row.model in scope.models:
                    scan.parked.append(row)
                    taken += 1
            elif row.model_id in numbers:
                scan.stamps.append(row)
                taken += 1
        if len(rows) < limit:
            # Up to the last number taken, so that a reader at the head is known to be there without a look.
            scan.position = max(scan.position, ledger.local.sequence)
            return scan
    scan.head = False
    return scan


def _passed_on(ledger: Ledger) -> QuerySet[Parked]:
    """What waits here, but for what its bringer had no right to: who trusts its author gets it from there."""
    return Parked.objects.using(ledger.using).exclude(reason=Parked.Reason.NOT_PERMITTED)


def _changes(ledger: Ledger, scan: _Scan) -> tuple[list[Change], bool, list[StampRow], dict[int, dict[str, str]]]:
    """The page's changes; whether it is whole; live stamps whose row is gone without a trace.

    Also the rows that can't be read, by the number of a model, where those are not the ones that are noted.
    """
    unreadable: dict[int, dict[str, str]] = {}
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for record in scan.stamps:
        by_model[record.model_id].append(record)
    made: list[tuple[int, Change]] = []
    vanished: list[StampRow] = []
    left_out = 0
    anything_pending = Capture.objects.using(ledger.using).exists()
    for number, records in by_model.items():
        model = ledger.by_number[number]
        content = Reader(ledger, model)
        # A row that was written again has content that its stamp doesn't know. It comes with its next stamp.
        pending = _pending(ledger, number, records) if anything_pending else set()
        rows = content.read([str(r.pk_text) for r in records if not r.deleted], under_lock=False)
        keys = _keys(ledger, records)
        for record in _unfit(records, keys, content.unreadable):
            del keys[record.sequence]
        noted = ledger.unreadable.get(number, {})
        still = (content.present(list(noted)) if noted else set()) - rows.keys()
        found = {**{pk: why for pk, why in noted.items() if pk in still}, **content.unreadable}
        if found != noted:
            unreadable[number] = found
        for record in records:
            values = None if record.deleted else rows.get(str(record.pk_text))
            if record.pk_text in pending and not record.deleted:
                left_out += 1
            elif record.pk_text in content.unreadable and not record.deleted:
                # It does not stop the rest. Whoever mends it writes it, and so it comes with its next stamp.
                left_out += 1
                why = content.unreadable[str(record.pk_text)]
                logger.error("%s %s can't be read, and so does not travel: %s", model.label, record.pk_text, why)
            elif record.sequence not in keys:
                continue  # the tombstone of a record that nobody else can have, or that could not be read
            elif values is None and not record.deleted:
                left_out += 1
                vanished.append(record)
            else:
                identity = Record(model.label, keys[record.sequence])
                version = version_of(ledger, record)
                change = change_of_row(ledger, record, identity, version, content.fields, values)
                made.append((record.sequence, change))
    for parked in scan.parked:
        made.append((parked.sequence, change_of(ledger, parked)))
    made.sort(key=lambda item: item[0])
    return [change for _, change in made], not left_out, vanished, unreadable


def _unfit(records: Iterable[StampRow], keys: Mapping[int, str], unreadable: dict[str, str]) -> Iterable[StampRow]:
    """Those of `records` whose keys no other node would take; of rows it is noted why. `keys`: by sequence."""
    try:
        shape.keys(tuple(keys.values()))
    except (TooLarge, ValueError):
        found = [(r, why) for r in records if r.sequence in keys and (why := shape.unfit_key(keys[r.sequence]))]
        unreadable.update((str(record.pk_text), why) for record, why in found if not record.deleted)
        return [record for record, _ in found]
    return []


def _note_unreadable(using: str, found: Mapping[int, Mapping[str, str]]) -> None:
    """Note which rows can't be read, so that somebody sees it who does not read logs."""
    for number, rows in found.items():
        ReplicatedModel.objects.using(using).filter(pk=number).update(unreadable=dict(rows))


def _in_scope(changes: list[Change], scope: Scope) -> list[Change]:
    """Those of `changes` that the exchange is about.

    An entry of the conflict log goes where the record may go that it speaks of; where it says of none, nowhere.
    """
    return [change for change in changes if change.record.model != LABEL or _speaks_of(change, scope.models)]


def _speaks_of(entry: Change, models: Collection[str]) -> bool:
    _, label = entry.content.get("model", (None, None))
    return entry.values is None or (isinstance(label, str) and label in models)


def _beyond(ledger: Ledger, scope: Scope) -> bool:
    """Whether this database keeps anything of a model that the exchange is not about."""
    if Parked.objects.using(ledger.using).exclude(model__in=scope.models).exists():
        return True
    others = ReplicatedModel.objects.using(ledger.using).exclude(label__in=scope.models)
    return any(Stamp.objects.using(ledger.using).filter(model=other).exists() for other in others)


def _incomplete(ledger: Ledger, scope: Scope) -> bool:
    """Whether a record that has a stamp was left out of this page or one before it, and has not come since."""
    unreadable = [ledger.by_number[number].label for number in ledger.unreadable if number in ledger.by_number]
    if not scope.models.isdisjoint(unreadable):
        return True
    held = Parked.objects.using(ledger.using).filter(reason=Parked.Reason.NOT_PERMITTED)
    dots = [Dot(ledger.node_name(node), counter) for node, counter in held.values_list("node", "counter")]
    if any(map(ledger.incorporated().knows, dots)):
        return True  # it waited for something else when the vector was merged, and only then the right was taken
    waiting = Capture.objects.using(ledger.using).filter(model__in=ledger.by_number).values_list("model", "pk_text")
    pks: dict[int, list[str]] = defaultdict(list)
    for number, pk in waiting.distinct()[: settings.page_rows]:  # what was committed since we stamped
        pks[number].append(pk)
    return any(ledger.stamps_of(ledger.by_number[number], some) for number, some in pks.items())


def _pending(ledger: Ledger, number: int, records: list[StampRow]) -> Collection[str]:
    pks = [r.pk_text for r in records if r.pk_text is not None]
    found: set[str] = set()
    for start in range(0, len(pks), PARAMETERS):
        notes = Capture.objects.using(ledger.using).filter(model=number, pk_text__in=pks[start : start + PARAMETERS])
        found.update(notes.values_list("pk_text", flat=True))
    return found


def _keys(ledger: Ledger, records: Iterable[StampRow]) -> dict[int, str]:
    """By sequence: the keys of those of `records` that have one. SQLite holds any text, whatever the field."""
    keys = {}
    for record in records:
        if record.key is not None:
            keys[record.sequence] = record.key
            continue
        with suppress(Exception):  # whatever a field raises for what is no primary key
            keys[record.sequence] = key_of(ledger, record)
    return keys


def _note_deletions(using: str, vanished: Iterable[StampRow]) -> None:
    """Capture the deletion of rows that went without a trigger seeing it, such as by REPLACE on SQLite.

    Those that are back by now have been noted by a trigger, and a deletion noted after that would undo it.
    """
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for record in vanished:
        by_model[record.model_id].append(record)
    with locked(using) as ledger:
        for number, records in by_model.items():
            there = Reader(ledger, ledger.by_number[number]).present([str(s.pk_text) for s in records])
            Capture.objects.using(using).bulk_create(
                Capture(model=number, pk_text=str(s.pk_text), op="D", timestamp=max(s.timestamp + 1, now_ms() << 16))
                for s in records
                if s.pk_text not in there
            )
