"""Knows every write that was ever stamped anywhere, and what each of them wrote over."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import JSONField

from handleref_sync import registry
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Conflict
from handleref_sync.registry import Replicated
from handleref_sync.replication.cursors import Scope
from tests.simulation.database import WATCHED
from tests.simulation.world import Broken, Node, World

ENTRY = Conflict._meta.label_lower
Key = tuple[str, str]
"""Model and key."""
STAMP = (
    "SELECT s.pk, s.key, s.clock, s.timestamp, s.deleted, s.model_id, n.name, s.counter, m.label "
    "FROM handleref_sync_stamp s JOIN handleref_sync_node n ON n.id = s.node_id "
    "JOIN handleref_sync_replicatedmodel m ON m.id = s.model_id"
)


@dataclass
class Written:
    """One write. `parent`: the version that was current on its node, and that it replaced."""

    record: Key
    dot: Dot
    clock: VersionVector
    timestamp: int
    deleted: bool
    content: dict[str, Any] | None
    parent: Dot | None
    machine: bool


def plain(text: Any) -> str:
    """A primary key in the one form that is the same in stamps and rows."""
    return str(text).replace("-", "")


class Oracle:
    """Listens to what is stamped; says what is wrong as soon as it can be seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.writes: dict[tuple[Key, Dot], Written] = {}
        self.dots: dict[Dot, Written] = {}
        self.by_record: dict[Key, list[Written]] = defaultdict(list)
        self.purged: dict[Key, VersionVector] = {}
        """What the tombstones knew that were dropped anywhere."""
        self.gone: set[Key] = set()
        """Those records, as long as it is certain that somebody knows of the deletion."""
        self.buried: set[tuple[Key, Dot]] = set()
        """Those tombstones."""
        world.wrote = self.wrote

    # -- listening ------------------------------------------------------------------------------------------------

    def wrote(self, using: str, machine: bool) -> None:
        """A transaction of the node at `using` has given dots. They count once it is committed."""
        node = next(n for n in self.world.nodes.values() if n.alias == using)
        (me,) = node.rows("SELECT incarnation_id FROM handleref_sync_localnode")[0]
        noted = node.rows(f"SELECT id, stamp, old_node, old_counter, node, counter FROM {WATCHED} ORDER BY id")
        names = dict(node.rows("SELECT id, name FROM handleref_sync_node"))
        found = []
        for _, stamp, old_node, old_counter, author, counter in noted:
            if author == me:
                parent = None if old_node is None else Dot(names[old_node], old_counter)
                written = self._read(node, stamp, Dot(names[me], counter), parent, machine)
                if written is not None:
                    found.append(written)
        node.store.execute(using, f"DELETE FROM {WATCHED}")
        transaction.on_commit(lambda: [self.add(written) for written in found], using=using)

    def _read(self, node: Node, stamp: int, dot: Dot, parent: Dot | None, machine: bool) -> Written | None:
        row = node.rows(f"{STAMP} WHERE s.id = ?", stamp)
        pk, key, clock, timestamp, deleted, _, author, counter, label = row[0]
        if Dot(author, counter) != dot:
            return None  # it has another one already, within the same transaction
        history = VersionVector.of(dot) if clock is None else VersionVector.parse(clock)
        record = (label, plain(pk) if key is None else key)
        content = None if deleted else row_of(node, label, pk)
        return Written(record, dot, history, timestamp, bool(deleted), content, parent, machine)

    def add(self, written: Written) -> None:
        """A write is committed."""
        same = self.dots.get(written.dot)
        if same is not None and written.deleted and same.deleted and written.record == same.record in self.purged:
            return  # its own tombstone, which it had dropped, has come back with more that it knows
        if same is not None:
            raise Broken(f"G9 {written.dot} names two writes: {same} and {written}")
        before = self.writes.get((written.record, written.parent)) if written.parent else None
        if before is not None and before.timestamp >= written.timestamp:
            raise Broken(f"G7 {written} has no later timestamp than {before}, over which it was written")
        self.dots[written.dot] = self.writes[written.record, written.dot] = written
        self.by_record[written.record].append(written)

    # -- what a restore takes away --------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop the writes that no node holds any more in any form: nobody can ask for them."""
        held = [Held(node) for node in self.world.nodes.values()]
        for record in sorted(self.gone):
            if not any(h.dropped.unite(h.clock(record)).covers(self.purged[record]) for h in held):
                self.gone.remove(record)  # nobody may know any more that it was deleted
        for key, written in list(self.writes.items()):
            if not any(h.holds(written) for h in held) and not self.forgotten(key[0]).knows(written.dot):
                self.world.count["writes that a restore took away"] += 1
                del self.writes[key], self.dots[written.dot]
                self.by_record[written.record].remove(written)

    def purge(self, gone: dict[Key, tuple[Dot, VersionVector]]) -> None:
        """A node has dropped these tombstones."""
        for record, (dot, clock) in gone.items():
            self.purged[record] = self.purged.get(record, VersionVector()).unite(clock)
            self.buried.add((record, dot))
            self.gone.add(record)

    def deleted(self, held: Held) -> None:
        """Of a record whose tombstone was dropped, a node has one: who dropped it lets this one rest, too."""
        for record, (_, clock) in held.tombstones.items() if self.purged else ():
            if record in self.purged:
                self.purged[record] = self.purged[record].unite(clock)

    def forgotten(self, record: Key) -> VersionVector:
        """What may be known of the record by none that has incorporated it, for its tombstone was dropped."""
        return self.purged.get(record, VersionVector())

    # -- what has to hold at any time -----------------------------------------------------------------------------

    def check(self, one: str, other: str) -> None:
        """After a session: what each of the two has read of the other, and what its vector says, it holds (G4)."""
        both = [Held(self.world.nodes[name]) for name in (one, other)]
        for held in both:
            self.deleted(held)
        self._check(*both)
        self._check(*reversed(both))

    def _check(self, held: Held, other: Held) -> None:
        vector, reader, feed = held.vector, held.node.name, other.node.name
        for written in self.writes.values():
            if (
                vector.knows(written.dot)
                and not held.holds(written)
                and not self.forgotten(written.record).knows(written.dot)
            ):
                raise Broken(f"G4 the vector of {reader} covers {written.dot}, and it does not hold {written}")
        position = held.position(feed)
        if position is None:
            return
        for record, clock in other.up_to(*position):
            if not held.clock(record).unite(self.forgotten(record)).covers(clock):
                raise Broken(f"G4 {reader} has read {feed} up to {position[0]}, and lacks {clock} of {record}")


class Held:
    """What one node has: stamps and parked versions, by record."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.stamps: dict[Key, VersionVector] = {}
        self.sequences: list[tuple[int, str, Key, VersionVector]] = []
        self.tombstones: dict[Key, tuple[Dot, VersionVector]] = {}
        written = set(node.rows("SELECT model, pk FROM handleref_sync_capture"))
        for pk, key, clock, _, deleted, number, author, counter, label, sequence in node.rows(
            STAMP.replace(" FROM", ", s.sequence FROM", 1)
        ):
            record = (label, plain(pk) if key is None else key)
            history = VersionVector.of(Dot(author, counter)) if clock is None else VersionVector.parse(clock)
            self.stamps[record] = history
            if deleted:
                self.tombstones[record] = Dot(author, counter), history
            if (number, pk) not in written:  # else it is left out of a page: it comes with its next stamp
                self.sequences.append((sequence, author, record, history))
        self.parked: dict[Key, VersionVector] = {}
        for label, key, clock, sequence, author, reason in node.rows(
            "SELECT p.model, p.key, p.clock, p.sequence, n.name, p.reason FROM handleref_sync_parked p "
            "JOIN handleref_sync_node n ON n.id = p.node_id"
        ):
            record = (label, plain(key) if label in _by_pk(node) else key)
            history = VersionVector.parse(clock)
            self.parked[record] = self.parked.get(record, VersionVector()).unite(history)
            if reason != "not-permitted":
                self.sequences.append((sequence, author, record, history))

    def clock(self, record: Key) -> VersionVector:
        """All that is known of the record here."""
        nothing = VersionVector()
        return self.stamps.get(record, nothing).unite(self.parked.get(record, nothing))

    def holds(self, written: Written) -> bool:
        """Whether it, or one that knew it, is here."""
        return self.clock(written.record).knows(written.dot)

    @property
    def dropped(self) -> VersionVector:
        return VersionVector.parse(self.node.rows("SELECT dropped FROM handleref_sync_localnode")[0][0])

    @property
    def vector(self) -> VersionVector:
        return VersionVector(dict(self.node.rows("SELECT name, vector FROM handleref_sync_node")))

    def position(self, feed: str) -> tuple[int, Scope] | None:
        """How far it has read the feed of that peer, if that still counts there; and what that exchange is about."""
        other = self.node.world.nodes[feed]
        mine = self.node.rows(
            "SELECT pull_sequence, pull_token, pull_scope FROM handleref_sync_peer WHERE name = ?", feed
        )
        theirs = other.rows("SELECT given, given_scope FROM handleref_sync_peer WHERE name = ?", self.node.name)
        if not mine or not theirs:
            return None
        (sequence, token, scope), (given, given_scope) = mine[0], theirs[0]
        if scope != given_scope or [sequence, token] not in _parsed(given):
            return None
        return sequence, self.node.world.scopes[scope]

    def up_to(self, sequence: int, scope: Scope) -> list[tuple[Key, VersionVector]]:
        """What this node's feed has up to there, of what is in that scope."""
        mine = self.node.name
        whole = scope.models == frozenset(registry.replicated(self.node.alias))
        models = scope.models if whole else scope.models - {ENTRY}  # an entry goes where its record goes
        return [
            (record, clock)
            for number, author, record, clock in self.sequences
            if number <= sequence and (not scope.own_only or author.partition("~")[0] == mine) and record[0] in models
        ]


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _by_pk(node: Node) -> set[str]:
    return {label for label, model in registry.replicated(node.alias).items() if model.identity == "pk"}


def row_of(node: Node, label: str, pk: Any) -> dict[str, Any] | None:
    """A row as it stands in the table; a foreign key by the key of what it refers to."""
    model = registry.replicated(node.alias)[label]
    found = node.rows(f"{select(model)} WHERE CAST({quoted(model.pk_column)} AS TEXT) = ?", str(pk))
    return content_of(model, found[0], lambda label, pk: _key(node, label, pk)) if found else None


def select(model: Replicated) -> str:
    """SQL for the primary key as text and all replicated columns."""
    names = ", ".join(quoted(column.column) for column in model.columns)
    return f"SELECT CAST({quoted(model.pk_column)} AS TEXT), {names} FROM {quoted(model.table)}"


def content_of(model: Replicated, row: tuple[Any, ...], key: Callable[[str, str], Any]) -> dict[str, Any]:
    """What a row of `select` says. `key`: from (model, primary key) to a key."""
    content = {}
    for column, value in zip(model.columns, row[1:], strict=True):
        if value is not None and column.target is not None and column.to is None:
            value = key(column.target, str(value))
        elif isinstance(value, str) and isinstance(column.field, JSONField):
            value = json.loads(value)
        content[column.name] = value
    return content


def _key(node: Node, label: str, pk: str) -> Any:
    found = node.rows(f"{STAMP} WHERE m.label = ? AND s.pk = ? AND NOT s.deleted", label, pk)
    if not found:
        return ("pk", pk)  # it waits to be stamped
    return plain(pk) if found[0][1] is None else found[0][1]


def quoted(name: str) -> str:
    return f'"{name}"'


def alike(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    """Whether two writes wrote the same. A reference to what was not stamped then is taken for any."""
    if one is None or other is None:
        return one is other
    return all(
        one[name] == other[name] or any(isinstance(v, tuple) for v in (one[name], other[name])) for name in one
    )
