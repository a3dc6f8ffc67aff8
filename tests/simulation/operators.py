"""What operators do to nodes: tombstones dropped, databases copied, moved and restored, rights given and taken."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from handleref_sync.conf import settings
from handleref_sync.exceptions import PlaceChanged
from handleref_sync.models import Peer
from handleref_sync.replication import lives
from handleref_sync.replication.hello import hello
from handleref_sync.replication.purging import purge
from handleref_sync.session import sync
from tests.simulation.network import Network, Wire, informed
from tests.simulation.oracle import Held, Oracle
from tests.simulation.steps import (
    Backup,
    Copy,
    Flags,
    Forget,
    Gc,
    Move,
    Pair,
    Restore,
    Revoke,
    Rights,
    Sync,
    Told,
)
from tests.simulation.world import Broken, Crashed, Node, World

if TYPE_CHECKING:
    from tests.simulation.steps import History

HOUR = 3_600_000
STAMPED = "SELECT sequence, incarnation_id FROM handleref_sync_localnode"


class Operators:
    """The part of a `Player` that acts for the operators."""

    world: World
    history: History
    network: Network
    oracle: Oracle

    def here(self, *names: str) -> bool:
        """Whether these nodes are there."""
        return all(name in self.world.nodes for name in names)

    def settled(self, *names: str) -> bool:
        """Whether they are there, and it is known of each what its database is."""
        return self.here(*names) and not any(self.world.nodes[name].strange for name in names)

    # -- who knows whom -------------------------------------------------------------------------------------------

    def _pair(self, step: Pair) -> None:
        if self.settled(step.a, step.b) and step.a != step.b:
            self.world.pair(step.a, step.b)

    def _forget(self, step: Forget) -> None:
        if self.settled(step.node, step.peer) and step.peer in self.world.peers(step.node):
            lives.forget(self.world.nodes[step.node].alias, step.peer)
            if not step.for_good:
                self.world.pair(step.node, step.peer)

    def _revoke(self, step: Revoke) -> None:
        if self.settled(step.node, step.peer) and step.peer in self.world.peers(step.node):
            with self.world.at(self.world.nodes[step.node]):
                lives.revoke(self.world.nodes[step.node].alias, step.peer)

    def _flags(self, step: Flags) -> None:
        self.permit(step.node, step.peer, relay=step.relay, can_pull=step.can_pull, can_push=step.can_push)

    def _rights(self, step: Rights) -> None:
        only = None if step.only is None else list(step.only)
        self.permit(step.node, step.peer, only_models=only, read_only=list(step.read_only))

    def permit(self, here: str, there: str, **flags: Any) -> None:
        """What `here` lets `there` do from now on."""
        if self.settled(here, there):
            Peer.objects.using(self.world.nodes[here].alias).filter(name=there).update(**flags)

    # -- tombstones -----------------------------------------------------------------------------------------------

    def _gc(self, step: Gc) -> None:
        # Whoever drops what is older than a day looks at the clock first.
        if not self.settled(step.node) or abs(self.world.nodes[step.node].now() - self.world.now) > HOUR:
            return
        node = self.world.nodes[step.node]
        before = Held(node).tombstones
        late = None if step.late is None else timedelta(seconds=step.late)
        with self.world.at(node):
            try:
                report = purge(node.alias, keep=timedelta(seconds=step.keep), older_than=late)
            except Crashed:
                node.restart()
                report = None
        after = Held(node).stamps
        gone = {record: clock for record, clock in before.items() if record not in after}
        self.oracle.purge(gone)
        self.world.count["tombstones dropped"] += len(gone)
        if report is not None:
            self.world.count["peers forgotten for being late"] += len(report.forgotten)
        if gone:  # requests that are older than what is dropped are not taken for new ones: they have expired
            self.network.forget(step.node)

    # -- where databases come from --------------------------------------------------------------------------------

    def _backup(self, step: Backup) -> None:
        if self.settled(step.node):
            node = self.world.nodes[step.node]
            node.backups.append(node.copied())

    def _restore(self, step: Restore) -> None:
        if not self.settled(step.node):
            return
        node = self.world.nodes[step.node]
        peers = self.world.peers(step.node)
        node.restore(node.backups[step.n % len(node.backups)])
        for peer in sorted(peers):
            self.world.pair(step.node, peer)
        self.network.forget(step.node)
        self.oracle.forget()
        node.waiting = True
        if step.elsewhere:
            node.place = self.world.another_place()
        if node.rows("SELECT place FROM handleref_sync_localnode") != [(node.place,)]:
            node.strange = "restored"  # or the backup is from before it was moved
        if step.told:
            self.operators_word(node)
        self.await_news()

    def _move(self, step: Move) -> None:
        if self.settled(step.node) and not self.world.nodes[step.node].waiting:
            node = self.world.nodes[step.node]
            node.place, node.strange = self.world.another_place(), "moved"

    def _copy(self, step: Copy) -> None:
        if not self.settled(step.node) or step.name in self.world.nodes or self.world.nodes[step.node].waiting:
            return
        original = self.world.nodes[step.node]
        source = original.copied() if step.n is None else original.backups[step.n % len(original.backups)]
        copy = self.world.add(step.name, source)
        copy.place, copy.strange, copy.original = self.world.another_place(), "copied", step.node
        self.strangers(copy)

    def _told(self, step: Told) -> None:
        if self.here(step.node) and self.world.nodes[step.node].strange:
            self.tell(self.world.nodes[step.node], step.peer)

    def tell(self, node: Node, peer: str = "") -> None:
        """The operator says what the database of `node` is."""
        if node.strange == "copied":
            self.strangers(node)
            vars(settings)["node"] = node.name
            try:
                with self.world.at(node):
                    lives.become(node.alias)
            finally:
                del vars(settings)["node"]
            node.strange = ""
            peer = peer if self.settled(peer) and peer != node.name else ""
            for other in filter(None, [peer, *([node.original] if self.settled(node.original) else [])][:1]):
                self.world.pair(node.name, other)
        elif node.strange == "restored":
            self.operators_word(node)
        else:
            with self.world.at(node):
                lives.moved(node.alias)
        node.strange = ""
        self.world.count["an operator said what a database is"] += 1

    def operators_word(self, node: Node) -> None:
        """The operator says that the database was restored."""
        with self.world.at(node):
            lives.restored(node.alias)
        node.waiting, node.strange = False, ""
        self.world.count["restored, and the operator said so"] += 1

    def await_news(self) -> None:
        """Restored nodes wait until one that knows more of them can be asked; the operator helps where none can."""
        for name, node in self.world.nodes.items():
            if node.waiting and not node.strange:
                knowing = {other for other in self.world.nodes if informed(self.world, name, other)}
                if knowing and not knowing & self.world.peers(name):
                    self.operators_word(node)
                node.waiting = bool(knowing) and node.waiting

    # -- what nobody has said anything about ----------------------------------------------------------------------

    def strangers(self, node: Node) -> None:
        """Whoever talks with a copy under the name of its original is refused, and nothing is stamped there."""
        sql = "SELECT name FROM handleref_sync_localnode"
        name = node.rows(sql)[0][0]
        for (peer,) in node.rows("SELECT name FROM handleref_sync_peer ORDER BY name"):
            if self.settled(peer):
                self.refused(node.name, peer, peer)
                self.refused(peer, node.name, name)
                self._in_the_middle(node, peer)

    def refused(self, here: str, there: str, name: str) -> None:
        """A session of `here` with `there`, which it knows as `name`, comes to nothing: one of them is strange."""
        client, server = self.world.nodes[here], self.world.nodes[there]
        peer = Peer.objects.using(client.alias).filter(name=name, revoked=None, lease="").first()
        known = server.rows("SELECT 1 FROM handleref_sync_peer WHERE name = ? AND revoked IS NULL", here)
        away = server.waiting or not self.world.linked(here, there)
        if peer is None or not (known or client.strange) or away:
            return
        strange = [node for node in (client, server) if node.strange]
        before = [node.rows(STAMPED) for node in strange]
        with self.world.at(client):
            report = sync(client.alias, peer, Wire(self.network, Sync(here, there)))
        self.world.count[f"sessions: {report.reason or 'to the end'}"] += 1
        if report.reason != "place-changed" or [node.rows(STAMPED) for node in strange] != before:
            raise Broken(f"G9 {here} syncs with {there}, of which nobody has said what it is: {report}")

    def _in_the_middle(self, node: Node, peer: str) -> None:
        """Nor does a session go on with a copy that was begun with the original: its address led elsewhere."""
        other = self.world.nodes[peer]
        name = node.rows("SELECT name FROM handleref_sync_localnode")[0][0]
        rows = Peer.objects.using(other.alias).filter(name=name).first()
        if rows is None or Peer.objects.using(node.alias).filter(name=peer, revoked=None).first() is None:
            return
        with self.world.at(other):
            message = hello(other.alias, rows).to_message()
        before = node.rows(STAMPED)
        try:
            self.network.serve(peer, node.name, "pull", message)
        except PlaceChanged:
            pass
        except Exception as error:
            raise Broken(f"G9 {node.name}, a copy, answers in the middle of a session: {error!r}") from error
        else:
            raise Broken(f"G9 {node.name}, a copy, gives a page in the middle of a session")
        if node.rows(STAMPED) != before:
            raise Broken(f"G9 {node.name}, a copy, stamps")
