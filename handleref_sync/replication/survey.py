"""What this node has of each record, as digests, so that two nodes can compare without sending what they have.

The invariant: the digest of a record depends on its version and on what that says, never on the database that it is
in. And a record of which that can't be told just now (it is being written, or it can't be read, or it waits) is told
apart from one that is otherwise: it is not compared.

Only live records are summed up. What became of a deleted one shows on the side where it still has a row, and
tombstones may go at other times on other nodes.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import Count

from handleref_sync import wire
from handleref_sync.capture.base import CAPTURE, STAMP, vendor_for
from handleref_sync.core import ranges
from handleref_sync.core.change import Change, Record
from handleref_sync.core.ranges import Summaries
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Capture, Parked, Stamp
from handleref_sync.registry import Replicated
from handleref_sync.replication.carried import change_of_row, plain
from handleref_sync.replication.conflicts import LABEL
from handleref_sync.replication.hello import Hello
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.reading import Reader
from handleref_sync.replication.versions import key_of, version_of

BATCH = 5000
"""Stamps that are looked at in one snapshot."""


NEW = (
    f"SELECT model, count(*) FROM (SELECT DISTINCT c.model, c.pk FROM {CAPTURE} c WHERE NOT EXISTS (SELECT 1 FROM "
    f"{STAMP} s WHERE s.model_id = c.model AND s.pk = c.pk AND NOT s.deleted)) notes GROUP BY model"
)
"""How many rows of each model wait for their first stamp."""


class State(StrEnum):
    """Whether a record can be compared, or why not."""

    COMPARED = "compared"
    DELETED = "deleted"
    PENDING = "pending"
    """It was written again and not stamped yet."""
    VANISHED = "vanished"
    """Its row is gone and nothing says so: no trigger saw it."""
    UNREADABLE = "unreadable"
    PARKED = "parked"
    """A version of it has arrived and waits."""
    OUTSIDE = "outside"
    """A third node wrote it, and the two do not pass that on to each other."""


class Subject(NamedTuple):
    """What two nodes compare: the models that both have, and whose writes; None: everybody's."""

    models: frozenset[str]
    authors: frozenset[str] | None

    @classmethod
    def of(cls, mine: Hello, theirs: Hello) -> Subject:
        """What their exchange is about."""
        authors = None if mine.relay and theirs.relay else frozenset({mine.node, theirs.node})
        return cls(mine.models & theirs.models, authors)


class Seen(NamedTuple):
    """What one side has of one record."""

    state: State
    dot: Dot
    content: bytes
    """Digest of what the version says."""
    item: bytes
    """Digest of the version and of what it says."""
    due: bool
    """Whether the other side gets it by the next sync anyway."""


class Examiner:
    """Makes the digests of live records, in one snapshot."""

    def __init__(self, ledger: Ledger, subject: Subject) -> None:
        self.ledger = ledger
        self.subject = subject
        self._pending = Capture.objects.using(ledger.using).exists()
        self._readers: dict[int, tuple[Reader, list[int], bytes]] = {}
        self._nothing = wire.pack([])

    def examine(self, model: Replicated, records: Sequence[StampRow]) -> Iterator[tuple[StampRow, State, bytes]]:
        """Each of these live stamps of `model` with its state, and the digest of its content if it is COMPARED."""
        reader, order, names = self._reader(model)
        pks = [str(record.pk_text) for record in records]
        pending = self._noted(model, pks) if self._pending else set()
        rows = reader.read(pks, under_lock=False)
        by_name = reader.fields.index("model") if model.label == LABEL else None
        for record, pk in zip(records, pks, strict=True):
            row = rows.get(pk)
            if not self._admits(record):
                yield record, State.OUTSIDE, b""
            elif pk in pending:
                yield record, State.PENDING, b""
            elif row is None:
                yield record, State.UNREADABLE if pk in reader.unreadable else State.VANISHED, b""
            elif by_name is not None and row[by_name] not in self.subject.models:
                yield record, State.OUTSIDE, b""  # an entry of the conflict log goes where its record may go
            elif plain(self.ledger, record):
                own = wire.pack([row[position] for position in order])
                yield record, State.COMPARED, hashlib.sha256(names + own + self._nothing).digest()[: ranges.DIGEST]
            else:
                identity, version = Record(model.label, ""), version_of(self.ledger, record)
                change = change_of_row(self.ledger, record, identity, version, reader.fields, row)
                yield record, State.COMPARED, content_digest(change)

    def item(self, key: str, record: StampRow, content: bytes) -> bytes:
        """The digest of a version and of what it says."""
        author = self.ledger.node_name(record.node_id)
        stamp = [key, author, record.counter, record.clock, record.timestamp, content]
        return hashlib.sha256(wire.pack(stamp)).digest()[: ranges.DIGEST]

    def _reader(self, model: Replicated) -> tuple[Reader, list[int], bytes]:
        if model.id not in self._readers:
            reader = Reader(self.ledger, model)
            order = sorted(range(len(reader.fields)), key=lambda position: reader.fields[position])
            names = wire.pack([reader.fields[position] for position in order])
            self._readers[model.id] = (reader, order, names)
        return self._readers[model.id]

    def _admits(self, record: StampRow) -> bool:
        authors = self.subject.authors
        return authors is None or self.ledger.node_name(record.node_id).partition("~")[0] in authors

    def _noted(self, model: Replicated, pks: Sequence[str]) -> set[str]:
        vendor = self.ledger.vendor
        where, params = vendor.among(vendor.quote("pk"), pks)
        found = vendor.rows(f"SELECT pk FROM {CAPTURE} WHERE model = {model.id} AND {where}", params)
        return {str(pk) for (pk,) in found}


def content_digest(change: Change) -> bytes:
    """16 bytes that are the same for the same fields with the same values, those that are only carried apart."""
    own = sorted(zip(change.fields, change.values or (), strict=True), key=lambda item: item[0])
    carried = [
        [name, mark.timestamp, mark.dot.node, mark.dot.counter, value]
        for name, (mark, value) in sorted(change.carried.items(), key=lambda item: item[0])
    ]
    parts = ([name for name, _ in own], [value for _, value in own], carried)
    return hashlib.sha256(b"".join(map(wire.pack, parts))).digest()[: ranges.DIGEST]


@dataclass
class Survey:
    """All live records of the models that are compared, summed up. Made in steps, for it reads every row once."""

    head: int
    """The sequence up to which it goes: what is stamped later is not in it."""
    after: int
    sums: dict[str, Summaries]
    skipped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By model: records that are not in the sums, by why."""

    @classmethod
    def begin(cls, using: str, subject: Subject) -> Survey:
        """One that has seen nothing yet."""
        with vendor_for(connections[using]).snapshot():
            ledger = Ledger(using)
            live = Stamp.objects.using(using).filter(deleted=False).values_list("model").annotate(Count("pk"))
            counts = dict(live.order_by())
            models = [model for label, model in ledger.models.items() if label in subject.models]
            sums = {model.label: Summaries(ranges.depth_for(counts.get(model.id, 0))) for model in models}
            survey = cls(ledger.local.sequence, 0, sums)
            for number, count in ledger.vendor.rows(NEW):
                if number in ledger.by_number:
                    survey.skipped[ledger.by_number[number].label][State.PENDING] += count
            return survey

    @property
    def ready(self) -> bool:
        """Whether it is whole."""
        return self.after >= self.head

    def advance(self, using: str, subject: Subject, seconds: float) -> None:
        """Go on for about so many seconds, or to the end. Each batch is read in a snapshot of its own."""
        end = time.monotonic() + seconds
        while not self.ready:
            with vendor_for(connections[using]).snapshot():
                examiner = Examiner(Ledger(using), subject)
                stamps = examiner.ledger.stamps_after(self.after, BATCH)
                self._add(examiner, [stamp for stamp in stamps if stamp.sequence <= self.head])
            self.after = stamps[-1].sequence if len(stamps) == BATCH else self.head
            if time.monotonic() > end:
                return

    def _add(self, examiner: Examiner, stamps: Sequence[StampRow]) -> None:
        for model, records in _live(examiner.ledger, stamps, self.sums):
            sums, skipped = self.sums[model.label], self.skipped[model.label]
            for record, state, content in examiner.examine(model, records):
                if state is State.COMPARED:
                    key = key_of(examiner.ledger, record)
                    sums.add(ranges.position(key), examiner.item(key, record, content))
                else:
                    skipped[state] += 1

    def dump(self) -> dict[str, Any]:
        """To be kept on this machine."""
        sums = {label: [found.depth, found.columns()] for label, found in self.sums.items()}
        skipped = {label: dict(states) for label, states in self.skipped.items()}
        return {"head": self.head, "after": self.after, "sums": sums, "skipped": skipped}

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> Survey:
        """The inverse of `dump`."""
        survey = cls(kept["head"], kept["after"], {})
        survey.sums = {label: Summaries(depth, columns) for label, (depth, columns) in kept["sums"].items()}
        survey.skipped.update({label: Counter(states) for label, states in kept["skipped"].items()})
        return survey


def items(
    using: str, subject: Subject, wanted: Mapping[str, Sequence[str]], after: int, most: int, seconds: float
) -> tuple[dict[str, list[tuple[str, bytes]]], int | None]:
    """The live records in some ranges of each model, and the sequence to go on after; None: that was all.

    One pass over the stamps, whatever the number of ranges; rows are read only of records that are in one.
    """
    end = time.monotonic() + seconds
    asked = {label: ranges.numbered(prefixes) for label, prefixes in wanted.items() if label in subject.models}
    found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    count = 0
    while True:
        with vendor_for(connections[using]).snapshot():
            examiner = Examiner(Ledger(using), subject)
            ledger, stamps = examiner.ledger, examiner.ledger.stamps_after(after, BATCH)
            keys = {
                record.sequence: key
                for model, records in _live(ledger, stamps, asked)
                for record in records
                for key in [key_of(ledger, record)]
                if ranges.within(ranges.position(key), asked[model.label])
            }
            chosen = sorted(keys)[: most - count]
            cut = len(chosen) < len(keys)
            inside = set(chosen)
            for model, records in _live(ledger, [stamp for stamp in stamps if stamp.sequence in inside], asked):
                for record, state, content in examiner.examine(model, records):
                    if state is State.COMPARED:
                        key = keys[record.sequence]
                        found[model.label].append((key, examiner.item(key, record, content)))
        count += len(chosen)
        if len(stamps) < BATCH and not cut:
            return found, None
        after = chosen[-1] if cut else stamps[-1].sequence
        if count >= most or time.monotonic() > end:
            return found, after


def _live(
    ledger: Ledger, stamps: Sequence[StampRow], labels: Mapping[str, Any]
) -> Iterator[tuple[Replicated, list[StampRow]]]:
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for stamp in stamps:
        if not stamp.deleted:
            by_model[stamp.model_id].append(stamp)
    for number, records in by_model.items():
        model = ledger.by_number.get(number)
        if model is not None and model.label in labels:
            yield model, records


def look(
    using: str, subject: Subject, records: Sequence[Record], after: int, known: VersionVector
) -> list[Seen | None]:
    """What is here of these records, in their order, for a reader who stands at `after` and has `known`."""
    by_model: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record.model in subject.models:
            by_model[record.model].append(record.key)
    seen: dict[Record, Seen] = {}
    with vendor_for(connections[using]).snapshot():
        ledger = Ledger(using)
        examiner = Examiner(ledger, subject)
        for label in by_model.keys() & ledger.models.keys():
            model, keys = ledger.models[label], by_model[label]
            found = Reader(ledger, model).stamps(keys)
            stamps = {id(row): key for key, row in found.items()}
            live = [row for row in found.values() if not row.deleted]
            states = [(row, State.DELETED, b"") for row in found.values() if row.deleted]
            for row, state, content in [*states, *examiner.examine(model, live)]:
                key, version = stamps[id(row)], version_of(ledger, row)
                due = row.sequence > after and not known.covers(version.clock)
                seen[Record(label, key)] = Seen(state, version.dot, content, examiner.item(key, row, content), due)
            for parked in Parked.objects.using(using).filter(model=label, key__in=keys):
                record = Record(label, parked.key)
                waits = Seen(State.PARKED, version_of(ledger, parked).dot, b"", b"", False)
                seen[record] = seen.get(record, waits)._replace(state=State.PARKED)
    return [seen.get(record) for record in records]
