"""From rows of the ledger to what they say: the key of a record, its version, and a change that waits."""

from __future__ import annotations

from handleref_sync import wire
from handleref_sync.core.change import NOTHING, Change, Mark, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Parked, Stamp
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.stamping import canonical


def key_of(ledger: Ledger, record: Stamp | StampRow) -> str:
    """The key of a stamp's record; where none is kept, it is the primary key."""
    return canonical(ledger.by_number[record.model_id], record.pk_text) if record.key is None else record.key


def version_of(ledger: Ledger, record: Stamp | StampRow | Parked) -> Version:
    """Dot, clock and timestamp of a stamp or a parked change."""
    dot = Dot(ledger.node_name(record.node_id), record.counter)
    clock = VersionVector.of(dot) if record.clock is None else VersionVector.parse(record.clock)
    return Version(dot, clock, record.timestamp)


def change_of(ledger: Ledger, parked: Parked) -> Change:
    """A parked change, exactly as its author made it."""
    version = version_of(ledger, parked)
    if parked.data is None:
        return Change(Record(parked.model, parked.key), version, (), None)
    data = wire.unpack_message(bytes(parked.data))
    carried = {
        name: (Mark(timestamp, Dot(node, counter)), value)
        for name, timestamp, node, counter, value in data.get("carried", ())
    }
    identity = Record(parked.model, parked.key)
    return Change(identity, version, tuple(data["fields"]), tuple(data["values"]), carried or NOTHING)
