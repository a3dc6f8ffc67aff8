"""Dots and version vectors.

Sources: D. S. Parker et al., "Detection of Mutual Inconsistency in Distributed Systems" (1983); N. Preguiça et
al., "Dotted Version Vectors" (2012), for a dot that names one write apart from the history it knew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Dot(NamedTuple):
    """(node, counter): names one write of one record, for ever."""

    node: str
    counter: int

    def __str__(self) -> str:
        return f"{self.node}:{self.counter}"

    @classmethod
    def parse(cls, text: str) -> Dot:
        """The inverse of ``str``. Raises ValueError for anything else."""
        node, separator, counter = text.rpartition(":")
        if not (separator and node and counter.isascii() and counter.isdigit()):
            raise ValueError(f"not a dot: {text!r}")
        return cls(node, int(counter))


class VersionVector(Mapping[str, int]):
    """An immutable {node: counter}; a missing node counts as 0, and an entry of 0 as missing."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Mapping[str, int] | None = None) -> None:
        self._counters: dict[str, int] = {n: c for n, c in (counters or {}).items() if c}
        for node, counter in self._counters.items():
            if counter < 0:
                raise ValueError(f"negative counter for {node}: {counter}")

    @classmethod
    def of(cls, dot: Dot) -> VersionVector:
        """The history of a record that was written once. Raises ValueError for a counter below 1."""
        if dot.counter < 1:
            raise ValueError(f"not the counter of a write: {dot.counter}")
        vector = cls.__new__(cls)  # not by __init__, whose checks cost more than all else: pages have thousands
        vector._counters = {dot.node: dot.counter}
        return vector

    def __getitem__(self, node: str) -> int:
        return self._counters[node]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counters)

    def __len__(self) -> int:
        return len(self._counters)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, VersionVector):
            return self._counters == other._counters
        return NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._counters.items()))

    def __repr__(self) -> str:
        return f"VersionVector({self})"

    def __str__(self) -> str:
        """``hq:12,ship-7:3``, sorted by node: equal vectors have equal text."""
        return ",".join(f"{n}:{c}" for n, c in sorted(self._counters.items()))

    @classmethod
    def parse(cls, text: str) -> VersionVector:
        """The inverse of ``str``. Raises ValueError for anything else."""
        return cls(dict(Dot.parse(part) for part in text.split(","))) if text else cls()

    def knows(self, dot: Dot) -> bool:
        """Whether the write `dot` is part of this history."""
        return self._counters.get(dot.node, 0) >= dot.counter

    def counter(self, node: str) -> int:
        """The counter of `node`; 0 where it has none. (Mapping's own ``get`` costs several times as much.)"""
        return self._counters.get(node, 0)

    def covers(self, other: VersionVector) -> bool:
        """Dominance: whether all that `other` knows is known here."""
        mine = self._counters
        return all(mine.get(node, 0) >= counter for node, counter in other._counters.items())

    def concurrent(self, other: VersionVector) -> bool:
        """Whether neither covers the other."""
        return not self.covers(other) and not other.covers(self)

    def unite(self, other: VersionVector) -> VersionVector:
        """The least vector that covers both: commutative, associative, idempotent."""
        if self.covers(other):
            return self
        return VersionVector.union((self, other))

    def implied_by(self, dot: Dot) -> bool:
        """Whether this is the history of a record that one node alone wrote, up to `dot`."""
        return self._counters == {dot.node: dot.counter}

    @classmethod
    def union(cls, vectors: Iterable[VersionVector]) -> VersionVector:
        """The least vector that covers all of `vectors`."""
        merged: dict[str, int] = {}
        for vector in vectors:
            for node, counter in vector._counters.items():
                if counter > merged.get(node, 0):
                    merged[node] = counter
        return cls(merged)

    def with_dot(self, dot: Dot) -> VersionVector:
        """This history and one more write."""
        return self if self.knows(dot) else VersionVector({**self._counters, dot.node: dot.counter})
