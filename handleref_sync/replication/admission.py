"""Whether what a peer brings may be written here at all: by its rights, and by what was deleted here long ago."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from handleref_sync.core.change import Change
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Parked
from handleref_sync.registry import Replicated
from handleref_sync.replication.content import Content
from handleref_sync.replication.joining import same
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.rights import Rights, harmless

RightsOfDot = Callable[[Dot], Rights]
"""What whoever brought the change with a dot may write."""


def refused_clock(ledger: Ledger, rights: Rights, change: Change) -> str:
    """Why the change's clock isn't believed; empty if it is."""
    stranger = rights.knows_too_much(change, ledger.met)
    return f"it claims to know writes of {stranger} that have not come here" if stranger else ""


def refused_key(model: Replicated, rights: Rights, change: Change) -> str:
    """Why whoever brought it may not make a record with this key; empty if it may.

    A key that is the dot of a record's first stamp is its node's to give. Given by another node beforehand, it would
    keep that node from stamping a record of its own.
    """
    if rights.relay or model.identity != "origin":
        return ""
    node = change.record.key.rpartition(":")[0].partition("~")[0]
    return "" if node == rights.peer else f"{rights.peer} may not make a record {change.record.key}"


def refused_write(
    content: Content,
    rights: Rights,
    fields: Sequence[str],
    values: Sequence[Any] | None,
    here: Mapping[str, Any] | None,
) -> str:
    """Why whoever brought it may not write `values` over the row `here`, or delete it; empty if it may."""
    model = content.model
    if rights.all_of(model):
        return ""
    names = [model.label]
    if model.label not in rights.read_only:
        protected = rights.protected(model)
        if not protected or values is None:
            return ""
        given = {name: value for name, value in zip(fields, values, strict=True) if name in protected}
        names = [model.own_name(name) for name, value in given.items() if _changes(content, name, value, here)]
    return f"{rights.peer} may not write {', '.join(names)} here" if names else ""


def _changes(content: Content, name: str, value: Any, here: Mapping[str, Any] | None) -> bool:
    """Whether the field gets another value than it has; in a new row, than it would have anyway."""
    if here is None:
        return not harmless(content.columns[name].field, value)
    return name in here and not same(value, here[name])


def purged(ledger: Ledger, model: Replicated, changes: Iterable[Change], known: Collection[str]) -> set[str]:
    """The keys, of those not `known`, of records that were deleted here so long ago that their tombstones are purged.

    The invariant: what a clock knows that we have incorporated has a stamp here, waits here, or was purged.
    `changes`: of peers that may lack tombstones that were dropped. Who had them and brings such a record knows that
    it was deleted, and has made it again.
    """
    if not ledger.local.dropped:
        return set()
    suspects = {
        change.record.key
        for change in changes
        if change.record.key not in known and ledger.incorporated_any(change.version.clock)
    }
    waiting = Parked.objects.using(ledger.using).filter(model=model.label, key__in=suspects)
    return suspects - set(waiting.values_list("key", flat=True))
