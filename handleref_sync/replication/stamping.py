"""Stamping: numbers are given when a change is read, not when it is written.

The invariant: whoever has read the feed up to a sequence misses nothing at or below it, ever. A number given at
write time breaks it, because a transaction may commit after a higher number was read. So writers only note what
they wrote; a short transaction under the sequence lock folds the notes that are committed into the ledger.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from handleref_sync import registry
from handleref_sync.capture.base import Captured
from handleref_sync.capture.first_stamps import FirstStamps
from handleref_sync.conf import settings
from handleref_sync.core import hlc
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Capture
from handleref_sync.registry import Column, Replicated
from handleref_sync.replication.again import again
from handleref_sync.replication.carried import of_write
from handleref_sync.replication.ledger import Ledger, StampRow, locked, now_ms
from handleref_sync.replication.passing import passed_on
from handleref_sync.replication.replaced import looked_up
from handleref_sync.replication.values import encoder, key_text, raise_unless_of_a_value

logger = logging.getLogger("handleref_sync.replication")

CHUNK = 5000
FIRST_CHUNK = 20_000
NO_KEYS: Mapping[tuple[int, str], str] = MappingProxyType({})
PARAMETERS = 500


@dataclass
class _Write:
    """What the notes about one row come to."""

    timestamp: int
    deleted: bool
    was_deleted: bool
    changed: set[str] | None
    """The fields that it changed; None: all of them."""

    def then(self, note: Captured) -> None:
        """Another write of the same row, after this one."""
        self.timestamp = max(self.timestamp, note.timestamp)
        self.deleted = note.op == "D"
        self.was_deleted = self.was_deleted or self.deleted
        changed = _changed(note)
        self.changed = None if changed is None or self.changed is None else self.changed | changed


def _changed(note: Captured) -> set[str] | None:
    return None if note.fields is None else set(note.fields.split(",")) - {""}


def stamp(using: str, told: Callable[[int], None] = lambda done: None) -> int:
    """Stamp every committed write, in bounded transactions. Returns how many stamps changed.

    `told`: called after each transaction with how many changed so far; a first stamping may be of millions.
    """
    total = 0
    # A model that is not named at present keeps its notes: it may be named again.
    numbers = [model.id for model in registry.replicated(using).values()]
    while Capture.objects.using(using).filter(model__in=numbers).exists():
        taken, changed = again(using, lambda: _stamp(using, numbers))
        total += changed
        told(total)
        if taken < CHUNK:
            break
    return total


def _stamp(using: str, numbers: list[int]) -> tuple[int, int]:
    with locked(using) as ledger:
        first = first_stamps(ledger, numbers)
        return (CHUNK, first) if first else stamp_some(ledger, numbers)


def first_stamps(ledger: Ledger, numbers: Sequence[int]) -> int:
    """What `fold` comes to for the oldest notes, as long as they are of rows that have no stamp; how many it made.

    Nothing where the database can't do that by itself.
    """
    me = ledger.local.incarnation
    wanted = FirstStamps(
        models=numbers,
        by_pk=[number for number in numbers if ledger.by_number[number].identity == "pk"],
        by_dot=[number for number in numbers if ledger.by_number[number].identity == "origin"],
        node=me.pk,
        name=me.name,
        after=ledger.local.sequence,
        latest=_latest(),
        limit=FIRST_CHUNK,
    )
    count = ledger.vendor.stamp_first(wanted)
    if count:
        ledger.take(count)
        ledger.wrote(ledger.local.sequence)
    return count


def _latest() -> int:
    """The latest timestamp that a clock may give."""
    return (now_ms() + int(settings.max_clock_skew * 1000)) << hlc.LOGICAL_BITS


def stamp_some(ledger: Ledger, numbers: Sequence[int]) -> tuple[int, int]:
    """Stamp the oldest writes of the models with these numbers; how many were taken, and how many stamps changed.

    Nothing was left if fewer than `CHUNK` were taken.
    """
    captures = ledger.vendor.take_captures(CHUNK, numbers)
    if len(captures) == CHUNK:
        # A row that is deleted and inserted again is the same record: it must not be cut in two where a chunk ends.
        gone: dict[int, dict[str, None]] = defaultdict(dict)
        for note in captures:
            if note.op == "D":
                gone[note.model][note.pk] = None
            else:
                gone[note.model].pop(note.pk, None)
        for number, pks in gone.items():
            captures += ledger.vendor.take_captures(0, [number], list(pks)) if pks else []
    return len(captures), fold(ledger, captures)


def stamp_rows(ledger: Ledger, model: Replicated, pks: list[str]) -> int:
    """Stamp just these rows, within the caller's locked transaction."""
    return fold(ledger, ledger.vendor.take_captures(0, [model.id], pks))


def fold(ledger: Ledger, captures: list[Captured], keys: Mapping[tuple[int, str], str] = NO_KEYS) -> int:
    """Turn notes into stamps: one per record, in the order of their timestamps.

    `keys`: by model and primary key, those of rows that are known elsewhere as records already.
    """
    writes: dict[tuple[int, str], _Write] = {}
    for note in looked_up(
        ledger, captures
    ):  # in the order of writing: the notes of one row were made under its row lock
        entry = writes.get((note.model, note.pk))
        deleted = note.op == "D"
        if entry is None:
            writes[note.model, note.pk] = _Write(note.timestamp, deleted, deleted, _changed(note))
        else:
            entry.then(note)
            writes[note.model, note.pk] = writes.pop((note.model, note.pk))  # in the order of the last write
    found = _stamps_of(ledger, writes)
    clamp = _latest()
    touched: list[StampRow] = []
    passing: dict[int, dict[str, tuple[str | None, int]]] = defaultdict(dict)
    for (number, pk), write in writes.items():
        model = ledger.by_number[number]
        if write.timestamp > clamp:
            # Never published, so it may be lowered: a station whose clock said 2099 and was mended is not stuck.
            write.timestamp = now_ms() << hlc.LOGICAL_BITS
        old = found.get((number, pk))
        key = keys.get((number, pk))
        # Deleted and inserted again before anybody heard of it, as by an import that reloads the table: for whoever
        # looks at the row it has changed, and what refers to it goes on referring to it. So the record goes on. Where
        # the content says which record it is, it does, below.
        again = model.identity == "origin" and old is not None and key in (None, old.key)
        recycled = model.local_pk and write.was_deleted and not again
        # A deletion of what is deleted already is no write. A tombstone with a local pk has that of the row that
        # was restored to it: what happens to that row is the record's, and it may have to give the pk up again.
        if old is not None and not (old.deleted and write.deleted and not model.local_pk):
            old.carried = None if write.deleted or recycled else of_write(ledger, old, model.names, write.changed)
            old.timestamp = max(old.timestamp + 1, write.timestamp)
            old.deleted = write.deleted or recycled
            old.pk_text = None if old.deleted and model.local_pk else old.pk_text
            touched.append(old)
            if recycled and not write.deleted:
                passing[number][pk] = old.key, write.timestamp
        if not write.deleted and (old is None or recycled):
            touched.append(StampRow(model_id=number, pk_text=pk, timestamp=write.timestamp, key=key))
        elif write.deleted and old is None and key is not None:
            touched.append(StampRow(model_id=number, timestamp=write.timestamp, key=key, deleted=True))
    new = [s for s in touched if s.id is None and ledger.by_number[s.model_id].named]
    _number(ledger, [s for s in touched if s.id is not None or not ledger.by_number[s.model_id].named])
    # Those that are known by the keys of others come after them, for those may be given only now.
    depths = {number: depth(ledger, ledger.by_number[number]) for number in {s.model_id for s in new}}
    for level in sorted(set(depths.values())):
        records, doubles = _named(ledger, [s for s in new if depths[s.model_id] == level])
        _number(ledger, records, doubles)
    # What refers to a row that is another record's now says something else. At once and not with the next notes: a
    # reader who heard of the old record's end first would take its children with it.
    notes = passed_on(ledger, passing)
    return len(touched) + (fold(ledger, notes) if notes else 0)


def _stamps_of(ledger: Ledger, writes: dict[tuple[int, str], _Write]) -> dict[tuple[int, str], StampRow]:
    by_model: dict[int, list[str]] = defaultdict(list)
    for number, pk in writes:
        by_model[number].append(pk)
    found = {}
    for number, pks in by_model.items():
        stamps = ledger.stamps_of(ledger.by_number[number], pks)
        found.update({(number, pk): old for pk, old in stamps.items()})
    return found


def depth(ledger: Ledger, model: Replicated, path: tuple[str, ...] = ()) -> int:
    """How many models have to be stamped one after the other before the key of a record of `model` is known."""
    if not model.named or model.label in path:
        return 0
    targets = [ledger.models[str(column.target)] for column in model.natural if column.target in ledger.models]
    return 1 + max((depth(ledger, target, (*path, model.label)) for target in targets), default=0)


def _number(ledger: Ledger, touched: list[StampRow], doubles: Collection[int] = ()) -> None:
    """Give sequences, and so dots, to stamps in the order of their timestamps; write them.

    `doubles`: the ``id()`` of those whose key another record has already. Their dot tells them apart, everywhere.
    """
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
            record.key = record.key or str(Dot(me.name, sequence))  # the dot of the first stamp, for ever
        elif id(record) in doubles:
            record.key = name_of([*json.loads(str(record.key)), str(Dot(me.name, sequence))])
        record.node_id, record.counter, record.sequence = me.pk, sequence, sequence
    ledger.save_stamps([s for s in touched if s.id is not None], [s for s in touched if s.id is None])
    ledger.wrote(ledger.local.sequence)


def _named(ledger: Ledger, new: list[StampRow]) -> tuple[list[StampRow], set[int]]:
    """Give keys to new rows of models whose keys come from the content; also which keys are another record's.

    Where the record is there already and has no row, it gets this one: a membership that is removed and added again,
    or a name that is used again after a deletion, has another primary key, but it is the same record.
    """
    by_model: dict[int, list[StampRow]] = defaultdict(list)
    for record in new:
        by_model[record.model_id].append(record)
    stamps, doubles = [], set[int]()
    for number, records in by_model.items():
        model = ledger.by_number[number]
        nameless = _give_keys(ledger, model, records)
        known = ledger.stamps_by_key(model, [str(record.key) for record in records])
        for record in records:
            old = known.get(str(record.key))
            if old is not None and (old.deleted or model.identity != "natural"):
                old.timestamp = max(old.timestamp + 1, record.timestamp)
                old.deleted, old.pk_text = False, record.pk_text
                stamps.append(old)
                continue
            if id(record) in nameless or old is not None:
                doubles.add(id(record))
            else:
                known[str(record.key)] = record
            stamps.append(record)
    return stamps, doubles


def _give_keys(ledger: Ledger, model: Replicated, records: list[StampRow]) -> set[int]:
    """Make keys from the rows; returns the ``id()`` of those for which a field of a natural identity is null."""
    nameless = set()
    for record, part in zip(records, _readable_parts(ledger, model, records), strict=True):
        if model.identity == "natural":
            record.key = name_of(part)
            if None in part:
                nameless.add(id(record))
        elif None in part:
            # A row that was deleted since has nothing to be known by; it has a key of its own until its tombstone.
            record.key = f"?{record.pk_text}:{record.timestamp}"
        else:
            record.key = part[0] if model.identity == "parent" else name_of(part)
    return nameless


def _readable_parts(ledger: Ledger, model: Replicated, records: list[StampRow]) -> list[list[str | None]]:
    """What the keys of these rows are made of; nothing for a row that can't be read, so that the rest goes on."""
    try:
        return _parts(ledger, model, records)
    except Exception as error:
        raise_unless_of_a_value(ledger.vendor, error)
        if len(records) == 1:
            logger.error("%s %s has no key of its content: %s", model.label, records[0].pk_text, error)
            return [[None] * len(model.natural)]
    middle = len(records) // 2
    halves = records[:middle], records[middle:]
    return [part for half in halves for part in _readable_parts(ledger, model, half)]


def _parts(ledger: Ledger, model: Replicated, records: list[StampRow]) -> list[list[str | None]]:
    rows: dict[str, list[Any]] = {}
    names = [c.field.attname for c in model.natural]
    for start in range(0, len(records), PARAMETERS):
        pks = [r.pk_text for r in records[start : start + PARAMETERS]]
        for pk, *values in model.model._base_manager.using(ledger.using).filter(pk__in=pks).values_list("pk", *names):
            rows[pk_text(model, pk, ledger)] = values
    parts: list[list[str | None]] = [[] for _ in records]
    for position, column in enumerate(model.natural):
        values = [rows[str(r.pk_text)][position] if str(r.pk_text) in rows else None for r in records]
        if column.target in ledger.models:
            keys = keys_of_column(ledger, column, values)
        elif column.field.is_relation:
            keys = _other_keys(column.field, values, ledger)
        else:
            encode = encoder(column.field) or (lambda value: value)
            keys = {value: key_text(encode(value)) for value in values if value is not None}
        for part, value in zip(parts, values, strict=True):
            part.append(keys.get(value))
    return parts


def _other_keys(field: Any, values: Iterable[Any], ledger: Ledger) -> dict[Any, str]:
    """A reference to what isn't replicated, as part of a key: its natural key as text, else its id."""
    names = natural_keys(field, values, ledger.using)
    return {value: name_of(name) if isinstance(name, list) else str(name) for value, name in names.items()}


def name_of(parts: Sequence[str | None]) -> str:
    """The key of a record that is known by its content: the keys of its ends, or the values of its natural fields."""
    return json.dumps(list(parts), separators=(",", ":"), ensure_ascii=False)


def keys_of_column(ledger: Ledger, column: Column, values: Iterable[Any], under_lock: bool = True) -> dict[Any, str]:
    """From the values of a foreign key to the keys of the records that it refers to."""
    target = ledger.models[str(column.target)]
    wanted = {value for value in values if value is not None}
    if column.to is None:
        return keys_of(ledger, target, wanted, under_lock)
    rows = target.model._base_manager.using(ledger.using).filter(**{f"{column.to}__in": wanted})
    pks = dict(rows.values_list(column.to, "pk"))
    keys = keys_of(ledger, target, pks.values(), under_lock)
    return {value: keys[pk] for value, pk in pks.items() if pk in keys}


def keys_of(ledger: Ledger, model: Replicated, pks: Iterable[Any], under_lock: bool = True) -> dict[Any, str]:
    """From primary keys of `model` to keys. A row that waits to be stamped is stamped now, if `under_lock`."""
    texts = {pk: pk_text(model, pk, ledger) for pk in pks if pk is not None}
    if model.identity == "pk":
        return {pk: canonical(model, pk) for pk in texts}
    found: dict[str, StampRow] = {}
    for dirty_too in (False, True):
        lacking = sorted({text for text in texts.values() if text not in found})
        if dirty_too and not (under_lock and stamp_rows(ledger, model, lacking)):
            break
        found.update({text: row for text, row in ledger.stamps_of(model, lacking).items() if not row.deleted})
    return {pk: str(found[text].key) for pk, text in texts.items() if text in found}


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
