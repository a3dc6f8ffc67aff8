"""The ledger within one transaction: node numbers, the sequence, the vector."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from django.db import connections, transaction

from handleref_sync import registry
from handleref_sync.capture.base import STAMP, Vendor, vendor_for
from handleref_sync.core.change import Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import NotInstalled
from handleref_sync.models import LocalNode, Node, ReplicatedModel
from handleref_sync.registry import Replicated

REWRITTEN = ("node_id", "counter", "clock", "timestamp", "deleted", "sequence", "carried")
"""The columns of a stamp that each later write changes."""
CHANGING = ("pk", *REWRITTEN)
COLUMNS = ("model_id", *CHANGING, "key")


@dataclass(slots=True)
class StampRow:
    """A row of Stamp without the model around it: a page has thousands, and an instance costs many times as much."""

    model_id: int
    pk_text: str | None = None
    node_id: int = 0
    counter: int = 0
    clock: str | None = None
    timestamp: int = 0
    deleted: bool = False
    sequence: int = 0
    carried: bytes | None = None
    key: str | None = None
    id: int | None = None
    held: str | None = None
    """The primary key that the database has for it."""

    def rewritten(self) -> tuple[Any, ...]:
        """The values of `REWRITTEN`."""
        return (
            self.node_id,
            self.counter,
            self.clock,
            self.timestamp,
            self.deleted,
            self.sequence,
            self.carried,
        )


SELECTED = tuple("pk" if field.name in ("pk_text", "held") else field.name for field in fields(StampRow))


NODE = ("pk", "name", "vector", "seen")
# Asked a dozen times in each session, however little there is to do: the ORM would take longer than all the rest.
ALL_NODES = f"SELECT id, name, vector, seen FROM {Node._meta.db_table}"
MINE = [field.attname for field in LocalNode._meta.concrete_fields if field.name != "created"]
ITS_NODE = [field.attname for field in Node._meta.concrete_fields]
THIS_NODE = (
    f"SELECT {', '.join(f'l.{name}' for name in MINE)}, {', '.join(f'n.{name}' for name in ITS_NODE)}"
    f" FROM {LocalNode._meta.db_table} l JOIN {Node._meta.db_table} n ON n.id = l.incarnation_id"
)


class Ledger:
    """One database's books. Made anew for each transaction that changes them; see `locked`."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.vendor: Vendor = vendor_for(connections[using])
        self.local = local_node(using)
        self.models = registry.replicated(using)
        self.by_number = {model.id: model for model in self.models.values()}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._seen: dict[int, int] = {}
        self._vector: dict[str, int] = {}
        for number, name, vector, seen in self.vendor.rows(ALL_NODES):
            self._learn(number, name, vector, seen)
        self._select = f"SELECT {', '.join(map(self.vendor.quote, SELECTED))} FROM {STAMP}"

    @cached_property
    def _rows_of_models(self) -> list[ReplicatedModel]:
        return list(ReplicatedModel.objects.using(self.using).all())

    @cached_property
    def added(self) -> dict[int, dict[str, int]]:
        """By the number of a model: the columns that came later, each with the last sequence before it was there."""
        later = {row.pk: {n: after for n, after in row.fields.items() if after} for row in self._rows_of_models}
        return {number: columns for number, columns in later.items() if columns}

    @cached_property
    def unreadable(self) -> dict[int, dict[str, str]]:
        """By the number of a model: the rows that could not be read, and why."""
        return {row.pk: row.unreadable for row in self._rows_of_models if row.unreadable}

    def _learn(self, number: int, name: str, vector: int, seen: int) -> None:
        self._numbers[name], self._names[number], self._seen[number] = number, name, seen
        self._vector[name] = vector

    def node_number(self, name: str) -> int:
        """The short number of a node ID; made where it is new."""
        if name not in self._numbers:
            made = Node.objects.using(self.using).get_or_create(name=name)[0]
            self._learn(made.pk, name, made.vector, made.seen)
        return self._numbers[name]

    def _meet(self, new: Mapping[str, int]) -> None:
        """Number new nodes, all at once: a page may name thousands, and this is under the sequence lock."""
        rows, names = Node.objects.using(self.using), list(new)
        made = [Node(name=name, seen=counter) for name, counter in new.items()]
        rows.bulk_create(made, batch_size=1000, ignore_conflicts=True)
        for start in range(0, len(names), 500):
            for node in rows.filter(name__in=names[start : start + 500]).values_list(*NODE):
                self._learn(*node)

    def node_name(self, number: int) -> str:
        return self._names[number]

    def by_node(self, vector: VersionVector) -> dict[int, int]:
        """The counters of `vector` by the short numbers of the nodes, of all that are known here."""
        return {number: vector.counter(name) for number, name in self._names.items()}

    def met(self, node: str) -> int:
        """The highest counter of a node that was met here, as of the beginning of this transaction or since."""
        return self._seen.get(self._numbers.get(node, 0), 0)

    def met_of(self, node: str) -> VersionVector:
        """`met`, of every incarnation of the node `node`."""
        return VersionVector(
            {name: self._seen[n] for name, n in self._numbers.items() if name.partition("~")[0] == node}
        )

    def incorporated(self) -> VersionVector:
        """All writes that this database had incorporated before this transaction."""
        return VersionVector(self._vector)

    def incorporated_any(self, clock: VersionVector) -> bool:
        """Whether a write that `clock` knows was incorporated here before this transaction."""
        return any(counter <= self._vector.get(node, 0) for node, counter in clock.items())

    def clock_of(self, node: int, counter: int, clock: str | None) -> VersionVector:
        """A stamp's clock, from its columns."""
        return VersionVector.of(Dot(self._names[node], counter)) if clock is None else VersionVector.parse(clock)

    def put(self, stamp: StampRow, version: Version) -> None:
        """Let `stamp` say that `version` is the current one."""
        dot, clock, stamp.timestamp = version
        stamp.node_id, stamp.counter = self.node_number(dot.node), dot.counter
        stamp.clock = None if clock.implied_by(dot) else str(clock)

    def take(self, count: int) -> int:
        """Reserve `count` sequence numbers; returns the first. Needs the sequence lock."""
        first = self.local.sequence + 1
        self.local.sequence += count
        LocalNode.objects.using(self.using).filter(pk=self.local.pk).update(sequence=self.local.sequence)
        return first

    def stamps_after(self, sequence: int, limit: int) -> list[StampRow]:
        """The first `limit` stamps with a higher sequence, in its order."""
        return self._stamps("sequence > %s ORDER BY sequence LIMIT %s", [sequence, limit])

    def stamps_of(self, model: Replicated, pks: Iterable[str]) -> dict[str, StampRow]:
        """The stamps of the rows with these primary keys (as the capture table has them), by those."""
        return {str(row.pk_text): row for row in self._among(model, "pk", pks)}

    def stamps_by_key(self, model: Replicated, keys: Iterable[str]) -> dict[str, StampRow]:
        """The stamps with these keys, by key. Only of models whose key is not the primary key."""
        return {str(row.key): row for row in self._among(model, "key", keys)}

    def _among(self, model: Replicated, column: str, texts: Iterable[str]) -> list[StampRow]:
        wanted = list(dict.fromkeys(texts))
        if not wanted:
            return []
        where, params = self.vendor.among(self.vendor.quote(column), wanted)
        return self._stamps(f"model_id = %s AND {where}", [model.id, *params])

    def _stamps(self, where: str, params: list[Any]) -> list[StampRow]:
        return [StampRow(*row) for row in self.vendor.rows(f"{self._select} WHERE {where}", params)]

    def save_stamps(self, changed: Sequence[StampRow], new: Sequence[StampRow]) -> None:
        """Write stamps back. Those that give up their pk go first, for another may take it."""
        moved = [s for s in changed if s.pk_text != s.held]
        for records in ([s for s in moved if s.pk_text is None], [s for s in moved if s.pk_text is not None]):
            if records:
                self.vendor.update_rows(STAMP, "id", CHANGING, [(s.pk_text, *s.rewritten(), s.id) for s in records])
        # The others without it: SQLite would take each out of the index over it, and put it back in the same place.
        rest = [(*s.rewritten(), s.id) for s in changed if s.pk_text == s.held]
        if rest:
            self.vendor.update_rows(STAMP, "id", REWRITTEN, rest)
        if new:
            self.vendor.insert_rows(STAMP, COLUMNS, [(s.model_id, s.pk_text, *s.rewritten(), s.key) for s in new])

    def wrote(self, counter: int) -> None:
        """Our own writes up to `counter` are stamped."""
        Node.objects.using(self.using).filter(pk=self.local.incarnation_id).update(vector=counter, seen=counter)

    def saw(self, clocks: Mapping[str, int]) -> None:
        """Raise the high-water marks to what was met in dots and clocks."""
        self._meet({name: counter for name, counter in clocks.items() if name not in self._numbers})
        higher = {number: c for name, c in clocks.items() if c > self._seen[number := self.node_number(name)]}
        self._seen |= higher
        self._raise("seen", higher)

    def merge(self, vector: Mapping[str, int]) -> None:
        """The peer's vector after all of its changes are here. Takes no sequence."""
        here = self.vector()
        self.saw(vector)
        self._raise("vector", {self.node_number(n): c for n, c in vector.items() if c > here.counter(n)})

    def _raise(self, column: str, counters: Mapping[int, int]) -> None:
        """Set a column of nodes, by their numbers: as one set, for thousands may have gone on."""
        if counters:
            table = Node._meta.db_table
            self.vendor.update_rows(table, "id", [column], [(counter, n) for n, counter in counters.items()])

    MOST_UNKNOWN = 5_000
    """Names of fields without a column that are noted for a model. Who sends more of them makes them up."""

    @property
    def dropped(self) -> VersionVector:
        """What the tombstones knew that were dropped here, and those that others dropped and this node never had."""
        return VersionVector.parse(self.local.dropped)

    def drop(self, known: VersionVector) -> None:
        """Tombstones that knew all this are gone."""
        united = str(self.dropped.unite(known))
        if united != self.local.dropped:
            self.local.dropped = united
            LocalNode.objects.using(self.using).filter(pk=self.local.pk).update(dropped=united)

    def note_unknown(self, unknown: Mapping[str, Iterable[str]]) -> None:
        """Note fields, by model, that came in changes and have no column here."""
        for label, names in unknown.items():
            row = ReplicatedModel.objects.using(self.using).get(pk=self.models[label].id)
            new = sorted(set(names) - set(row.unknown))[: max(0, self.MOST_UNKNOWN - len(row.unknown))]
            if new:
                row.unknown = sorted([*row.unknown, *new])
                row.save(using=self.using, update_fields=["unknown"])

    def seen(self) -> VersionVector:
        """The highest counters met: at least what any stamp or parked change here has in its clock.

        Whoever's vector covers this lacks nothing that is here. Our own vector would not do: it is a lower bound,
        and what came in a partial or interrupted exchange is above it.
        """
        return VersionVector({name: seen for _, name, _, seen in self.vendor.rows(ALL_NODES)})

    def vector(self) -> VersionVector:
        """All writes that this database has incorporated."""
        return VersionVector({name: vector for _, name, vector, _ in self.vendor.rows(ALL_NODES)})


def local_node(using: str) -> LocalNode:
    """This database's own node. Raises NotInstalled where `migrate` has not made one."""
    found = vendor_for(connections[using]).rows(THIS_NODE)
    if not found:
        raise NotInstalled(
            f"The database {using!r} is not a node yet.",
            hint='Set HANDLEREF_SYNC["NODE"] and run manage.py migrate.',
        )
    local = LocalNode.from_db(using, MINE, found[0][: len(MINE)])
    local.incarnation = Node.from_db(using, ITS_NODE, found[0][len(MINE) :])
    return local


@contextmanager
def locked(using: str) -> Iterator[Ledger]:
    """A transaction that holds the sequence lock, and the ledger as it is under that lock."""
    vendor = vendor_for(connections[using])
    outermost = not connections[using].in_atomic_block
    with transaction.atomic(using=using):
        if outermost:
            vendor.read_committed()
            vendor.bound_turn()
        vendor.sequence_lock()
        yield Ledger(using)


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
