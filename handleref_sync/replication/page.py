"""A page: what one request or response of a feed carries, and its form on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import MalformedBody, TooLarge

MAX_COUNTER = 2**63 - 1
Cursor = tuple[int, str]
START: Cursor = (0, "")


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
        if len(version.clock) > 1 or not version.clock.knows(version.dot):
            clock = [(nodes.setdefault(name, len(nodes)), counter) for name, counter in sorted(version.clock.items())]
        values = None if change.values is None else list(change.values)
        rows.append([model, change.record.key, node, version.dot.counter, clock, version.timestamp, values])
    return {
        "models": [[label, list(fields)] for label, fields in models],
        "nodes": list(nodes),
        "rows": rows,
        "cursor": list(page.cursor),
        "head": page.head,
        "whole": page.whole,
        "vector": dict(page.vector),
        "behind": page.behind,
    }


def from_message(message: Mapping[str, Any], max_rows: int) -> Page:
    """The inverse of `to_message`. Raises TooLarge, or MalformedBody for whatever is not of that shape."""
    rows = message.get("rows")
    if isinstance(rows, list) and len(rows) > max_rows:
        raise TooLarge(
            f"The page has {len(rows)} changes, over the limit of {max_rows}.",
            hint="Lower PAGE_ROWS on the side that sends, or raise MAX_ROWS on the side that receives.",
        )
    try:
        models = [(_text(label), tuple(_text(field) for field in fields)) for label, fields in message["models"]]
        nodes = [_text(name) for name in message["nodes"]]
        changes = [_change(row, models, nodes) for row in message["rows"]]
        sequence, token = message["cursor"]
        return Page(
            changes,
            (_counter(sequence), _text(token)),
            bool(message["head"]),
            bool(message["whole"]),
            vector_of(message["vector"]),
            _counter(message.get("behind", 0)),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise MalformedBody(
            f"The page is not of the protocol's shape ({type(error).__name__}: {error}).",
            hint="Bring both nodes to the same version of handleref_sync.",
        ) from error


def _change(row: list[Any], models: list[tuple[str, tuple[str, ...]]], nodes: list[str]) -> Change:
    model, key, node, counter, clock, timestamp, values = row
    label, fields = models[_counter(model)]
    dot = Dot(nodes[_counter(node)], _counter(counter))
    if dot.counter == 0:
        raise ValueError("a dot with counter 0")
    if clock is None:
        history = VersionVector.of(dot)
    else:
        history = VersionVector({nodes[_counter(n)]: _counter(c) for n, c in clock})
        if not history.knows(dot):
            raise ValueError("a clock that does not know its own dot")
    if not 0 <= _integer(timestamp) <= hlc.MAX_TIMESTAMP:
        raise ValueError("a timestamp out of range")
    if values is not None and len(values) != len(fields):
        raise ValueError("a row with other fields than its header")
    return Change(
        Record(label, _text(key)),
        Version(dot, history, timestamp),
        fields,
        None if values is None else tuple(values),
    )


def vector_of(value: Any) -> VersionVector:
    """A version vector from a message. Raises TypeError or ValueError for anything else."""
    return VersionVector({_text(node): _counter(counter) for node, counter in value.items()})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def _counter(value: Any) -> int:
    if not 0 <= _integer(value) <= MAX_COUNTER:
        raise ValueError(f"{value!r} is out of range")
    return int(value)
