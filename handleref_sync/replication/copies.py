"""Rows that two databases have because one began as a copy of the other: they become the same records.

The invariant: a row that is the same on both sides ends up under the key, dot, clock and timestamp that the side that
was asked has for it, and one that is not keeps a dot of its own. So nothing that is equal crosses, and what differs
meets as a conflict, or as two records, but never as one version with two contents.

Where a record's key is its own first dot, only the primary key can tell that two rows are one record, and only while
the rows were made before the copy. Numbers go up: if two rows with the number 900 are equal, that number was given
before the copy, and so was every lower one. Rows with a higher number were made apart, and may have the same number
by accident.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db import connections, transaction

from handleref_sync import wire
from handleref_sync.capture.base import vendor_for
from handleref_sync.core.change import Change, Record
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import ConfigurationError, MalformedBody
from handleref_sync.models import LocalNode, Stamp
from handleref_sync.replication.ledger import Ledger, StampRow, locked
from handleref_sync.replication.page import Page
from handleref_sync.replication.plan import Planner
from handleref_sync.replication.reading import Reader
from handleref_sync.replication.stamping import fold

DIGEST = ""
"""Stands for the names of the fields where a page has a digest in place of their values. No field is called so."""


class Fingerprint(NamedTuple):
    """One row of a model whose records are known by their first dot: primary key, key, and digest of its content."""

    pk: int
    key: str
    digest: bytes


@dataclass
class Twins:
    """What a comparison of one model's rows came to, from the highest primary key down."""

    met: bool = False
    """Whether an equal pair was met: from there on, rows with one primary key are one record."""
    same: int = 0
    differ: int = 0


def begin(using: str, peer: str) -> None:
    """Keep this database from talking to anybody until it has its baseline from `peer`. Idempotent.

    Raises ConfigurationError where it is too late: a record that others may have seen can't become another one.
    """
    with locked(using) as ledger:
        local, why = ledger.local, ""
        if local.baseline == peer:
            return
        if local.baseline:
            why = f"it is taking its baseline from {local.baseline}"
        elif stamped := Stamp.objects.using(using).count():
            why = f"{stamped} of its records are stamped, and others may know them"
        if why:
            raise ConfigurationError(
                f"{local.name} can't take a baseline from {peer}: {why}.",
                hint="A baseline comes before the first sync_peer, and from one node.",
            )
        LocalNode.objects.using(using).update(baseline=peer)


def finish(using: str) -> None:
    """The baseline is taken: this database may talk to others."""
    with transaction.atomic(using=using):
        LocalNode.objects.using(using).update(baseline="")


def digest(fields: Iterable[str], values: Iterable[Any]) -> bytes:
    """16 bytes that are the same for the same content, whatever the order of the fields."""
    ordered = sorted(zip(fields, values, strict=True), key=lambda item: item[0])
    return hashlib.sha256(wire.pack([list(item) for item in ordered])).digest()[:16]


def fingerprints(using: str, label: str, below: int | None, limit: int) -> tuple[list[Fingerprint], int | None]:
    """The rows of `label` with the highest primary keys below `below`, and what to ask for next; None: no more."""
    with vendor_for(connections[using]).snapshot():
        ledger = Ledger(using)
        model = ledger.models.get(label)
        if model is None or model.identity != "origin":
            raise MalformedBody(f"{label} has no keys of its own here.", hint="Give both nodes the same settings.")
        rows = model.model._base_manager.using(using).order_by("-pk")
        rows = rows if below is None else rows.filter(pk__lt=below)
        pks = [str(pk) for pk in rows.values_list("pk", flat=True)[:limit]]
        stamps = ledger.stamps_of(model, pks)
        content = Reader(ledger, model)
        values = content.raw(pks)
        found = [
            Fingerprint(int(pk), str(stamps[pk].key), digest(content.fields, values[pk]))
            for pk in pks
            if pk in stamps and pk in values
        ]
    return found, int(pks[-1]) if len(pks) == limit else None


def take_keys(using: str, label: str, theirs: Sequence[Fingerprint], twins: Twins) -> None:
    """Stamp the rows here that are the other side's records, under the other side's keys. Goes on with `twins`."""
    with locked(using) as ledger:
        model = ledger.models[label]
        content = Reader(ledger, model)
        pks = [str(row.pk) for row in theirs]
        mine = content.raw(pks)
        stamped = ledger.stamps_of(model, pks)
        keys = {}
        for row in theirs:
            pk = str(row.pk)
            same = pk in mine and digest(content.fields, mine[pk]) == row.digest
            twins.met = twins.met or same
            if twins.met and pk not in stamped:  # a baseline that was broken off has done those
                keys[model.id, pk] = row.key
            twins.same += same
            twins.differ += pk in mine and not same
        # Rows that are gone here have notes as well, of their deletion.
        notes = ledger.vendor.take_captures(0, [model.id], [pk for _, pk in keys])
        fold(ledger, notes, keys)


def digested(page: Page) -> Page:
    """The page with a digest in the place of each row's values."""
    return replace(page, changes=[_digested(change) for change in page.changes])


def _digested(change: Change) -> Change:
    if change.values is None or change.carried:
        return change  # what has values of several writes is more than its stamp and a digest can say
    return change._replace(fields=(DIGEST,), values=(digest(change.fields, change.values),))


def adopt(using: str, changes: Iterable[Change]) -> tuple[dict[str, int], list[Record]]:
    """Give rows that are equal the other side's stamps; how many there were by model, and which changes are left."""
    by_model: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_model[change.record.model].append(change)
    counts: dict[str, int] = {}
    with locked(using) as ledger:
        planner = Planner(ledger)
        adopted: list[StampRow] = []
        clocks, kept = [], set()
        for label, group in by_model.items():
            for change, stamp in _equal(planner, label, group):
                ledger.put(stamp, change.version)
                stamp.carried = None
                adopted.append(stamp)
                clocks.append(change.version.clock)
                kept.add(change.record)
                counts[label] = counts.get(label, 0) + 1
        for sequence, stamp in enumerate(adopted, ledger.take(len(adopted))):
            stamp.sequence = sequence
        ledger.save_stamps(adopted, [])
        ledger.saw(VersionVector.union(clocks))
        left = [change.record for group in by_model.values() for change in group if change.record not in kept]
    return counts, left


def _equal(planner: Planner, label: str, changes: Sequence[Change]) -> list[tuple[Change, StampRow]]:
    """Those of `changes` that have the content of the rows here, which nobody has seen under their own stamps."""
    ledger, content = planner.ledger, planner.content(label)
    digests = {c.record.key: c for c in changes if c.fields == (DIGEST,) and c.values is not None}
    stamps: Mapping[str, StampRow] = content.stamps(digests)
    own = {key: s for key, s in stamps.items() if s.node_id == ledger.local.incarnation_id and not s.deleted}
    rows = content.read([str(stamp.pk_text) for stamp in own.values()], under_lock=True)
    return [
        (digests[key], stamp)
        for key, stamp in own.items()
        if stamp.pk_text in rows and (digest(content.fields, rows[stamp.pk_text]),) == digests[key].values
    ]
