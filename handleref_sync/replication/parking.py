"""Changes that can't be written yet: kept in a row of their own, fed on, retried, and gone when superseded.

The invariant: what has arrived is in its table, superseded by a write that knew it, in the conflict log, or here.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.join import Granularity, Lost, join
from handleref_sync.core.printable import printable
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Parked
from handleref_sync.replication import clashes, conflicts
from handleref_sync.replication.carried import by_first_names
from handleref_sync.replication.content import Content
from handleref_sync.replication.joining import as_here, same
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.plan import Held
from handleref_sync.replication.stamping import PARAMETERS
from handleref_sync.replication.values import REUSED, Unfit
from handleref_sync.replication.versions import change_of, version_of

Reason = Parked.Reason
logger = logging.getLogger("handleref_sync.replication")


def park(ledger: Ledger, held: Iterable[Held], peer_of: Callable[[Dot], str]) -> list[Held]:
    """Keep changes until they can be written; returns those whose dots were not parked already.

    `peer_of`: who brought the change with a dot.
    """
    new: dict[tuple[int, int], Held] = {}
    again: list[Held] = []
    items = [(_place(ledger, item.change), item) for item in held]
    known = _parked(ledger, [place for place, _ in items])
    for place, item in items:
        if place in known or place in new:
            again.append(item)
        else:
            new[place] = item
    if new:
        first = ledger.take(len(new))
        Parked.objects.using(ledger.using).bulk_create(
            [
                Parked(
                    model=item.change.record.model,
                    key=item.change.record.key,
                    node_id=node,
                    counter=counter,
                    peer=peer_of(item.change.version.dot),
                    sequence=sequence,
                    **_columns(item.change),
                    **_why(item),
                )
                for sequence, ((node, counter), item) in enumerate(new.items(), first)
            ],
            batch_size=500,
        )
    for item in again:
        _park_again(ledger, item)
    return list(new.values())


def _why(held: Held) -> dict[str, str]:
    """The columns that may change while it waits."""
    return {"reason": held.reason, "detail": printable(held.detail, 1000), "waits_for": str(held.waits_for or "")}


def _place(ledger: Ledger, change: Change) -> tuple[int, int]:
    """The dot as the ledger has it."""
    return ledger.node_number(change.version.dot.node), change.version.dot.counter


def _parked(ledger: Ledger, places: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of some dots that are parked."""
    counters: dict[int, list[int]] = defaultdict(list)
    for node, counter in places:
        counters[node].append(counter)
    found = set[tuple[int, int]]()
    for node, some in counters.items():
        for start in range(0, len(some), PARAMETERS):
            rows = Parked.objects.using(ledger.using).filter(node=node, counter__in=some[start : start + PARAMETERS])
            found.update((node, counter) for counter in rows.values_list("counter", flat=True))
    return found


def _park_again(ledger: Ledger, item: Held) -> None:
    """Something came under a dot that is parked already: the same as before, or what has to be united with it."""
    change, version, why = item.change, item.change.version, _why(item)
    node, counter = _place(ledger, change)
    known = Parked.objects.using(ledger.using).filter(node=node, counter=counter)
    before = known.get()
    there = change_of(ledger, before)
    if there.version == version and there.record == change.record:
        new_place: dict[str, Any] = {}
        if before.reason == Reason.NOT_PERMITTED and item.reason != Reason.NOT_PERMITTED:
            new_place["sequence"] = ledger.take(1)  # it is passed on from now on, and some have read past its old one
        known.exclude(**why).update(**why, **new_place)
    elif _contradict(ledger, there, change):
        logger.error("%s came with %s: %s. The second is in the conflict log.", change.record, version.dot, REUSED)
        _log(ledger, [conflicts.other_content(change)])
    elif not there.version.clock.covers(version.clock):
        # Somebody has joined it with others meanwhile, and those behind us have to learn that. Under one dot the
        # granularity makes no difference: a resolver is asked about versions that did not know each other.
        both = join(there, change, same, Granularity.ROW)
        _log(ledger, both.lost)
        known.update(**_columns(both.change), sequence=ledger.take(1), **why)


def _columns(change: Change) -> dict[str, Any]:
    """Of a parked row: what a later form of the same version may have otherwise."""
    data = None
    if change.values is not None:
        content: dict[str, Any] = {"fields": list(change.fields), "values": list(change.values)}
        if change.carried:
            content["carried"] = [
                [name, mark.timestamp, *mark.dot, value] for name, (mark, value) in sorted(change.carried.items())
            ]
        data = wire.pack(content)
    return {"clock": str(change.version.clock), "timestamp": change.version.timestamp, "data": data}


def _contradict(ledger: Ledger, one: Change, other: Change) -> bool:
    """Whether two changes with one dot can't both be what its write said."""
    if one.record != other.record or one.deleted != other.deleted:
        return True
    model = ledger.models.get(one.record.model)
    if model is None:
        return False  # which of its fields are references, nobody here can say
    try:
        as_here(Content(ledger, model), by_first_names(one, model.aliases), by_first_names(other, model.aliases))
    except Unfit:
        return True
    return False


def _log(ledger: Ledger, losers: Sequence[Lost]) -> None:
    # An entry of the log that contradicts another one is an error of who made it, and no loser of anything.
    losers = [lost for lost in losers if lost.change.record.model != conflicts.LABEL]
    if losers:
        with ledger.vendor.applying():
            conflicts.log(ledger, losers)


def superseded(ledger: Ledger, applied: Mapping[Record, Version], tried: Collection[Dot]) -> None:
    """Drop parked versions all of which the applied versions know.

    To know the dot is not enough: joined with others, a version is more than its own write, and what it has of them
    is nowhere else here. It is tried again, and joined. One that says something else under the very dot of the
    applied version stays until that is over, unless it was itself among those `tried`.
    """
    keys: dict[str, list[str]] = defaultdict(list)
    for record in applied:
        keys[record.model].append(record.key)
    for label, some in keys.items():
        for start in range(0, len(some), PARAMETERS):
            parked = Parked.objects.using(ledger.using).filter(model=label, key__in=some[start : start + PARAMETERS])
            for change in parked:
                here, version = applied[Record(change.model, change.key)], version_of(ledger, change)
                if not here.clock.covers(version.clock):
                    continue
                if change.detail.startswith(REUSED):
                    if here.dot == version.dot and version.dot not in tried:
                        continue
                    if here.dot != version.dot:  # written anew, by somebody who had not this content
                        _log(ledger, [conflicts.other_content(change_of(ledger, change))])
                change.delete(using=ledger.using)


def waiting(ledger: Ledger, arrived: Iterable[Record] | None = None) -> list[Parked]:
    """Parked changes that wait for one of `arrived`; all of them, if that is None. Oldest writes first."""
    parked = Parked.objects.using(ledger.using).order_by("timestamp", "sequence")
    if arrived is None:
        return list(parked)
    wanted = {str(record) for record in arrived}
    return [p for p in parked.exclude(waits_for="") if p.waits_for in wanted]


def withheld(using: str) -> bool:
    """Whether anything waits for a peer that may write it.

    Until one brings it no vector may merge: whoever could bring it would leave it out as known.
    """
    return Parked.objects.using(using).filter(reason=Reason.NOT_PERMITTED).exists()


ADVICE: dict[str, str] = {
    Reason.PARENT_MISSING: "It is written when that record arrives. Is its model replicated where this was written?",
    Reason.PARENT_DELETED: "It is settled by on_delete when a peer that has the parent is met.",
    Reason.STILL_REFERENCED: "Delete what refers to it, or write it again here if it is to stay.",
    Reason.UNKNOWN_MODEL: "Name the model in MODELS, and run manage.py migrate.",
    Reason.UNIQUE: "Change one of the two records, or set on_unique of the model.",
    Reason.INVALID: "Bring both nodes to the same migrations, or correct the value where it was written.",
    Reason.LOCKED: "Nothing: the next sync tries again.",
    Reason.NOT_PERMITTED: (
        "Give the peer that right (sync_permit), or write the record here: what came then loses against it."
    ),
    Reason.CLOCK_AHEAD: "Set the clocks right; it is written when its time has come.",
}


def advice(change: Parked) -> str:
    """What a person can do about it."""
    if change.detail.startswith(REUSED):
        return "Find out which node was copied or restored. Then write the record anew where it is right."
    return ADVICE[change.reason]


def describe(using: str) -> list[dict[str, Any]]:
    """What waits, for a person, the oldest first."""
    ledger = Ledger(using)
    return [
        {
            "model": change.model,
            "key": change.key,
            "node": change.node.name,
            "counter": change.counter,
            "written": conflicts.moment(change.timestamp),
            "peer": change.peer,
            "since": change.since.isoformat(timespec="seconds"),
            "what": "deletion" if change.data is None else "content",
            "reason": change.reason,
            "in_words": change.get_reason_display(),
            "detail": clashes.in_words(change, collides) or change.detail,
            "collides_with": collides,
            "advice": advice(change),
        }
        for change in Parked.objects.using(using).select_related("node").order_by("since", "sequence")
        for collides in [clashes.clashes(ledger, change)]
    ]


def reused(using: str) -> int:
    """How many changes say something else than what was known under their dot."""
    return Parked.objects.using(using).filter(detail__startswith=REUSED).count()


def overdue(using: str) -> int:
    """How many changes have waited for longer than the setting PARKED_ALERT allows."""
    limit = timezone.now() - timedelta(seconds=settings.parked_alert)
    return Parked.objects.using(using).filter(since__lt=limit).count()
