"""A node as the core sees it: records with their versions, a feed in the order of sequences, a vector, cursors."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from handleref_sync.core import hlc
from handleref_sync.core.change import Version
from handleref_sync.core.reconcile import Loser, reconcile
from handleref_sync.core.version_vector import Dot, VersionVector


@dataclass
class Exchange:
    """What one session moved."""

    trips: int = 1
    scanned: int = 0
    """Stamps that a feed looked at."""
    sent: int = 0
    known: int = 0
    """Of those, changes that were there already."""
    conflicts: int = 0
    entries: int = 0
    """Of vectors, in the hello and its answer."""
    grew: int = 0
    """Entries of the two vectors that grew."""
    served: int = 0
    """Of those, entries of the vector of the side that serves."""
    delays: list[int] = field(default_factory=list)
    """Milliseconds from each write until it came."""


class Entry(NamedTuple):
    """A stamp: the current version, and its sequence here."""

    version: Version
    sequence: int


class SimulatedNode:
    """One node. Its counters are its sequences, as in the library."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.ledger: dict[str, Entry] = {}
        self.vector = VersionVector()
        self.cursors: dict[str, int] = defaultdict(int)
        """Where this node stands in each peer's feed."""
        self.losers: set[Dot] = set()
        self._order: list[int] = []
        self._keys: list[str] = []

    def write(self, key: str | None, now: int) -> str:
        """A local write of the record `key`, or of a new one."""
        old = self.ledger.get(key) if key is not None else None
        dot = Dot(self.name, self.sequence + 1)
        clock = VersionVector.of(dot) if old is None else old.version.clock.with_dot(dot)
        if set(clock) == {self.name}:
            clock = VersionVector.of(dot)
        timestamp = hlc.tick(None if old is None else old.version.timestamp, now)
        key = str(dot) if key is None else key
        self._put(key, Version(dot, clock, timestamp))
        self.vector = self.vector.with_dot(dot)
        return key

    def _put(self, key: str, version: Version) -> None:
        self.sequence += 1
        self.ledger[key] = Entry(version, self.sequence)
        self._order.append(self.sequence)
        self._keys.append(key)

    def feed(self, after: int, known: VersionVector, exchange: Exchange) -> Iterator[tuple[str, Version]]:
        """What a reader lacks who stands at `after` and has incorporated `known`."""
        for at in range(bisect_right(self._order, after), len(self._order)):
            version, sequence = self.ledger[self._keys[at]]
            if sequence != self._order[at]:
                continue  # it has another place by now, and a database has no trace of this one
            exchange.scanned += 1
            if not known.covers(version.clock):
                yield self._keys[at], version

    def take(self, changes: Iterator[tuple[str, Version]], now: int, exchange: Exchange) -> None:
        """Apply what came."""
        for key, incoming in changes:
            exchange.sent += 1
            entry = self.ledger.get(key)
            local = None if entry is None else entry.version
            decision = reconcile(local, incoming, lambda: False)
            if not decision.changes(local):
                exchange.known += 1
                continue
            if decision.loser is not Loser.NONE:
                lost = incoming if decision.loser is Loser.INCOMING else local
                assert lost is not None
                if lost.dot not in self.losers:  # the conflict log is replicated, and so unites
                    exchange.conflicts += 1
                    self.losers.add(lost.dot)
            if decision.write:
                exchange.delays.append(now - hlc.milliseconds(incoming.timestamp))
            self._put(key, decision.stamp)

    def merge(self, vector: Mapping[str, int]) -> int:
        """The peer's vector, once all that it had is here; how many entries that moved."""
        moved = sum(counter > self.vector.counter(name) for name, counter in vector.items())
        self.vector = self.vector.unite(VersionVector(vector))
        return moved


def session(caller: SimulatedNode, server: SimulatedNode, now: int) -> Exchange:
    """Hello, then pull, then push, each to the head."""
    exchange = Exchange(entries=len(caller.vector) + len(server.vector))
    for reader, feed in ((caller, server), (server, caller)):
        if reader.cursors[feed.name] == feed.sequence or reader.vector.covers(feed.vector):
            reader.cursors[feed.name] = feed.sequence
            continue
        exchange.trips += 1
        head, vector = feed.sequence, feed.vector
        changes = list(feed.feed(reader.cursors[feed.name], reader.vector, exchange))
        reader.take(iter(changes), now, exchange)
        reader.cursors[feed.name] = head
        grew = reader.merge(vector)
        exchange.grew += grew
        exchange.served += grew if reader is server else 0
    return exchange
