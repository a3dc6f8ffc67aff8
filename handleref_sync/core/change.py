"""What travels between nodes: one version of one record."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from handleref_sync.core.version_vector import Dot, VersionVector


class Record(NamedTuple):
    """A record's identity on all nodes: model label (lower case, ``app.model``) and key."""

    model: str
    key: str

    def __str__(self) -> str:
        return f"{self.model} {self.key}"


class Version(NamedTuple):
    """The causal part of a version: which write made it, what that write knew, and when it was."""

    dot: Dot
    clock: VersionVector
    timestamp: int

    @property
    def rank(self) -> tuple[int, str]:
        """What last-writer-wins compares: (timestamp, node ID) and nothing else, for that alone is transitive."""
        return (self.timestamp, self.dot.node)


class Mark(NamedTuple):
    """Which write gave a field its value: the timestamp and the dot of that write."""

    timestamp: int
    dot: Dot

    @property
    def rank(self) -> tuple[int, str]:
        """What decides between two values of one field, as `Version.rank` does between two versions."""
        return (self.timestamp, self.dot.node)


Marked = tuple[Mark, Any]
"""A field's value in wire form, and the write that gave it."""

NOTHING: Mapping[str, Marked] = MappingProxyType({})


class Change(NamedTuple):
    """A version with its content: the values of `fields` in wire form, or None for a hard deletion.

    `fields` are those that the version's own write gave their values. What it left as it was, or could not know, is
    `carried` along, each value with its own mark. A field in neither is absent: the version says nothing of it.
    """

    record: Record
    version: Version
    fields: tuple[str, ...]
    values: tuple[Any, ...] | None
    carried: Mapping[str, Marked] = NOTHING

    @property
    def deleted(self) -> bool:
        return self.values is None

    @property
    def content(self) -> dict[str, Marked]:
        """Every field that it speaks of, with its mark. Empty for a deletion."""
        if self.values is None:
            return {}
        mark = Mark(self.version.timestamp, self.version.dot)
        own = {name: (mark, value) for name, value in zip(self.fields, self.values, strict=True)}
        return {**self.carried, **own}

    @classmethod
    def of(cls, record: Record, version: Version, content: Mapping[str, Marked] | None) -> Change:
        """The inverse of `content`, for the version that is current; None for a deletion."""
        if content is None:
            return cls(record, version, (), None)
        own = {name: value for name, (mark, value) in content.items() if mark.dot == version.dot}
        carried = {name: marked for name, marked in content.items() if name not in own}
        return cls(record, version, tuple(own), tuple(own.values()), carried or NOTHING)
