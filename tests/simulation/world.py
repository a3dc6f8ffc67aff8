"""Nodes with databases, clocks and processes of their own, all in one Python process."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from django.db import connections

from handleref_sync import registry, session
from handleref_sync.capture.mysql import MySQL
from handleref_sync.capture.postgresql import PostgreSQL
from handleref_sync.capture.sqlite import SQLite
from handleref_sync.conf import settings
from handleref_sync.replication import cursors, feed, hello, ledger, place, plan, purging, stamping, unseen, verifying
from handleref_sync.transport import pairing
from tests.simulation.database import PREFIX, Memory
from tests.simulation.steps import At, Crash

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|WITH)\b", re.IGNORECASE)
BEGINNING = 1_750_000_000_000


class Crashed(BaseException):
    """The process is dead. No handler of the library may catch it."""


class Broken(BaseException):
    """A guarantee does not hold. The first word says which. No handler of the library may catch it."""


class Node:
    """One node: its database, its wall clock, whether its process lives."""

    def __init__(self, world: World, name: str, source: Any = None) -> None:
        self.world, self.name, self.alias = world, name, f"{PREFIX}{name}"
        self.place = f"at {name}"
        """Where its database is."""
        self.strange = ""
        """What became of the database, as long as no operator has said it: copied, moved, restored elsewhere."""
        self.original = ""
        """Of which node it is a copy."""
        self.offset = self.drift = self.since = 0
        self.waiting = False
        """Whether it was restored and has not yet heard how much of it others have seen."""
        self.statements = 0
        self.crash: Crash | None = None
        self.dead = False
        self.meanwhile: list[At] = []
        self.store = world.store
        self.store.open(self.alias)
        self.start(self.store.born() if source is None else source)
        if source is None:
            sql = "UPDATE handleref_sync_localnode SET name = ?, place = ?"
            self.store.execute(self.alias, sql, (name, self.place))
            self.store.execute(self.alias, "UPDATE handleref_sync_node SET name = ?", (name,))
        self.backups = [self.copied()]

    def copied(self) -> Any:
        """A copy of its database, as it is now."""
        return self.store.copy(self.alias)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the database holds: this is no statement of the node."""
        return self.store.rows(self.alias, sql, parameters)

    def start(self, source: Any = None) -> None:
        """A new process, over the database that `source` has, or over what was committed here."""
        connection = self.store.start(self.alias, source, self.now)
        connection.execute_wrappers.append(self._around)
        self.dead, self.crash, self.meanwhile, self.statements = False, None, [], 0

    def restart(self) -> None:
        """The process has died: what was not committed is gone."""
        self.start()

    def restore(self, backup: Any) -> None:
        """A new process, over the database that a backup has."""
        self.start(backup)

    def now(self) -> int:
        """Its wall clock, in milliseconds since 1970."""
        passed = self.world.now - self.since
        return max(0, self.world.now + self.offset + passed * self.drift // 1_000_000)

    def _around(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self.dead or context["connection"] is not connections[self.alias]:
            raise Crashed  # the latter: the node was started anew meanwhile, and this is its old process
        self.statements += 1
        if self.meanwhile and not context["connection"].in_atomic_block:
            due = [at for at in self.meanwhile if at.n <= self.statements]
            self.meanwhile = [at for at in self.meanwhile if at not in due]
            for at in due:
                self.world.nested(at.step)
            if context["connection"] is not connections[self.alias]:
                raise Crashed
        crash = self.crash if self.crash is not None and self.crash.statement <= self.statements else None
        if crash is not None and not crash.after:
            self.die()
        if WRITES.match(sql if isinstance(sql, str) else ""):
            self.store.tell_time(self.alias, self.now())
        result = execute(sql, params, many, context)
        if crash is not None:
            self.die()
        return result

    def die(self) -> None:
        """From here on this process does nothing any more."""
        self.dead = True
        self.world.count["crashes"] += 1
        raise Crashed


class World:
    """All nodes, the time, and what links them."""

    def __init__(self, store: Any = None) -> None:
        self.store = store or Memory()
        """Where the databases are: a `Memory`, or a `servers.Server`."""
        self.now = BEGINNING
        self.nodes: dict[str, Node] = {}
        self.cut: set[frozenset[str]] = set()
        self.count: Counter[str] = Counter()
        self.acting: list[Node] = []
        self.nested: Callable[[Any], None] = lambda step: None
        self.wrote: Callable[[str, bool], None] = lambda using, machine: None
        self.scopes: dict[str, cursors.Scope] = {}
        """By the names under which cursors are kept: what each exchange is about."""
        self.processes: list[int] = []
        """Of the sessions that run now, the innermost last."""
        self._serial = 0

    def add(self, name: str, source: Any = None) -> Node:
        """A new node, with an empty database; or one that is a copy of `source`."""
        self.nodes[name] = node = Node(self, name, source)
        return node

    def another_place(self) -> str:
        """One where no database ever was."""
        return f"at place {self.serial()}"

    def place(self, alias: str) -> str:
        """Where the database of that alias is."""
        return next((node.place for node in self.nodes.values() if node.alias == alias), "")

    def serial(self) -> int:
        """A number that was never given: what stands for chance."""
        self._serial += 1
        return self._serial

    @contextmanager
    def at(self, node: Node) -> Iterator[Node]:
        """`node` is what acts."""
        self.acting.append(node)
        try:
            yield node
        finally:
            self.acting.pop()

    def clock(self) -> int:
        """The wall clock of whoever acts."""
        return self.acting[-1].now() if self.acting else self.now

    def pair(self, one: str, other: str) -> None:
        """Two nodes are paired, unless both believe each other already. Each remembers what `pairing` does."""
        ways = ((one, other), (other, one))
        sql = "SELECT 1 FROM handleref_sync_peer WHERE name = ? AND revoked IS NULL"
        if all(self.nodes[here].rows(sql, there) for here, there in ways):
            return
        for here, there in ways:
            with self.at(self.nodes[here]):
                pairing._save(self.nodes[here].alias, there, "", b"", read_only=[])

    def peers(self, name: str) -> set[str]:
        """Whom the node knows, and who knows it."""
        mine = {row[0] for row in self.nodes[name].rows("SELECT name FROM handleref_sync_peer")}
        sql = "SELECT 1 FROM handleref_sync_peer WHERE name = ?"
        return {peer for peer in mine if peer in self.nodes and self.nodes[peer].rows(sql, name)}

    def linked(self, one: str, other: str) -> bool:
        """Whether a request gets through."""
        return frozenset((one, other)) not in self.cut

    @contextmanager
    def running(self) -> Iterator[World]:
        """The library knows this world's time and chance instead of the machine's, until the end."""
        chance = SimpleNamespace(
            token_hex=lambda size=4: f"{self.serial():0{size * 2}x}", token_urlsafe=lambda size=9: f"t{self.serial()}"
        )
        with ExitStack() as stack:
            for module in (ledger, stamping, feed, plan, hello, purging, unseen):
                stack.enter_context(patch.object(module, "now_ms", self.clock))
            for module in (cursors, place, session, verifying):
                stack.enter_context(patch.object(module, "secrets", chance))
            stack.enter_context(patch.object(session, "os", SimpleNamespace(getpid=self._pid, kill=self._kill)))
            stack.enter_context(patch("django.utils.timezone.now", self._moment))
            for vendor in (SQLite, PostgreSQL, MySQL):
                stack.enter_context(patch.object(vendor, "place", lambda vendor: self.place(vendor.connection.alias)))
            self._observe(stack)
            try:
                yield self
            finally:
                self.rows_a_page(None)
                for node in self.nodes.values():
                    for backup in node.backups:
                        self.store.discard(backup)
                    self.store.close(node.alias)
                    registry.forget(node.alias)

    def rows_a_page(self, rows: int | None) -> None:
        """What the setting PAGE_ROWS is from now on, without the registry being made anew."""
        vars(settings).pop("page_rows", None)
        if rows is not None:
            vars(settings)["page_rows"] = rows

    def _observe(self, stack: ExitStack) -> None:
        from handleref_sync.replication.applier import Applier

        stamped, wrote = Applier._stamp, ledger.Ledger.wrote
        machine: list[bool] = []

        def by_machine(applier: Any, plans: Any, writer: Any) -> None:
            machine.append(True)
            try:
                stamped(applier, plans, writer)
            finally:
                machine.pop()

        def told(books: Any, counter: int) -> None:
            wrote(books, counter)
            self.wrote(books.using, bool(machine))

        named = cursors.Scope.name

        def name(scope: cursors.Scope) -> str:
            found = named(scope)
            self.scopes[found] = scope
            return found

        stack.enter_context(patch.object(cursors.Scope, "name", name))
        stack.enter_context(patch.object(Applier, "_stamp", by_machine))
        stack.enter_context(patch.object(ledger.Ledger, "wrote", told))

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self.clock() / 1000, UTC)

    def _pid(self) -> int:
        return self.processes[-1] if self.processes else 1

    def _kill(self, pid: int, signal: int) -> None:
        if pid not in self.processes:
            raise ProcessLookupError(pid)
