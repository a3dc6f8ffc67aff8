"""Who wins a conflict.

A resolver sees two versions neither of which knew the other. Its verdict must be a pure function of the pair:
the same on every node, in whatever order the two arrived.
"""

from __future__ import annotations

from typing import Protocol

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
