"""A page: what one request or response of a feed carries, and its form on the wire."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from handleref_sync import wire
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Mark, Marked, Record, Version
from handleref_sync.core.uncollected import uncollected
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import MalformedBody, TooLarge
from handleref_sync.replication import shape

Cursor = tuple[int, str]
START: Cursor = (0, "")
NONE = VersionVector()
SAME_VERSION = "Bring both nodes to the same version of handleref_sync."


@dataclass(frozen=True)
class Page:
    """Changes in the feed's order, and where the reader stands after them.

    `head`: there was nothing behind it in the snapshot it was read in. `whole`: nothing that belongs to it was left
    out because it was being written. Only after a page that is both may the reader take over `vector`.
    """

    changes: list[Change]
    cursor: Cursor
    head: bool
    whole: bool
    vector: VersionVector
    behind: int = 0
    """About how many changes are still to come."""
    dropped: VersionVector = NONE
    """What the tombstones knew that the feed's node has dropped: who lacked one can't get it from there any more."""


@uncollected()
def to_message(page: Page) -> dict[str, Any]:
    """The wire form: names are listed once in a header, rows are arrays that point into it."""
    models: dict[tuple[str, tuple[str, ...]], int] = {}
    nodes: dict[str, int] = {}
    rows = []
    for change in page.changes:
        version = change.version
        model = models.setdefault((change.record.model, change.fields), len(models))
        node = nodes.setdefault(version.dot.node, len(nodes))
        clock = None
        if not version.clock.implied_by(version.dot):
            clock = [(nodes.setdefault(name, len(nodes)), counter) for name, counter in sorted(version.clock.items())]
        values = None if change.values is None else list(change.values)
        row = [model, change.record.key, node, version.dot.counter, clock, version.timestamp, values]
        if change.carried:
            row.append(
                [
                    [name, mark.timestamp, nodes.setdefault(mark.dot.node, len(nodes)), mark.dot.counter, value]
                    for name, (mark, value) in sorted(change.carried.items())
                ]
            )
        rows.append(row)
    message = {
        "models": [[label, list(fields)] for label, fields in models],
        "nodes": list(nodes),
        "rows": rows,
        "cursor": list(page.cursor),
        "head": page.head,
        "whole": page.whole,
        "vector": dict(page.vector),
        "behind": page.behind,
    }
    return {**message, "dropped": dict(page.dropped)} if page.dropped else message


def packed(page: Page) -> dict[str, Any]:
    """`to_message`, with the rows packed, for that takes longer than all else of it."""
    message = to_message(page)
    return {**message, "rows": wire.Packed(wire.pack(message["rows"]))}


def unpack_answer(action: str, plain: bytes) -> dict[str, Any]:
    """The message that answers `action`; the rows of a page stay packed until `from_message`.

    So the next page can be asked for, and is made, while these are read.
    """
    return wire.unpack_around(plain, "rows") if action == "pull" else wire.unpack_message(plain)


def place_of(message: Mapping[str, Any]) -> tuple[Cursor, bool]:
    """The cursor of the page in `message`, and whether it is at the head, before its rows are looked at.

    Raises MalformedBody as `from_message` does.
    """
    try:
        return shape.cursor(message["cursor"]), bool(message["head"])
    except (KeyError, TypeError, ValueError) as error:
        raise misshapen("page", error) from error


@uncollected()
def from_message(message: Mapping[str, Any], max_rows: int) -> Page:
    """The inverse of `to_message`. Raises TooLarge, or MalformedBody for whatever is not of that shape."""
    rows = message.get("rows")
    if isinstance(rows, wire.Packed):
        rows = wire.unpack(rows.data)
    if isinstance(rows, list) and len(rows) > max_rows:
        raise TooLarge(
            f"The page has {len(rows)} changes, over the limit of {max_rows}.",
            hint="Lower PAGE_ROWS on the side that sends, or raise MAX_ROWS on the side that receives.",
        )
    try:
        models = [
            (shape.label(label), shape.fields(fields))
            for label, fields in shape.some(message["models"], shape.MAX_NODES, "models")
        ]
        nodes = shape.nodes(message["nodes"])
        return Page(
            _changes(shape.some(rows, max_rows, "changes"), models, nodes),
            *place_of(message),
            bool(message["whole"]),
            shape.vector(message["vector"]),
            shape.counter(message.get("behind", 0)),
            shape.vector(message.get("dropped", {})),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise misshapen("page", error) from error


def misshapen(what: str, error: Exception) -> MalformedBody:
    """What to raise where reading a message's `what` failed with `error`."""
    return MalformedBody(
        f"The {what} is not of the protocol's shape ({type(error).__name__}: {str(error)[:200]!r}).",
        hint=SAME_VERSION,
    )


def _changes(rows: list[Any], models: list[tuple[str, tuple[str, ...]]], nodes: list[str]) -> list[Change]:
    """The changes of a page. Types and ranges are checked by columns: a page has thousands of rows."""
    if not rows:
        return []
    carrieds: Iterable[Any] = itertools.repeat(())
    if set(map(type, rows)) != {list}:
        raise TypeError("a row that is no list")
    if max(map(len, rows)) > 7:  # few pages have a row that carries anything
        carrieds = [row[7] if len(row) > 7 else () for row in rows]
        rows = [row[:7] for row in rows]
    numbers, keys, authors, counters, clocks, timestamps, contents = zip(*rows, strict=True)
    for column, least, most in (
        (numbers, 0, len(models) - 1),
        (authors, 0, len(nodes) - 1),
        (counters, 1, shape.MAX_COUNTER),
        (timestamps, 0, hlc.MAX_TIMESTAMP),
    ):
        if set(map(type, column)) != {int} or min(column) < least or max(column) > most:
            raise ValueError("a number that is none, or out of range")
    if not set(map(type, contents)) <= {list, type(None)}:
        raise TypeError("a row without values")
    shape.keys(keys)
    changes = []
    for number, key, author, counter, clock, timestamp, values, carried in zip(
        numbers, keys, authors, counters, clocks, timestamps, contents, carrieds, strict=False
    ):
        label, fields = models[number]
        if values is not None and len(values) != len(fields):
            raise ValueError("a row with other fields than its header")
        dot = Dot(nodes[author], counter)
        history = VersionVector.of(dot) if clock is None else _clock(clock, nodes, dot)
        version = Version(dot, history, timestamp)
        if values is None:
            changes.append(Change(Record(label, key), version, fields, None))
        elif not carried:
            changes.append(Change(Record(label, key), version, fields, tuple(values)))
        else:
            others = _carried(carried, nodes, version)
            if others.keys() & set(fields):
                raise ValueError("a field that is both written and carried")
            changes.append(Change(Record(label, key), version, fields, tuple(values), others))
    return changes


def _carried(entries: Any, nodes: list[str], version: Version) -> dict[str, Marked]:
    """Fields that older writes gave their values: each of them is part of the version's history."""
    found = {}
    for name, timestamp, node, counter, value in shape.some(entries, shape.MAX_FIELDS, "carried fields"):
        dot = Dot(nodes[shape.counter(node)], shape.counter(counter))
        if dot == version.dot or not version.clock.knows(dot):
            raise ValueError("a field whose write the version's clock does not know")
        if not 0 <= shape.integer(timestamp) <= version.timestamp:
            raise ValueError("a field that was written after its version")
        found[shape.text(name, shape.LABEL_LENGTH, "a field name")] = (Mark(timestamp, dot), value)
    return found


def _clock(clock: Any, nodes: list[str], dot: Dot) -> VersionVector:
    history = shape.clock(clock, nodes)
    if not history.knows(dot):
        raise ValueError("a clock that does not know its own dot")
    return history
