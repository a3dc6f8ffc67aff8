"""The decision: what becomes of an incoming version, given the one that is here.

============================== ====================================================
here                           decision
============================== ====================================================
nothing                        apply
incoming dot in our clock      known: ignore it, but unite the clocks
our dot in the incoming clock  fast forward: apply, clocks united
neither, the same content      unite: no conflict, the greater (timestamp, node) stays
neither                        conflict: the resolver decides, the loser is logged
============================== ====================================================

Uniting the clocks even where the content is ignored is what lets a third node see that this one knows the other
write; without it a conflict would be found again, and again, on its way through the network.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from handleref_sync.core.change import Version
from handleref_sync.core.resolvers import LastWriterWins, Resolver
from handleref_sync.core.version_vector import VersionVector


class Loser(Enum):
    """Which of the two versions, if any, has to be kept in the conflict log."""

    NONE = "none"
    LOCAL = "local"
    INCOMING = "incoming"


class Decision(NamedTuple):
    """What to do: whether the incoming content is written, the stamp afterwards, and who lost."""

    write: bool
    stamp: Version
    loser: Loser = Loser.NONE

    def changes(self, local: Version | None) -> bool:
        """Whether the stamp differs from the one here. If not, nothing may be written at all (no echo)."""
        return self.stamp != local


LAST_WRITER_WINS = LastWriterWins()


def reconcile(
    local: Version | None,
    incoming: Version,
    same_content: Callable[[], bool],
    resolver: Resolver = LAST_WRITER_WINS,
) -> Decision:
    """Decide by the table above. `same_content` is asked only where neither version knew the other.

    `local` must be stamped: a dirty record is stamped by the caller first.
    """
    if local is None:
        return Decision(True, incoming)
    united = local.clock.unite(incoming.clock)
    if local.clock.knows(incoming.dot):
        return Decision(False, _with_clock(local, united))
    if incoming.clock.knows(local.dot):
        return Decision(True, _with_clock(incoming, united))
    if same_content():
        # The content is equal already: the stamp alone changes hands, no row is written.
        return Decision(False, _with_clock(max(local, incoming, key=_rank), united))
    if resolver.local_wins(local, incoming):
        return Decision(False, _with_clock(local, united), Loser.INCOMING)
    return Decision(True, _with_clock(incoming, united), Loser.LOCAL)


def _with_clock(version: Version, clock: VersionVector) -> Version:
    return version if clock == version.clock else Version(version.dot, clock, version.timestamp)


def _rank(version: Version) -> tuple[int, str]:
    return version.rank
