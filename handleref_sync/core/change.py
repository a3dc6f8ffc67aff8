"""What travels between nodes: one version of one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from handleref_sync.core.version_vector import Dot, VersionVector


class Record(NamedTuple):
    """A record's identity on all nodes: model label (lower case, ``app.model``) and key."""

    model: str
    key: str

    def __str__(self) -> str:
        return f"{self.model} {self.key}"


@dataclass(frozen=True, slots=True)
class Version:
    """The causal part of a version: which write made it, what that write knew, and when it was."""

    dot: Dot
    clock: VersionVector
    timestamp: int

    @property
    def rank(self) -> tuple[int, str]:
        """What last-writer-wins compares: (timestamp, node ID) and nothing else, for that alone is transitive."""
        return (self.timestamp, self.dot.node)


@dataclass(frozen=True, slots=True)
class Change:
    """A version with its content: the values of `fields` in wire form, or None for a hard deletion."""

    record: Record
    version: Version
    fields: tuple[str, ...]
    values: tuple[Any, ...] | None

    @property
    def deleted(self) -> bool:
        return self.values is None
