"""Stamping: numbers are given when a change is read, not when it is written.

The invariant: whoever has read the feed up to a sequence misses nothing at or below it, ever. A number given at
write time breaks it, because a transaction may commit after a higher number was read. So writers only note what
they wrote; a short transaction under the sequence lock folds the notes that are committed into the ledger.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from handleref_sync.capture.base import Captured
from handleref_sync.conf import settings
from handleref_sync.core import hlc
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Capture
from handleref_sync.registry import Replicated
from handleref_sync.replication.ledger import Ledger, StampRow, locked, now_ms

CHUNK = 5000
PARAMETERS = 500


@dataclass
class _Write:
    """What the notes about one row come to."""

    timestamp: int
    deleted: bool
    was_deleted: bool


def stamp(using: str) -> int:
    """Stamp every committed write, in bounded transactions. Returns how many stamps changed."""
    total = 0
    while Capture.objects.using(using).exists():
        with locked(using) as ledger:
            captures = ledger.vendor.take_captures(CHUNK)
            total += fold(ledger, captures)
        if len(captures) < CHUNK:
            break
    return total


def stamp_rows(ledger: Ledger, model: Replicated, pks: list[str]) -> int:
    """Stamp just these rows, within the caller's locked transaction."""
    done = 0
    for start in range(0, len(pks), PARAMETERS):
        captures = ledger.vendor.take_captures(0, model.id, pks[start : start + PARAMETERS])
        done += fold(ledger, captures)
    return done


def fold(ledger: Ledger, captures: list[Captured]) -> int:
    """Turn notes into stamps: one per record, in the order of their timestamps."""
    writes: dict[tuple[int, str], _Write] = {}
    for note in captures:  # in the order of writing: the notes of one row were made under its row lock
        entry = writes.get((note.model, note.pk))
        deleted = note.op == "D"
        if entry is None:
            writes[note.model, note.pk] = _Write(note.timestamp, deleted, deleted)
        else:
            entry.timestamp = max(entry.timestamp, note.timestamp)
            entry.deleted, entry.was_deleted = deleted, entry.was_deleted or deleted
            writes[note.model, note.pk] = writes.pop((note.model, note.pk))  # in the order of the last write
    found = _stamps_of(ledger, writes)
    clamp = (now_ms() + int(settings.max_clock_skew * 1000)) << hlc.LOGICAL_BITS
    touched: list[StampRow] = []
    for (number, pk), write in writes.items():
        model = ledger.by_number.get(number)
        if model is None:
            continue  # the model is no longer replicated
        if write.timestamp > clamp:
            # Never published, so it may be lowered: a station whose clock said 2099 and was mended is not stuck.
            write.timestamp = now_ms() << hlc.LOGICAL_BITS
        old = found.get((number, pk))
        recycled = model.local_pk and write.was_deleted
        # A deletion of what is deleted already is no write; nor is one of a tombstone that gave up its pk.
        if old is not None and not (old.deleted and (recycled or write.deleted)):
            old.timestamp = max(old.timestamp + 1, write.timestamp)
            old.deleted = write.deleted or recycled
            old.pk_text = None if old.deleted and model.local_pk else old.pk_text
            touched.append(old)
        if not write.deleted and (old is None or recycled):
            touched.append(StampRow(model_id=number, pk_text=pk, timestamp=write.timestamp))
    # Memberships last: they are known by the keys of their ends, which may be given only now.
    ends = [s for s in touched if s.id is None and ledger.by_number[s.model_id].identity == "ends"]
    _number(ledger, [s for s in touched if s.id is not None or ledger.by_number[s.model_id].identity != "ends"])
    _number(ledger, _memberships(ledger, ends))
    return len(touched)


def _stamps_of(ledger: Ledger, writes: dict[tuple[int, str], _Write]) -> dict[tuple[int, str], StampRow]:
    by_model: dict[int, list[str]] = defaultdict(list)
    for number, pk in writes:
        by_model[number].append(pk)
    found = {}
    for number, pks in by_model.items():
        for start in range(0, len(pks), PARAMETERS):
            chunk = pks[start : start + PARAMETERS]
            for old in ledger.stamps(model=number, pk_text__in=chunk):
                found[number, str(old.pk_text)] = old
    return found


def _number(ledger: Ledger, touched: list[StampRow]) -> None:
    """Give sequences, and so dots, to stamps in the order of their timestamps; write them."""
    if not touched:
        return
    me = ledger.local.incarnation
    first = ledger.take(len(touched))
    # A stable sort: of writes in the same millisecond, children were deleted before their parents.
    for sequence, record in enumerate(sorted(touched, key=lambda s: s.timestamp), first):
        if record.id is not None:
            clock = ledger.clock_of(record.node_id, record.counter, record.clock)
            alone = set(clock) <= {me.name}
            record.clock = None if alone else str(clock.with_dot(Dot(me.name, sequence)))
        elif ledger.by_number[record.model_id].identity == "origin":
            record.key = str(Dot(me.name, sequence))  # the dot of the first stamp, for ever
        record.node_id, record.counter, record.sequence = me.pk, sequence, sequence
    ledger.save_stamps([s for s in touched if s.id is not None], [s for s in touched if s.id is None])
    ledger.wrote(ledger.local.sequence)


def _memberships(ledger: Ledger, new: list[StampRow]) -> list[StampRow]:
    """Name new m2m rows by their ends; where such a stamp is there already, take that one.

    A membership that is removed and added again gets another pk, but it is the same record.
    """
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for record in new:
        by_model[record.model_id].append(record)
    stamps = []
    for number, records in by_model.items():
        _give_end_keys(ledger, ledger.by_number[number], records)
        known: dict[str | None, StampRow] = {}
        for start in range(0, len(records), PARAMETERS):
            keys = [r.key for r in records[start : start + PARAMETERS]]
            known.update((old.key, old) for old in ledger.stamps(model=number, key__in=keys))
        for record in records:
            old = known.get(record.key)
            if old is None:
                stamps.append(record)
            else:
                old.timestamp = max(old.timestamp + 1, record.timestamp)
                old.deleted, old.pk_text = False, record.pk_text
                stamps.append(old)
    return stamps


def _give_end_keys(ledger: Ledger, model: Replicated, records: list[StampRow]) -> None:
    rows: dict[str, list[Any]] = {}
    names = [c.field.attname for c in model.columns]
    for start in range(0, len(records), PARAMETERS):
        pks = [r.pk_text for r in records[start : start + PARAMETERS]]
        for pk, *values in model.model._base_manager.using(ledger.using).filter(pk__in=pks).values_list("pk", *names):
            rows[str(pk)] = values
    parts: list[list[str]] = [[] for _ in records]
    for position, column in enumerate(model.columns):
        values = [rows[str(r.pk_text)][position] if str(r.pk_text) in rows else None for r in records]
        target = ledger.models.get(column.target or "")
        keys = keys_of(ledger, target, values) if target else _other_keys(column.field, values, ledger)
        for part, value in zip(parts, values, strict=True):
            part.append(keys.get(value, ""))
    for record, part in zip(records, parts, strict=True):
        # A row that was deleted since has no ends to be known by; it keeps a key of its own until its tombstone.
        record.key = end_key(part) if all(part) else f"?{record.pk_text}:{record.timestamp}"


def _other_keys(field: Any, values: Iterable[Any], ledger: Ledger) -> dict[Any, str]:
    """The end of a membership that isn't replicated: its natural key as text, else its id."""
    names = natural_keys(field, values, ledger.using)
    return {
        value: json.dumps(name, separators=(",", ":"), ensure_ascii=False) if isinstance(name, list) else str(name)
        for value, name in names.items()
    }


def end_key(parents: Sequence[str]) -> str:
    """The key of an m2m row: the keys of its two ends."""
    return json.dumps(list(parents), separators=(",", ":"), ensure_ascii=False)


def keys_of(ledger: Ledger, model: Replicated, pks: Iterable[Any], under_lock: bool = True) -> dict[Any, str]:
    """From primary keys of `model` to keys. A row that waits to be stamped is stamped now, if `under_lock`."""
    texts = {pk: pk_text(model, pk, ledger) for pk in pks if pk is not None}
    if model.identity == "pk":
        return {pk: canonical(model, pk) for pk in texts}
    found: dict[str | None, str | None] = {}
    for dirty_too in (False, True):
        lacking = sorted({text for text in texts.values() if text not in found})
        if dirty_too and not (under_lock and stamp_rows(ledger, model, lacking)):
            break
        for start in range(0, len(lacking), PARAMETERS):
            found.update(
                (row.pk_text, row.key)
                for row in ledger.stamps(
                    model=model.id, pk_text__in=lacking[start : start + PARAMETERS], deleted=False
                )
            )
    return {pk: str(found[text]) for pk, text in texts.items() if text in found}


def canonical(model: Replicated, pk: Any) -> str:
    """A primary key as other nodes know it, whatever the form in which this database holds it."""
    return str(model.pk.to_python(pk))


def pk_text(model: Replicated, value: Any, ledger: Ledger) -> str:
    """A primary key as the triggers of this database write it."""
    if type(value) is int:
        return str(value)
    return str(model.pk.get_db_prep_value(value, ledger.vendor.connection))


def natural_keys(field: Any, values: Iterable[Any], using: str) -> dict[Any, Any]:
    """Foreign keys to rows of a model that isn't replicated, as Django's natural keys where it has them."""
    wanted = {value for value in values if value is not None}
    related = field.related_model
    if not hasattr(related, "natural_key"):
        return {value: value for value in wanted}
    rows = related._base_manager.using(using).filter(**{f"{field.target_field.name}__in": wanted})
    return {getattr(row, field.target_field.attname): list(row.natural_key()) for row in rows}
