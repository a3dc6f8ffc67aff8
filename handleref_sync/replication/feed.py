"""The feed: this database's stamps in the order of their sequence, as pages for one reader.

The invariant: a reader that has applied all pages up to a cursor holds, for each record whose sequence is at or below
it, a version that covers what was here. The cursor may run ahead of the reader's vector, never the other way round.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction

from handleref_sync import wire
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Capture, Conflict, Parked, Peer, Stamp
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger, StampRow, now_ms
from handleref_sync.replication.page import Cursor, Page
from handleref_sync.replication.stamping import PARAMETERS, canonical, stamp

SCAN_PAGES = 20
"""How many pages' worth of stamps one request looks through before it answers with what it has."""


@dataclass(frozen=True)
class Scope:
    """What an exchange is about: the models that both replicate, and whether others' writes are passed on."""

    models: frozenset[str]
    own_only: bool = False

    def name(self) -> str:
        """A short name under which cursors are kept: another scope has another position in the feed."""
        return wire.digest([sorted(self.models), self.own_only])[:16]


@dataclass
class _Scan:
    """The stamps and parked changes that go into one page."""

    stamps: list[StampRow] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    position: int = 0
    head: bool = True

    def __len__(self) -> int:
        return len(self.stamps) + len(self.parked)


def read_page(using: str, reader: Peer, cursor: Cursor, known: VersionVector, scope: Scope) -> Page:
    """The next page for `reader`, who stands at `cursor` and has incorporated `known`.

    Stamps first, in a transaction of its own: a snapshot that was taken before the sequence lock was granted would
    not show what the stamper has just numbered. Remembers the cursor that is given, durably, before it returns.
    """
    stamp(using)
    after = resume(reader, cursor, scope)
    vendor = vendor_for(connections[using])
    with vendor.snapshot():
        ledger = Ledger(using)
        scan = _scan(ledger, after, known, scope, settings.page_rows)
        changes, whole, vanished = _changes(ledger, scan)
        changes = [change for change in changes if _in_scope(change, scope)]
        vector = ledger.vector()
        behind = 0 if scan.head else ledger.local.sequence - scan.position
    if vanished:
        _note_deletions(using, vanished)
    given: Cursor = cursor
    if (scan.position, scope.name()) != (after, reader.given_scope) or not reader.given_token:
        given = (scan.position, secrets.token_urlsafe(9))
        give(using, reader, given, scope)
    return Page(changes, given, scan.head, whole, vector, behind)


def resume(reader: Peer, cursor: Cursor, scope: Scope) -> int:
    """The sequence to go on from. A cursor that isn't the last one given counts as 0: one side was restored."""
    sequence, token = cursor
    given = (reader.given_sequence, reader.given_token, reader.given_scope)
    return sequence if token and given == (sequence, token, scope.name()) else 0


def give(using: str, reader: Peer, cursor: Cursor, scope: Scope) -> None:
    """Remember `cursor` as the last one given to `reader`."""
    reader.given_sequence, reader.given_token = cursor
    reader.given_scope = scope.name()
    with transaction.atomic(using=using):
        reader.save(using=using, update_fields=["given_sequence", "given_token", "given_scope"])


def lag(using: str, after: int, known: VersionVector, scope: Scope, limit: int = 100_000) -> int:
    """How many changes after `after` a reader with `known` lacks, unstamped ones too. Stops at `limit`."""
    ledger = Ledger(using)
    dirty = Capture.objects.using(using).values("model", "pk_text").distinct().count()
    return len(_scan(ledger, after, known, scope, limit, scan_pages=1)) + dirty


def _scan(
    ledger: Ledger, after: int, known: VersionVector, scope: Scope, limit: int, scan_pages: int = SCAN_PAGES
) -> _Scan:
    scan = _Scan(position=after)
    numbers = {model.id for model in ledger.models.values() if model.label in scope.models}
    for _ in range(scan_pages):
        stamps = ledger.stamps(limit, sequence__gt=scan.position)
        parked = list(
            Parked.objects.using(ledger.using).filter(sequence__gt=scan.position).order_by("sequence")[:limit]
        )
        rows: list[StampRow | Parked] = [*stamps, *parked]
        rows.sort(key=lambda row: row.sequence)
        del rows[limit:]
        for row in rows:
            if len(scan) == limit:
                scan.head = False
                return scan
            scan.position = row.sequence
            if scope.own_only and ledger.node_name(row.node_id).partition("~")[0] != ledger.local.name:
                continue
            if row.clock is None:
                if known.get(ledger.node_name(row.node_id), 0) >= row.counter:
                    continue
            elif known.covers(VersionVector.parse(row.clock)):
                continue
            if isinstance(row, Parked):
                if row.model in scope.models:
                    scan.parked.append(row)
            elif row.model_id in numbers:
                scan.stamps.append(row)
        if len(rows) < limit:
            # Up to the last number taken, so that a reader at the head is known to be there without a look.
            scan.position = max(scan.position, ledger.local.sequence)
            return scan
    scan.head = False
    return scan


def _changes(ledger: Ledger, scan: _Scan) -> tuple[list[Change], bool, list[StampRow]]:
    """The page's changes; whether it is whole; and live stamps whose row is gone without a trace."""
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for record in scan.stamps:
        by_model[record.model_id].append(record)
    made: list[tuple[int, Change]] = []
    vanished: list[StampRow] = []
    left_out = 0
    anything_pending = Capture.objects.using(ledger.using).exists()
    for number, records in by_model.items():
        model = ledger.by_number[number]
        content = Content(ledger, model)
        # A row that was written again has content that its stamp doesn't know. It comes with its next stamp.
        pending = _pending(ledger, number, records) if anything_pending else set()
        rows = content.read([str(r.pk_text) for r in records if not r.deleted], under_lock=False)
        for record in records:
            values = None if record.deleted else rows.get(str(record.pk_text))
            if record.pk_text in pending and not record.deleted:
                left_out += 1
            elif values is None and not record.deleted:
                left_out += 1
                vanished.append(record)
            else:
                made.append((record.sequence, _change(ledger, model.label, record, content.fields, values)))
    for parked in scan.parked:
        made.append((parked.sequence, change_of(ledger, parked)))
    made.sort(key=lambda item: item[0])
    return [change for _, change in made], not left_out, vanished


def _in_scope(change: Change, scope: Scope) -> bool:
    """An entry of the conflict log goes where the record may go that it speaks of."""
    if change.record.model != Conflict._meta.label_lower or change.values is None:
        return True
    return change.values[change.fields.index("model")] in scope.models


def _pending(ledger: Ledger, number: int, records: list[StampRow]) -> Collection[str]:
    pks = [r.pk_text for r in records if r.pk_text is not None]
    found: set[str] = set()
    for start in range(0, len(pks), PARAMETERS):
        notes = Capture.objects.using(ledger.using).filter(model=number, pk_text__in=pks[start : start + PARAMETERS])
        found.update(notes.values_list("pk_text", flat=True))
    return found


def _change(ledger: Ledger, label: str, record: StampRow, fields: tuple[str, ...], values: Any) -> Change:
    return Change(Record(label, key_of(ledger, record)), version_of(ledger, record), fields, values)


def key_of(ledger: Ledger, record: Stamp | StampRow) -> str:
    """The key of a stamp's record; where none is kept, it is the primary key."""
    return canonical(ledger.by_number[record.model_id], record.pk_text) if record.key is None else record.key


def version_of(ledger: Ledger, record: Stamp | StampRow | Parked) -> Version:
    """Dot, clock and timestamp of a stamp or a parked change."""
    dot = Dot(ledger.node_name(record.node_id), record.counter)
    return Version(dot, ledger.clock_of(record.node_id, record.counter, record.clock), record.timestamp)


def change_of(ledger: Ledger, parked: Parked) -> Change:
    """A parked change, exactly as its author made it."""
    version = version_of(ledger, parked)
    if parked.data is None:
        return Change(Record(parked.model, parked.key), version, (), None)
    data = wire.unpack_message(bytes(parked.data))
    return Change(Record(parked.model, parked.key), version, tuple(data["fields"]), tuple(data["values"]))


def _note_deletions(using: str, vanished: Iterable[StampRow]) -> None:
    """Capture the deletion of rows that went without a trigger seeing it, such as by REPLACE on SQLite."""
    Capture.objects.using(using).bulk_create(
        Capture(model=s.model_id, pk_text=str(s.pk_text), op="D", timestamp=max(s.timestamp + 1, now_ms() << 16))
        for s in vanished
    )
