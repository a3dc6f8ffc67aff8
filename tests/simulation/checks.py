"""Comes to rest, and then looks whether all guarantees hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from handleref_sync import registry, wire
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.replication.collisions import uniques
from tests.simulation.oracle import ENTRY, STAMP, Held, Written, alike, plain, row_of
from tests.simulation.state import state
from tests.simulation.steps import Flags, Sync
from tests.simulation.world import Broken, Node, World

if TYPE_CHECKING:
    from tests.simulation.play import Player

PARKED = (
    'SELECT model, "key", reason, waits_for, timestamp, data, detail FROM handleref_sync_parked ORDER BY sequence'
)

ECHO = "SELECT 1 FROM handleref_sync_capture WHERE op <> 'D'"
"""At rest nobody writes. A deletion may be noted all the same: of a row that no trigger saw go."""


def everything(world: World) -> dict[str, Any]:
    """By node, all that no repeated message may change: rows, stamps, log, what is parked, vectors, the sequence."""
    return {
        name: (
            state(node),
            node.rows("SELECT sequence FROM handleref_sync_localnode"),
            node.rows(PARKED),
            node.rows("SELECT count(*) FROM handleref_sync_capture"),
            node.rows("SELECT name, vector, seen FROM handleref_sync_node ORDER BY name"),
        )
        for name, node in world.nodes.items()
    }


def without_vectors(found: dict[str, Any]) -> dict[str, Any]:
    """What a session at rest may not change either: only over a link that was not used does it learn of vectors."""
    return {name: parts[:-1] for name, parts in found.items()}


def sequences(world: World) -> list[Any]:
    return [node.rows("SELECT sequence FROM handleref_sync_localnode") for node in world.nodes.values()]


def rest(player: Player, pairs: Iterable[tuple[str, str]]) -> None:
    """Rounds over `pairs` until one moves nothing and takes no sequence (G6)."""
    world, pairs = player.world, list(pairs)
    for _ in range(4 * len(world.nodes) + 24):
        before, moved, errors = sequences(world), 0, []
        for one, other in pairs:
            report = player.sync(Sync(one, other, rows=player.rows))
            if report is None or report.error:
                errors.append(f"{one} with {other}: {'no session' if report is None else report.error}")
            else:
                moved += report.pulled + report.pushed + report.conflicts
                if report.settled is bool(world.nodes[one].rows(PARKED)):
                    raise Broken(f"G1 the report of {one} says settled: {report.settled}")
            for name in (one, other):
                if report is not None and world.nodes[name].rows(ECHO):
                    raise Broken(f"G6 what {name} applied was captured as a write of its own")
        if not errors and not moved and sequences(world) == before:
            return
        pairs.reverse()  # so that what comes from one end of a chain gets to the other in one round
    raise Broken(f"G6 it does not come to rest: {moved} moved, errors: {errors}")


def rejoining(player: Player) -> list[tuple[str, str]]:
    """Links that nothing needs, of which a side has yet to show all that it has: another tombstone may know more."""
    sql = "SELECT name FROM handleref_sync_peer WHERE rejoining"
    found = {(one, other) for one, node in player.world.nodes.items() for (other,) in node.rows(sql)}
    mutual = {(one, other) for one, other in found if other in player.world.peers(one)}
    return sorted({(min(pair), max(pair)) for pair in mutual})


def settle(player: Player) -> None:
    """Come to rest; then operators and time settle what they alone can."""
    world = player.world
    for _ in range(12):
        rest(player, player.pairs)
        if back := rejoining(player):
            for one, other in back:
                player.world.pair(one, other)  # again, where one has revoked the other
                player._flags(Flags(one, other))
                player._flags(Flags(other, one))
            rest(player, [*player.pairs, *back])
        parked = [(node, row) for node in world.nodes.values() for row in node.rows(PARKED)]
        ahead = [row[4] for _, row in parked if row[2] == "clock-ahead"]
        unique = [(node, row) for node, row in parked if row[2] == "unique"]
        if ahead:
            world.now = max(world.now, (max(ahead) >> 16) + 1000)
            world.count["waits until a wrong timestamp has come"] += 1
        elif unique:
            first = unique[0][0]
            for node, row in unique:
                if node is first:
                    _make_room(player, node, row)
        else:
            break
    for node, row in parked:
        if not _explained(player, row):
            raise Broken(f"G8 {node.name} keeps parked: {row}")


def _explained(player: Player, row: tuple[Any, ...]) -> bool:
    """Whether it waits for a record that a restore took away before anybody else had it."""
    _, _, reason, waits_for, *_ = row
    known = {f"{label} {key}" for node in player.world.nodes.values() for label, key in Held(node).stamps}
    return reason == "parent-missing" and player.world.count["Restore"] > 0 and waits_for not in known


def _make_room(player: Player, node: Node, row: tuple[Any, ...]) -> None:
    """The operator of `node` gives the row that is in the way of a parked one another unique value."""
    label, data = row[0], wire.unpack_message(row[5])
    model = registry.replicated(node.alias)[label].model
    values = dict(zip(data["fields"], data["values"], strict=True))
    player.world.count["unique values that an operator changed"] += 1
    with player.world.at(node):
        for unique in uniques(model):
            fields = [model._meta.get_field(name) for name in unique.fields]
            if any(field.is_relation or field.name not in values for field in fields):
                continue
            lookup = "__iexact" if unique.expressions else ""
            wanted = {f"{field.attname}{lookup}": values[field.name] for field in fields}
            if None in wanted.values():
                continue
            last = fields[-1]
            number = player.world.serial()
            code = chr(65 + number // 26 % 26) + chr(65 + number % 26)
            other = f"{code}{number}"[: last.max_length] if last.max_length else 1_000_000 + number
            model._base_manager.using(node.alias).filter(**wanted).update(**{last.name: other})


class Checks:
    """What has to hold at the end. `player` has come to rest."""

    def __init__(self, player: Player) -> None:
        self.player, self.world, self.oracle = player, player.world, player.oracle
        self.nodes = list(self.world.nodes.values())
        self.moving = set(player.pairs)
        self.dropped = {(record, str(dot)) for record, dot in self.oracle.buried}
        """Tombstones that some have dropped and others not yet."""

    def all(self) -> None:
        self.state_of_all()
        self.again()

    def state_of_all(self) -> None:
        """What can be seen without another message."""
        self.nothing_comes_back()
        self.equal()
        self.nothing_lost()
        self.rows_are_whole()

    def equal(self) -> None:
        """G1"""
        first, *others = self.nodes
        expected = self._comparable(state(first))
        for node in others:
            found = self._comparable(state(node))
            for part in ("rows", "stamps", "log"):
                if found[part] != expected[part]:
                    raise Broken(
                        f"G1 {part} of {first.name} and {node.name}: {_difference(expected[part], found[part])}"
                    )
        self.state = expected

    def _comparable(self, found: dict[str, dict[Any, Any]]) -> dict[str, dict[Any, Any]]:
        """Without the tombstones that some have dropped and others not yet, and without what only those knew."""
        for record, known in self.oracle.purged.items():
            stamp = found["stamps"].get(record)
            if stamp is not None and stamp[3]:
                self.dropped.add((record, stamp[0]))
                del found["stamps"][record]
            elif stamp is not None:
                found["stamps"][record] = (stamp[0], str(VersionVector.parse(stamp[1]).unite(known)), *stamp[2:])
        return found

    def nothing_comes_back(self) -> None:
        """What was deleted before its tombstone was dropped is not there again."""
        for node in self.nodes:
            for pk, key, _, _, deleted, _, author, counter, label in node.rows(STAMP):
                record = (label, plain(pk) if key is None else key)
                gone = not deleted and record in self.oracle.gone
                if gone and self.oracle.forgotten(record).knows(Dot(author, counter)):
                    raise Broken(f"G9 {record} is back on {node.name} as {author}:{counter}, which was deleted")

    def nothing_lost(self) -> None:
        """G2 and G7, against every write that was ever stamped and that anybody still could know."""
        node = self.nodes[0]
        models = registry.replicated(node.alias)
        current, marks = {}, {}
        for (label, key), (dot, _, _, _, carried) in self.state["stamps"].items():
            current[label, key] = dot
            marks[label, key] = {str(mark.dot) for mark in carried.values()}
        logged, joint = set(), defaultdict(list)
        for label, key, author, counter, aspect in self.state["log"]:
            record = (label, plain(key) if models[label].identity == "pk" else key)
            logged.add((*record, f"{author}:{counter}"))
            if aspect.startswith("@"):  # what lost had fields of several writes
                joint[record].append(VersionVector.parse(aspect[1:]))
        parked = Held(node).parked
        for record, writes in self.oracle.by_record.items():
            parents = {written.parent for written in writes}
            # What a cascade of the machine's removes, the deleter did not know.
            seen = {written.parent for written in writes if not (written.machine and written.deleted)}
            good = []
            for written in writes:
                dot = str(written.dot)
                if dot == current.get(record) and written.dot in parents:
                    raise Broken(f"G7 {written} is current, and was written over")
                if (
                    (dot == current.get(record) or dot in marks.get(record, ()))
                    or (*record, dot) in logged
                    or any(clock.knows(written.dot) for clock in joint.get(record, ()))
                    or written.dot in seen
                    or (record in parked and parked[record].knows(written.dot))
                    or (record, dot) in self.dropped
                    or self._known_by_a_product(models, written, writes)
                ):
                    good.append(written)
            for written in writes:
                alone = not any(
                    written.deleted == other.deleted and alike(written.content, other.content) for other in good
                )
                if alone and models[record[0]].by_field:
                    alone = not self._in_its_fields(written, good)
                if alone and not (record[0] == ENTRY and record in current):
                    raise Broken(f"G2 {written} is lost; {current.get(record)} is current")

    def _known_by_a_product(self, models: Any, written: Written, writes: list[Written]) -> bool:
        """Where versions are joined by fields, or the machine writes, what was known is not a single version."""
        mixed = models[written.record[0]].by_field
        return any(
            (mixed or (other.machine and not other.deleted))
            and other.dot != written.dot
            and other.clock.knows(written.dot)
            for other in writes
        )

    def _in_its_fields(self, written: Written, good: list[Written]) -> bool:
        """Whether another one wrote the same in the fields that this write changed: of more it says nothing."""
        before = self.oracle.writes.get((written.record, written.parent)) if written.parent else None
        if before is None or before.content is None or written.content is None:
            return False
        mine, old = written.content, before.content
        changed = {name: value for name, value in mine.items() if name not in old or old[name] != value}
        contents = [other.content for other in good if other.content is not None]
        return any(all(content.get(name) == value for name, value in changed.items()) for content in contents)

    def rows_are_whole(self) -> None:
        """Nothing dangles, each row has its stamp and each stamp its row, with the content that was written."""
        for node in self.nodes:
            dangling = node.store.dangling(node.alias)
            if dangling:
                raise Broken(f"rows dangle on {node.name}: {dangling}")
            if node.rows("SELECT 1 FROM handleref_sync_capture"):
                raise Broken(f"G3 {node.name} has writes that were never stamped")
            for label, model in registry.replicated(node.alias).items():
                stamped = {
                    row[0]
                    for row in node.rows(
                        "SELECT pk FROM handleref_sync_stamp WHERE model_id = ? AND NOT deleted", model.id
                    )
                }
                there = {
                    row[0] for row in node.rows(f'SELECT CAST("{model.pk_column}" AS TEXT) FROM "{model.table}"')
                }
                if stamped != there:
                    raise Broken(f"G3 {label} on {node.name}: stamps and rows differ by {stamped ^ there}")
                if model.by_field or label == ENTRY:
                    continue
                for pk, key, author, counter in node.rows(
                    "SELECT s.pk, s.key, n.name, s.counter FROM handleref_sync_stamp s JOIN handleref_sync_node n "
                    "ON n.id = s.node_id WHERE s.model_id = ? AND NOT s.deleted AND s.carried IS NULL",
                    model.id,
                ):
                    record = (label, plain(pk) if key is None else key)
                    written = next(
                        (
                            w
                            for w in self.oracle.by_record[record]
                            if (w.dot.node, w.dot.counter) == (author, counter)
                        ),
                        None,
                    )
                    if written is not None and not alike(written.content, row_of(node, label, pk)):
                        raise Broken(f"G1 {node.name} has {row_of(node, label, pk)} as {written}")

    def again(self) -> None:
        """G5 and G6: nothing moves over any link, and nothing that arrives twice changes anything."""
        self._around(everything(self.world), moving=False)
        before, now = everything(self.world), self.world.now
        old = self.player.network.old
        for request in [*old[-5:], *old[: -5 : max(1, len(old) // 6)]]:
            self.player.network.again(request)
        # Who lacked a right when a whole page came does not take over its vector; when it comes again, it may.
        alike = without_vectors if self.world.count["Rights"] else dict
        if alike(after := everything(self.world)) != alike(before):
            raise Broken(f"G5 repeated messages changed something: {_difference(before, after)}")
        for one, other in zip(self.nodes, self.nodes[1:], strict=False):
            self.oracle.check(one.name, other.name)
        self.world.now = now
        # A request from before a restore is of a reader that stands nowhere, so that the feed forgets where it stood,
        # and gives it again what it has. (Over HTTP a request that comes twice is refused.)
        self._around(before, moving=True)

    def _around(self, before: dict[str, Any], *, moving: bool) -> None:
        """A round over each link changes nothing; and moves nothing, unless what is known already may be `moving`."""
        for one in self.world.nodes:
            for other in sorted(self.world.peers(one)):
                if one > other or not self.moving.isdisjoint(((one, other), (other, one))):
                    continue  # the round before said so
                report = self.player.sync(Sync(one, other))
                if report is None or report.conflicts or (not moving and (report.pulled or report.pushed)):
                    raise Broken(f"G6 {one} with {other} moves something once all is at rest: {report}")
        if (after := without_vectors(everything(self.world))) != (before := without_vectors(before)):
            raise Broken(f"G6 a round at rest changed something: {_difference(before, after)}")


def _difference(one: Any, other: Any) -> str:
    """Where two states differ, shortly."""
    if isinstance(one, dict) and isinstance(other, dict):
        return "; ".join(
            f"{key}: {_difference(one.get(key), other.get(key))}"
            for key in [*one, *(key for key in other if key not in one)]
            if one.get(key) != other.get(key)
        )[:2000]
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return ", ".join(_difference(a, b) for a, b in zip(one, other, strict=True) if a != b)
    return f"{one!r} / {other!r}"
