"""Plays a history: the list of steps, then healing, then the checks."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from handleref_sync.exceptions import ConfigurationError, SyncError, SyncInProgress
from handleref_sync.models import Conflict, Peer
from handleref_sync.replication.conflicts import restore
from handleref_sync.session import Report, sync
from tests.simulation import (
    checks,
    kinds,  # noqa: F401 - they register themselves
    permitted,
)
from tests.simulation.generate import links
from tests.simulation.network import Network, Wire, informed
from tests.simulation.operators import Operators
from tests.simulation.oracle import Oracle
from tests.simulation.steps import (
    Clock,
    Flags,
    Gc,
    History,
    Join,
    Late,
    Link,
    Rights,
    Step,
    Sync,
    Wait,
    Write,
    WriteBack,
)
from tests.simulation.world import Broken, Crashed, Node, World
from tests.simulation.writes import write

ROWS = 2000
DAY = 86_400_000


@dataclass
class Result:
    """What came of a history. `broken`: what does not hold, beginning with the guarantee; empty: all does."""

    broken: str = ""
    error: BaseException | None = None
    count: Counter[str] = field(default_factory=Counter)
    digest: str = ""

    @property
    def kind(self) -> str:
        """What is broken, in a word: a shorter history that breaks something else is not the same fault."""
        return self.broken.split(" ")[0]


def play(history: History, store: Any = None) -> Result:
    """Play it. Errors that no step explains are faults as well. `store`: where the databases are; None: in memory."""
    world = World(store)
    result = Result(count=world.count)
    player = Player(world, history)
    try:
        with world.running():
            player.run()
            result.digest = player.digest()
    except Broken as error:
        result.broken, result.error = str(error), error
    except Exception as error:
        result.broken, result.error = f"{type(error).__name__} {error}", error
    return result


class Player(Operators):
    """Carries out steps. A step that makes no sense, as where a node is not there yet, does nothing."""

    def __init__(self, world: World, history: History) -> None:
        self.world, self.history = world, history
        self.network = Network(world)
        self.oracle = Oracle(world)
        self.rows = ROWS
        world.nested = self.do

    def run(self) -> None:
        for name in self.history.nodes:
            if name not in self.history.late:
                self.join(name)
        for step in self.history.steps:
            self.do(step)
        self.heal()
        checks.Checks(self).all()
        self.clean()

    def do(self, step: Step) -> None:
        """One step."""
        self.world.count[type(step).__name__] += 1
        getattr(self, f"_{type(step).__name__.lower()}")(step)

    # -- what the application and the operators do ----------------------------------------------------------------

    def _write(self, step: Write) -> None:
        if self.here(step.node):
            node = self.world.nodes[step.node]
            self.world.now += step.value % 3  # writes of different nodes within one millisecond, too
            done = False
            with self.world.at(node):
                try:
                    done = write(node.alias, step)
                except Crashed:  # within a session, at whose statements it was to die
                    node.restart()
            self.world.count["writes done" if done else "writes refused"] += 1

    def _writeback(self, step: WriteBack) -> None:
        if not self.here(step.node):
            return
        node = self.world.nodes[step.node]
        entries = [row[0] for row in node.rows("SELECT id FROM handleref_sync_conflict ORDER BY id")]
        if not entries:
            return
        entry = entries[step.n % len(entries)]
        with self.world.at(node):
            if step.dismiss:
                Conflict.objects.using(node.alias).filter(pk=entry).update(dismissed=True)
                return
            try:
                restore(node.alias, entry)
                self.world.count["losers written back"] += 1
            except ConfigurationError:
                self.world.count["losers that can't be written back"] += 1

    def join(self, name: str) -> None:
        """The node is set up, and paired with those of its links that are there."""
        if not self.here(name):
            self.world.add(name)
            for one, other in self.history.links:
                if name in (one, other) and self.here(one, other):
                    self.world.pair(one, other)

    def _join(self, step: Join) -> None:
        self.join(step.node)

    def _wait(self, step: Wait) -> None:
        self.world.now += step.seconds * 1000

    def _clock(self, step: Clock) -> None:
        if self.here(step.node):
            node = self.world.nodes[step.node]
            node.offset, node.drift, node.since = step.offset, step.drift, self.world.now

    # -- the network ----------------------------------------------------------------------------------------------

    def _link(self, step: Link) -> None:
        pair = frozenset((step.a, step.b))
        (self.world.cut.discard if step.up else self.world.cut.add)(pair)

    def _late(self, step: Late) -> None:
        self.network.late(step.n)

    def _sync(self, step: Sync) -> None:
        if self.here(step.here, step.there):
            self.sync(step)

    def sync(self, step: Sync) -> Report | None:
        """A session. None where there is none, or its process dies."""
        world, node = self.world, self.world.nodes[step.here]
        if not self.settled(step.here, step.there):
            self.refused(step.here, step.there, step.there)
            return None
        if step.there not in world.peers(step.here):
            return None
        if node.waiting and not informed(world, step.here, step.there):
            return None
        both = (node, world.nodes[step.there])
        alone = not (world.acting or step.meanwhile)
        before = [permitted.kept(*pair) for pair in self._ways(step)] if alone else []
        self._prepare(step)
        rows, self.rows = self.rows, step.rows
        world.rows_a_page(self.rows)
        world.processes.append(1000 + world.serial())
        report = None
        try:
            with world.at(node):
                peer = Peer.objects.using(node.alias).get(name=step.there)
                report = sync(node.alias, peer, Wire(self.network, step))
        except SyncInProgress:
            world.count["sessions while another one ran"] += 1
        except Crashed:
            node.restart()
        finally:
            world.processes.pop()
            self.rows = rows
            world.rows_a_page(self.rows)
            for one in both:
                one.crash, one.meanwhile = None, []
        for (one, other), found in zip(self._ways(step), before, strict=False):
            permitted.unchanged(found, one, other)
        self._after(step, report)
        return report

    def _ways(self, step: Sync) -> list[tuple[Node, str]]:
        return [(self.world.nodes[step.here], step.there), (self.world.nodes[step.there], step.here)]

    def _prepare(self, step: Sync) -> None:
        for at in step.meanwhile:
            if at.node and self.here(at.node):
                node = self.world.nodes[at.node]
                node.meanwhile.append(replace(at, n=node.statements + at.n))
        if step.crash is not None and self.here(step.crash.node):
            node = self.world.nodes[step.crash.node]
            node.crash = replace(step.crash, statement=node.statements + step.crash.statement)

    def _after(self, step: Sync, report: Report | None) -> None:
        count = self.world.count
        if report is not None:
            count[f"sessions: {report.reason or 'to the end'}"] += 1
            count["changes moved"] += report.pulled + report.pushed
            count["conflicts"] += report.conflicts
            count["parked"] += report.parked
            if report.reason == SyncError.reason:
                raise Broken(f"unforeseen, {step.here} with {step.there}: {report.error}")
            if report.reason == "restore-claimed":
                for here, there in ((step.here, step.there), (step.there, step.here)):
                    if informed(self.world, here, there):
                        self.operators_word(self.world.nodes[here])
        for name in (step.here, step.there):
            sql = "SELECT model, detail FROM handleref_sync_parked WHERE detail LIKE 'one dot, two contents%'"
            if found := self.world.nodes[name].rows(sql):
                raise Broken(f"G9 {name}: {found}")
        self.await_news()
        if not self.world.acting:  # not within another one: its server may be in the middle of something
            self.oracle.check(step.here, step.there)

    # -- healing --------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """All links are up, all clocks right, all nodes there, and enough of them may pass everything on."""
        world = self.world
        world.cut.clear()
        for name in self.history.nodes:
            self.join(name)
        for node in world.nodes.values():
            node.offset = node.drift = 0
            if node.strange:
                self.tell(node)
        names = tuple(world.nodes)
        self.pairs = links(self.history.shape, names, random.Random(len(names)))
        for one, other in self.pairs:
            world.pair(one, other)
        for here in names:
            for there in sorted(world.peers(here)):
                self._rights(Rights(here, there))
                if (here, there) in self.pairs or (there, here) in self.pairs:
                    self._flags(Flags(here, there))
        for name, node in world.nodes.items():
            for other in sorted(world.peers(name)):
                if node.waiting and informed(world, name, other):
                    self.sync(Sync(name, other))
        self.await_news()
        checks.settle(self)

    def clean(self) -> None:
        """Where tombstones were dropped in the history, all that can go go now; and all comes to rest once more."""
        if not self.oracle.purged:
            return
        self.world.now += 3 * DAY
        for name in self.world.nodes:
            self._gc(Gc(name, keep=DAY // 1000))
        checks.settle(self)
        checks.Checks(self).state_of_all()

    def digest(self) -> str:
        """All that there is at the end, in a word: two plays of a history have the same."""
        found = [*checks.everything(self.world).items(), *sorted(self.world.count.items()), self.world.now]
        return hashlib.sha256(repr(found).encode()).hexdigest()
