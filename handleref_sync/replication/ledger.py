"""The ledger within one transaction: node numbers, the sequence, the vector."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from django.db import connections, transaction

from handleref_sync import registry
from handleref_sync.capture.base import STAMP, Vendor, vendor_for
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import NotInstalled
from handleref_sync.models import LocalNode, Node, Stamp

CHANGING = ("pk", "node_id", "counter", "clock", "timestamp", "deleted", "sequence")
"""The columns of a stamp that a later write changes."""
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
    key: str | None = None
    id: int | None = None

    def mutable(self) -> tuple[Any, ...]:
        """The values of `CHANGING`."""
        return (self.pk_text, self.node_id, self.counter, self.clock, self.timestamp, self.deleted, self.sequence)


FIELDS = tuple(field.name for field in fields(StampRow))


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
        for node in Node.objects.using(using).all():
            self._learn(node)

    def _learn(self, node: Node) -> None:
        self._numbers[node.name], self._names[node.pk], self._seen[node.pk] = node.pk, node.name, node.seen

    def node_number(self, name: str) -> int:
        """The short number of a node ID; made where it is new."""
        if name not in self._numbers:
            self._learn(Node.objects.using(self.using).get_or_create(name=name)[0])
        return self._numbers[name]

    def node_name(self, number: int) -> str:
        return self._names[number]

    def clock_of(self, node: int, counter: int, clock: str | None) -> VersionVector:
        """A stamp's clock, from its columns."""
        return VersionVector.of(Dot(self._names[node], counter)) if clock is None else VersionVector.parse(clock)

    def take(self, count: int) -> int:
        """Reserve `count` sequence numbers; returns the first. Needs the sequence lock."""
        first = self.local.sequence + 1
        self.local.sequence += count
        LocalNode.objects.using(self.using).filter(pk=self.local.pk).update(sequence=self.local.sequence)
        return first

    def stamps(self, limit: int | None = None, **where: Any) -> list[StampRow]:
        """Stamps that match `where` (as a queryset's filter has it), in the order of their sequence if limited."""
        found = Stamp.objects.using(self.using).filter(**where)
        if limit is not None:
            found = found.order_by("sequence")[:limit]
        return [StampRow(*row) for row in found.values_list(*FIELDS)]

    def save_stamps(self, changed: Sequence[StampRow], new: Sequence[StampRow]) -> None:
        """Write stamps back. Those that give up their pk go first, for another may take it."""
        q = self.vendor.quote
        assignments = ", ".join(f"{q(column)} = %s" for column in CHANGING)
        with self.vendor.connection.cursor() as cursor:
            for records in ([s for s in changed if s.pk_text is None], [s for s in changed if s.pk_text is not None]):
                if records:
                    cursor.executemany(
                        f"UPDATE {STAMP} SET {assignments} WHERE id = %s", [(*s.mutable(), s.id) for s in records]
                    )
        if new:
            self.vendor.insert_rows(STAMP, COLUMNS, [(s.model_id, *s.mutable(), s.key) for s in new])

    def wrote(self, counter: int) -> None:
        """Our own writes up to `counter` are stamped."""
        Node.objects.using(self.using).filter(pk=self.local.incarnation_id).update(vector=counter, seen=counter)

    def saw(self, clocks: Mapping[str, int]) -> None:
        """Raise the high-water marks to what was met in dots and clocks."""
        for name, counter in clocks.items():
            number = self.node_number(name)
            if counter > self._seen[number]:
                self._seen[number] = counter
                Node.objects.using(self.using).filter(pk=number).update(seen=counter)

    def merge(self, vector: Mapping[str, int]) -> None:
        """The peer's vector after all of its changes are here. Takes no sequence."""
        here = self.vector()
        for name, counter in vector.items():
            if counter > here.get(name, 0):
                Node.objects.using(self.using).filter(pk=self.node_number(name)).update(vector=counter)
        self.saw(vector)

    def seen(self) -> VersionVector:
        """The highest counters met: at least what any stamp or parked change here has in its clock.

        Whoever's vector covers this lacks nothing that is here. Our own vector would not do: it is a lower bound,
        and what came in a partial or interrupted exchange is above it.
        """
        return VersionVector(dict(Node.objects.using(self.using).values_list("name", "seen")))

    def vector(self) -> VersionVector:
        """All writes that this database has incorporated."""
        return VersionVector(dict(Node.objects.using(self.using).values_list("name", "vector")))


def local_node(using: str) -> LocalNode:
    """This database's own node. Raises NotInstalled where `migrate` has not made one."""
    found = LocalNode.objects.using(using).select_related("incarnation").first()
    if found is None:
        raise NotInstalled(
            f"The database {using!r} is not a node yet.",
            hint='Set HANDLEREF_SYNC["NODE"] and run manage.py migrate.',
        )
    return found


@contextmanager
def locked(using: str) -> Iterator[Ledger]:
    """A transaction that holds the sequence lock, and the ledger as it is under that lock."""
    vendor = vendor_for(connections[using])
    outermost = not connections[using].in_atomic_block
    with transaction.atomic(using=using):
        if outermost:
            vendor.read_committed()
        vendor.sequence_lock()
        yield Ledger(using)


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
