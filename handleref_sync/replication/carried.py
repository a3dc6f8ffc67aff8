"""What a stamp keeps of the fields that its version did not write itself.

The invariant: a stamp and its row together say exactly what the version says, field by field with its mark, whichever
columns the table here has. A column that the version says nothing of is kept apart from one that it says null of: it
has whatever stood there before, and travels nowhere under this version's name.

Most versions are of whole rows whose columns all sides have; their stamps keep nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from handleref_sync import wire
from handleref_sync.core.change import Change, Mark, Marked, Record, Version
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Stamp
from handleref_sync.replication.ledger import Ledger, StampRow


class Kept(NamedTuple):
    """Of one field: its mark; None where the version says nothing of it."""

    mark: Mark | None
    values: tuple[Any, ...] = ()
    """The value alone, where there is no column for it here; or nothing: it stands in the row."""


def load(ledger: Ledger, data: bytes | memoryview | None) -> dict[str, Kept]:
    """What a stamp's column holds."""
    if data is None:
        return {}
    found = {}
    for name, entry in wire.unpack_message(bytes(data)).items():
        if entry is None:
            found[name] = Kept(None)
        else:
            timestamp, node, counter, *values = entry
            found[name] = Kept(Mark(timestamp, Dot(ledger.node_name(node), counter)), tuple(values))
    return found


def dump(ledger: Ledger, kept: Mapping[str, Kept]) -> bytes | None:
    """The inverse of `load`. Nodes stand there as the short numbers of this database."""
    if not kept:
        return None
    return wire.pack(
        {
            name: None
            if entry.mark is None
            else [
                entry.mark.timestamp,
                ledger.node_number(entry.mark.dot.node),
                entry.mark.dot.counter,
                *entry.values,
            ]
            for name, entry in kept.items()
        }
    )


def plain(ledger: Ledger, record: StampRow) -> bool:
    """Whether the version wrote every column that the table has."""
    later = ledger.added.get(record.model_id)
    return record.carried is None and (later is None or record.deleted or max(later.values()) < record.sequence)


def kept_of(ledger: Ledger, record: StampRow | Stamp) -> dict[str, Kept]:
    """What the stamp keeps, under the names that the fields have now, columns that came after it among them."""
    model, later = ledger.by_number[record.model_id], ledger.added.get(record.model_id, {})
    kept = load(ledger, record.carried)
    for name, sequence in later.items():
        if record.sequence <= sequence and name not in kept:
            kept[name] = Kept(None)
    for alias, name in model.aliases.items():
        here, there = kept.pop(alias, None), kept.get(name)
        # Where nothing is kept under the name itself, the version wrote it, and that is later than all it carries.
        if here is not None and there is not None and rank(here) > rank(there):
            kept[name] = here
    return kept


def rank(entry: Kept) -> tuple[int, str]:
    """What decides between two values of one field; the least of all where the version says nothing of it."""
    return entry.mark.rank if entry.mark is not None else (-1, "")


def by_first_names(change: Change, names: Mapping[str, str]) -> Change:
    """`change` with each field under the first name that it had; of two that mean one, the later."""
    if change.deleted or not (names.keys() & {*change.fields, *change.carried}):
        return change
    content: dict[str, Marked] = {}
    for name, marked in change.content.items():
        target = names.get(name, name)
        if target not in content or content[target][0].rank < marked[0].rank:
            content[target] = marked
    return Change.of(change.record, change.version, content)


def change_of_row(
    ledger: Ledger,
    record: StampRow,
    identity: Record,
    version: Version,
    columns: Sequence[str],
    row: Sequence[Any] | None,
) -> Change:
    """The version as it travels: what its write said, and what it carries. `row`: the columns' wire values."""
    if row is None:
        return Change(identity, version, (), None)
    if plain(ledger, record):
        return Change(identity, version, tuple(columns), tuple(row))
    kept, mark = kept_of(ledger, record), Mark(version.timestamp, version.dot)
    content: dict[str, Marked] = {}
    for name, value in zip(columns, row, strict=True):
        entry = kept.pop(name, None)
        if entry is None:
            content[name] = (mark, value)
        elif entry.mark is not None:
            content[name] = (entry.mark, entry.values[0] if entry.values else value)
    content.update(
        (name, (entry.mark, entry.values[0])) for name, entry in kept.items() if entry.mark and entry.values
    )
    return Change.of(identity, version, content)


def of_change(ledger: Ledger, columns: Collection[str], change: Change) -> bytes | None:
    """What the stamp has to keep once `change` is written to a table with these `columns`."""
    if change.deleted:
        return None
    content = change.content
    kept = {}
    for name, (mark, value) in content.items():
        if name not in columns:
            kept[name] = Kept(mark, (value,))
        elif name in change.carried:
            kept[name] = Kept(mark)
    kept.update((name, Kept(None)) for name in columns if name not in content)
    return dump(ledger, kept)


def of_write(
    ledger: Ledger, old: StampRow, columns: Collection[str], changed: Collection[str] | None
) -> bytes | None:
    """What the stamp has to keep after a write here, over what it says so far.

    `changed`: the fields that the write changed, where each field is a version of its own; None: all that there are.
    A value for which there is no column here outlives every write: nobody here could have changed it.
    """
    if changed is None and old.carried is None:
        return None
    kept = {} if old.deleted else kept_of(ledger, old)
    unknown = {name: entry for name, entry in kept.items() if name not in columns}
    if changed is None or old.deleted:
        return dump(ledger, unknown)
    mark = Mark(old.timestamp, Dot(ledger.node_name(old.node_id), old.counter))
    rest = {name: kept.get(name, Kept(mark)) for name in columns if name not in changed}
    return dump(ledger, {**unknown, **rest})
