"""How one node reaches another in a history: MemoryTransport, and what a bad network does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.exceptions import PeerUnreachable, Revoked, SyncError, UnknownPeer
from handleref_sync.models import Peer
from handleref_sync.replication.page import from_message
from handleref_sync.replication.responder import Responder
from handleref_sync.transport.memory import MemoryTransport
from tests.simulation.steps import At, Sync
from tests.simulation.world import Broken, Crashed, World

KEPT = 400
DELAY = 7_000


class Network:
    """Carries requests, and keeps old ones."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.old: list[tuple[str, str, str, bytes]] = []
        """(from, to, action, body) of requests that were made."""

    def serve(self, client: str, server: str, action: str, message: dict[str, Any]) -> dict[str, Any]:
        """The answer of `server`'s process. Raises PeerUnreachable if it dies, or SyncErrors."""
        node = self.world.nodes[server]
        with self.world.at(node):
            try:
                peer = Peer.objects.using(node.alias).filter(name=client).first()
                if peer is None:
                    raise UnknownPeer(f"{server} does not know {client}.")
                if peer.revoked:
                    raise Revoked(f"{server} has revoked the key of {client}.")
                return Responder(node.alias, peer).handle(action, message)
            except Crashed:
                node.restart()
                raise PeerUnreachable(f"{server} died.") from None

    def late(self, n: int) -> None:
        """An old request arrives once more; nobody waits for its answer."""
        if not self.old:
            return
        self.again(self.old[-1 - n % len(self.old)])

    def again(self, request: tuple[str, str, str, bytes]) -> None:
        """Deliver it; a refusal is as good as an answer."""
        client, server, action, body = request
        if server not in self.world.nodes or self.world.nodes[server].waiting:
            return
        try:
            self.serve(client, server, action, _open(body))
        except SyncError as error:
            self.world.count[f"refused {error.reason}"] += 1

    def passed_on(self, name: str, message: dict[str, Any]) -> None:
        """What was brought to `name` by somebody who may not write it is in none of its pages (G10)."""
        node = self.world.nodes[name]
        sql = "SELECT n.name, p.counter FROM handleref_sync_parked p JOIN handleref_sync_node n ON n.id = p.node_id"
        held = set(node.rows(f"{sql} WHERE p.reason = 'not-permitted'"))
        for change in from_message(message, settings.max_rows).changes if held else ():
            if tuple(change.version.dot) in held:
                raise Broken(f"G10 {name} passes on {change}, which it may not take itself")

    def forget(self, name: str) -> None:
        """Requests from before a restore are too old to be taken for new ones: their signatures have expired."""
        self.old = [request for request in self.old if name not in request[:2]]


class Wire:
    """The transport of one session of `step`."""

    def __init__(self, network: Network, step: Sync) -> None:
        self.network, self.world, self.step = network, network.world, step
        self.calls = 0
        self.faults = dict(step.faults)
        self.meanwhile = [at for at in step.meanwhile if not at.node]
        self._inner = MemoryTransport(self._handle)
        self.pace = self._inner.pace

    @property
    def bytes_sent(self) -> int:
        return self._inner.bytes_sent

    @property
    def bytes_received(self) -> int:
        return self._inner.bytes_received

    def begin(self, action: str, message: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """The call in two halves."""
        if not self.step.eager:
            return lambda: self.call(action, message)
        try:
            answer = self.call(action, message)
        except SyncError as error:
            return lambda error=error: _raise(error)  # type: ignore[misc]
        return lambda: answer

    def call(self, action: str, message: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        here, there = self.step.here, self.step.there
        self._happens(self.calls)
        self.world.now += 1
        if not self.world.linked(here, there):
            raise PeerUnreachable("The link is down.")
        if self.world.nodes[there].waiting and not informed(self.world, there, here):
            raise PeerUnreachable("It was restored, and waits for a peer that knows more of it.")
        fault = self.faults.get(self.calls)
        if fault is not None:
            self.world.count[fault] += 1
        body = wire.compress(wire.pack(message))
        if fault == "drop-request":
            raise PeerUnreachable("The request was lost.")
        self.network.old.append((here, there, action, body))
        if action == "push":
            self.network.passed_on(here, message)
        del self.network.old[:-KEPT]
        if fault == "cut-request":
            self._inner.call(action, {"cut": body[: len(body) * 2 // 3]})
        if fault == "delay":
            self.world.now += DELAY
        answer = self._inner.call(action, message)
        if fault in ("duplicate", "duplicate-late"):
            try:
                second = self._inner.call(action, message)
            except SyncError:
                second = answer
            answer = second if fault == "duplicate-late" else answer
        if fault == "drop-answer":
            raise PeerUnreachable("The answer was lost.")
        if fault == "cut-answer":
            body = wire.compress(wire.pack(answer))
            return _open(body[: len(body) * 2 // 3])
        return answer

    def _handle(self, action: str, message: dict[str, Any]) -> dict[str, Any]:
        if "cut" in message:
            return _open(message["cut"])  # raises on the server's side
        answer = self.network.serve(self.step.here, self.step.there, action, message)
        if action == "pull":
            self.network.passed_on(self.step.there, answer)
        return answer

    def _happens(self, n: int) -> None:
        due: list[At] = [at for at in self.meanwhile if at.n <= n]
        self.meanwhile = [at for at in self.meanwhile if at not in due]
        for at in due:
            self.world.nested(at.step)


def informed(world: World, restored: str, other: str) -> bool:
    """Whether `other` has met a higher counter of the present incarnation of `restored` than that has itself."""
    return bool(_seen(world, restored, other))


def _seen(world: World, restored: str, other: str) -> list[Any]:
    local = "handleref_sync_localnode l JOIN handleref_sync_node n ON n.id = incarnation_id"
    sql = f"SELECT n.name, l.sequence FROM {local}"
    name, sequence = world.nodes[restored].rows(sql)[0]
    found = "SELECT 1 FROM handleref_sync_node WHERE name = ? AND seen > ?"
    return world.nodes[other].rows(found, name, sequence)


def _open(body: bytes) -> dict[str, Any]:
    return wire.unpack_message(wire.decompress(body, "gzip", settings.max_plain))


def _raise(error: SyncError) -> dict[str, Any]:
    raise error
