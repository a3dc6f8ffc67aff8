"""Who wins a conflict.

A resolver sees two versions neither of which knew the other. Its verdict must be a pure function of the pair:
the same on every node, in whatever order the two arrived, and whatever else the node knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from handleref_sync.core.change import Version


class Resolver(Protocol):
    """Decides between two concurrent versions of one record."""

    def local_wins(self, local: Version, incoming: Version) -> bool:
        """Whether the version that is here stays; the other goes to the conflict log."""
        ...  # pragma: no cover - a protocol has no body


class LastWriterWins:
    """The greater (timestamp, node ID) wins."""

    def local_wins(self, local: Version, incoming: Version) -> bool:
        return local.rank > incoming.rank


@dataclass(frozen=True)
class Side:
    """One of two conflicting versions, as a resolver sees it.

    `node`: the ID of the node that wrote its content. `timestamp`: its hybrid logical clock timestamp. `values`: by
    field name, foreign keys as the keys of their records; None: the record was deleted. `changed`: the fields that
    this version, or what it builds on, gave a value of which the other does not know.
    """

    node: str
    timestamp: int
    values: Mapping[str, Any] | None
    changed: frozenset[str]

    @property
    def deleted(self) -> bool:
        return self.values is None


@dataclass(frozen=True)
class Conflicting:
    """Two versions of a record that did not know each other, told apart by (timestamp, node).

    There is no "ours" and "theirs": what is ours here is theirs elsewhere, and both have to come to one result.
    """

    model: str
    key: str
    earlier: Side
    later: Side

    @property
    def ancestor(self) -> dict[str, Any]:
        """What both started from, as far as it is known: the fields that not both have changed."""
        one, other = self.earlier, self.later
        if one.values is None or other.values is None:
            return {}
        return {
            name: (one if name in other.changed else other).values[name]  # type: ignore[index]
            for name in one.values.keys() & other.values.keys()
            if not (name in one.changed and name in other.changed)
        }


@dataclass(frozen=True)
class Collision:
    """Two records that want the same value of `fields`, which are unique together. The later one keeps it.

    `key`: the key of the earlier record, the same on all nodes.
    """

    model: str
    fields: tuple[str, ...]
    key: str
    earlier: Side
    later: Side


GiveWay = Callable[[Collision], Mapping[str, Any] | None]
"""Other values, by field name, for the earlier record; None: leave it to a person."""
Verdict = Side | Mapping[str, Any]
"""One of the two sides; or values by field name, which go over those of the later side."""
Resolve = Callable[[Conflicting], Verdict]


@dataclass(frozen=True)
class Prefer:
    """What `node` wrote wins over what others wrote; else the later wins."""

    node: str

    def __call__(self, conflict: Conflicting) -> Side:
        earlier, later = conflict.earlier, conflict.later
        mine = [side.node.partition("~")[0] == self.node for side in (earlier, later)]
        return earlier if mine == [True, False] else later
