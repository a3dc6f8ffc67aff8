"""The hello: who each side is, what it has incorporated, and where it stands in the other's feed.

The invariant: neither side stamps a write before it has heard what the other has seen of it. A database that was
restored from a backup would otherwise give a dot a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from handleref_sync import registry
from handleref_sync.conf import settings
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import (
    ClockSkew,
    RestoreClaimed,
    SameNode,
    SyncInProgress,
    UnknownPeer,
    VersionMismatch,
)
from handleref_sync.models import LocalNode, Peer
from handleref_sync.replication import keys, shape
from handleref_sync.replication.cursors import Scope
from handleref_sync.replication.ledger import Ledger, local_node, locked, now_ms
from handleref_sync.replication.page import SAME_VERSION, START, Cursor, misshapen
from handleref_sync.replication.place import renew
from handleref_sync.replication.rights import exchanged

PROTOCOLS = (1,)


@dataclass(frozen=True)
class Hello:
    """What one side says of itself."""

    node: str
    protocols: tuple[int, ...]
    seen: VersionVector
    """The highest counters that it has met of the side it speaks to, by incarnation."""
    vector: VersionVector
    models: frozenset[str]
    relay: bool
    """Whether it takes from the other what third nodes wrote."""
    clock: int
    """Its wall clock, in milliseconds since 1970."""
    cursor: Cursor
    """Where it stands in the other's feed."""
    cursor_scope: str
    may_pull: bool = True
    may_push: bool = True
    next_key: bytes = b""
    """The public key with which it is going to sign."""
    knows_key: bytes = b""
    """The fingerprint of the newest key of the other that it has."""
    max_rows: int = 0
    """Records in a page that it accepts; 0: it does not say."""

    def to_message(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "node": self.node,
            "protocols": list(self.protocols),
            "seen": dict(self.seen),
            "vector": dict(self.vector),
            "models": sorted(self.models),
            "relay": self.relay,
            "clock": self.clock,
            "cursor": list(self.cursor),
            "cursor_scope": self.cursor_scope,
            "may_pull": self.may_pull,
            "may_push": self.may_push,
            "next_key": self.next_key,
            "knows_key": self.knows_key,
            "max_rows": self.max_rows,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Hello:
        """The inverse. Raises VersionMismatch before anything else, then MalformedBody."""
        offered = message.get("protocols")
        spoken = {p for p in offered if type(p) is int} if isinstance(offered, list) else set()
        if not spoken & set(PROTOCOLS):
            named = sorted(p for p in spoken if 0 <= p < 2**31)[:10]
            raise VersionMismatch(
                f"The other side speaks protocol {named}, this one {list(PROTOCOLS)}.",
                hint=SAME_VERSION,
            )
        try:
            return cls(
                shape.node(message["node"]),
                tuple(sorted(spoken)),
                shape.vector(message["seen"]),
                shape.vector(message["vector"]),
                frozenset(map(shape.label, shape.some(message["models"], shape.MAX_NODES, "models"))),
                bool(message["relay"]),
                shape.counter(message["clock"]),
                shape.cursor(message["cursor"]),
                shape.text(message["cursor_scope"], shape.TOKEN_LENGTH, "a scope"),
                bool(message.get("may_pull", True)),
                bool(message.get("may_push", True)),
                shape.octets(message.get("next_key", b""), (0, 32), "a key"),
                shape.octets(message.get("knows_key", b""), (0, 16), "a fingerprint"),
                shape.counter(message.get("max_rows", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise misshapen("hello", error) from error


def hello(using: str, peer: Peer, *, starting: bool = False) -> Hello:
    """What this node says to `peer`. Stamps nothing.

    Raises SyncInProgress before this node has the whole of its baseline, but for `starting`, which is to take it.
    """
    ledger = Ledger(using)
    if not starting:
        refuse_unfinished(ledger.local)
    return Hello(
        ledger.local.name,
        PROTOCOLS,
        ledger.met_of(peer.name),
        # Whoever rejoins has to show all that it has: tombstones that it never got may be purged here.
        VersionVector() if peer.rejoining else ledger.incorporated(),
        exchanged(ledger.models, peer),
        peer.relay,
        now_ms(),
        (peer.pull_sequence, peer.pull_token),
        peer.pull_scope,
        peer.can_pull,
        peer.can_push,
        keys.offered(ledger.local),
        keys.known(peer),
        settings.max_rows,
    )


def meet(using: str, peer: Peer, theirs: Hello, *, starting: bool = False) -> bool:
    """Check what the other side said; take a new incarnation where it proves that this database was restored.

    Returns whether it did. Raises SameNode, UnknownPeer, ClockSkew; SyncInProgress as `hello` does.
    """
    local = local_node(using)
    if not starting:
        refuse_unfinished(local)
    if theirs.node == local.name:
        raise SameNode(
            f"Both nodes bear the ID {local.name!r}.",
            hint="A node keeps its ID for life: set one of them up anew, with another HANDLEREF_SYNC['NODE'].",
        )
    if theirs.node != peer.name:
        raise UnknownPeer(f"There answers {theirs.node!r}, not {peer.name!r}.", hint="Check the URL of the peer.")
    here = now_ms()
    if abs(theirs.clock - here) > settings.max_clock_skew * 1000:
        raise ClockSkew(
            f"The clocks are too far apart: {_moment(theirs.clock)} on {theirs.node}, {_moment(here)} on {local.name}"
            f" (limit {settings.max_clock_skew:g} s).",
            hint="Set the wrong one right, by NTP if you can, or raise MAX_CLOCK_SKEW.",
        )
    restored = _restored(using, peer, theirs)
    keys.met(using, peer, theirs.next_key, theirs.knows_key)
    fields: dict[str, Any] = {}
    if peer.known != str(theirs.vector):
        fields["known"] = str(theirs.vector)
    if local.dropped and _lacks(using, peer, theirs, VersionVector.parse(local.dropped)):
        fields |= {"rejoining": True, "pull_sequence": 0, "pull_token": ""}
    if fields:  # at once: by what it was known to have, nobody sees afterwards that it went back
        vars(peer).update(fields)
        peer.save(using=using, update_fields=[*fields])
    return restored


def _lacks(using: str, peer: Peer, theirs: Hello, dropped: VersionVector) -> bool:
    """Whether the peer has yet to show what it has, for it may lack tombstones that were dropped.

    It was restored from a backup since it was last met; or it begins to show what it did not.
    """
    if theirs.vector.covers(dropped):
        return False
    models = exchanged(registry.replicated(using), peer) & theirs.models
    other = peer.pull_scope not in ("", Scope(models, own_only=not peer.relay).name())
    went_back = theirs.cursor[0] < peer.acknowledged or not theirs.vector.covers(VersionVector.parse(peer.known))
    return other or went_back


def _restored(using: str, peer: Peer, theirs: Hello) -> bool:
    """Whether a new incarnation was taken because `peer` has seen more of us than we have. Raises RestoreClaimed.

    It is believed once: a peer that errs, or lies, must not drive this node from incarnation to incarnation. After
    that only the operator's word counts. Until it comes nothing is stamped in this session, so no dot is used twice.
    """
    local = local_node(using)
    if theirs.seen.counter(local.incarnation.name) <= local.sequence:
        return False
    with locked(using) as ledger:
        local = ledger.local
        claimed = theirs.seen.counter(local.incarnation.name)
        if claimed <= local.sequence:
            return False
        if local.vouched_by or not peer.relay:
            me, again = local.incarnation.name, f", after that of {local.vouched_by}" if local.vouched_by else ""
            raise RestoreClaimed(
                f"{peer.name} has seen write {claimed} of {me}, which is only at {local.sequence}, and its word"
                f"{again} is not enough.",
                hint=f"If {local.name} was restored from a backup, run sync_init --restored there. If not, "
                f"{peer.name} is wrong; see sync_revoke.",
            )
        renew(ledger, vouched_by=peer.name)
        return True


def refuse_unfinished(local: LocalNode) -> None:
    """Raises SyncInProgress while `local` has not got the whole of its baseline: its records have no keys yet."""
    if local.baseline:
        raise SyncInProgress(
            f"{local.name} has not taken the whole of its baseline from {local.baseline}.",
            hint=f"Run manage.py sync_init --baseline {local.baseline} on {local.name}; it goes on where it was.",
        )


def scope_of(mine: Hello, theirs: Hello, *, reader: Hello) -> tuple[Scope, bool]:
    """What an exchange between two sides is about, and whether it is whole: all models, and both may relay."""
    scope = Scope(mine.models & theirs.models, own_only=not reader.relay)
    return scope, mine.models == theirs.models and mine.relay and theirs.relay


def position(reader: Hello, scope: Scope) -> Cursor:
    """The reader's cursor, if it belongs to this scope."""
    return reader.cursor if reader.cursor_scope == scope.name() else START


def _moment(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms since 1970"
