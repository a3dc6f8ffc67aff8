"""What a comparison found and what was done about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from handleref_sync.replication.survey import State
from handleref_sync.replication.unseen import Unseen


class Kind(StrEnum):
    """How a record differs."""

    CONTENT = "content"
    """One version, with other content: a row was changed behind the triggers' back, here or there."""
    VERSION = "version"
    CLOCK = "clock"
    """The same version, of which one side knows more other writes."""
    HERE = "only-here"
    THERE = "only-there"


DUE = "due"
"""Why a record is not compared that comes by the next sync."""


class Difference(NamedTuple):
    """One record that differs: the dots of both sides' versions, with a word about those that are deletions."""

    model: str
    key: str
    kind: Kind
    here: str | None
    there: str | None


@dataclass
class Found:
    """What became of one model's records."""

    items: int = 0
    """Live records here that were compared."""
    equal: int = 0
    differences: list[Difference] = field(default_factory=list)
    not_compared: Counter[str] = field(default_factory=Counter)
    """By why: a `State`, or DUE."""

    def fresh(self) -> Found:
        """The same, to be judged apart from this one."""
        return Found(self.items, self.equal, list(self.differences), Counter(self.not_compared))

    def of(self, *kinds: Kind) -> int:
        """How many differences of some kinds there are."""
        return sum(difference.kind in kinds for difference in self.differences)

    @property
    def compared(self) -> int:
        return self.items + self.of(Kind.THERE)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "compared": self.compared,
            "equal": self.equal,
            "differing": self.of(Kind.CONTENT, Kind.VERSION, Kind.CLOCK),
            "only_here": self.of(Kind.HERE),
            "only_there": self.of(Kind.THERE),
            "not_compared": {str(why): count for why, count in sorted(self.not_compared.items()) if count},
            "differences": [
                {"key": d.key, "kind": str(d.kind), "here": d.here, "there": d.there} for d in self.differences
            ],
        }


@dataclass
class VerifyReport:
    """What a comparison with `peer` came to; without a peer, what this node's own books say."""

    peer: str
    models: dict[str, Found] = field(default_factory=dict)
    unseen: dict[str, Unseen] = field(default_factory=dict)
    """By model: what was written behind the triggers' back here."""
    unseen_there: dict[str, list[int]] = field(default_factory=dict)
    """By model: how many rows have no stamp there, are gone, are deleted."""
    noted: dict[str, int] = field(default_factory=dict)
    """By model: what was written so, and is an ordinary write now."""
    kept: int = 0
    """Records whose row here became a new write, because the peer had other content under the same dot."""
    fetched: int = 0
    pushed: int = 0
    conflicts: int = 0
    notes: tuple[str, ...] = ()
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def differences(self) -> list[Difference]:
        """All of them, the conflict log's first as it goes first wherever records travel."""
        return [difference for found in self.models.values() for difference in found.differences]

    @property
    def clean(self) -> bool:
        """Whether nothing is left to be mended, on either side."""
        return not (self.differences or self.unseen or self.unseen_there)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            **{name: value for name, value in vars(self).items() if name not in ("models", "unseen", "notes")},
            "clean": self.clean,
            "models": {label: found.as_dict() for label, found in self.models.items()},
            "unseen": {label: vars(found) for label, found in self.unseen.items()},
            "unseen_there": {
                label: dict(zip(("unstamped", "vanished", "undead"), counts, strict=True))
                for label, counts in self.unseen_there.items()
            },
            "notes": list(self.notes),
        }


WAITING = frozenset({State.PENDING, State.VANISHED, State.UNREADABLE, State.PARKED, State.OUTSIDE})
"""States in which nothing can be said about a record."""
