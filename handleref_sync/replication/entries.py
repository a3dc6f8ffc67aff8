"""Entries of the conflict log, as they arrive: what is none, and what becomes of two forms of one.

The invariant: an entry has the key that its content gives it, so that nobody can put one into another's place.
Entries never lose against each other: their flags unite, and nothing is logged about them.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import CharField

from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.join import alike
from handleref_sync.core.reconcile import Decision, Loser, reconcile
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Conflict
from handleref_sync.replication.conflicts import FLAGS, entry_id, lost_values
from handleref_sync.replication.joining import same
from handleref_sync.replication.shape import MAX_COUNTER
from handleref_sync.replication.values import Unfit

NAMES = ("model", "key", "node", "aspect")
LONGEST = {field.name: field.max_length for field in Conflict._meta.concrete_fields if isinstance(field, CharField)}
"""A key has no limit of its own: it is as long as the one of the record may be on its nodes."""


def refuse(change: Change) -> None:
    """Raises Unfit for what is no entry: it would stand in the way of whoever reads the log."""
    if change.values is None:
        return
    said = {"aspect": "", **{name: value for name, (_, value) in change.content.items()}}
    lacking = {*NAMES, "counter", "timestamp", "data"} - said.keys()
    if lacking:
        raise Unfit(f"it is no entry of the conflict log: it says nothing of {', '.join(sorted(lacking))}")
    for name in NAMES:
        if not isinstance(said[name], str) or len(said[name]) > (LONGEST.get(name) or len(said[name])):
            raise Unfit(f"it is no entry of the conflict log: {name} is no text, or too long")
    for name, least, most in (("counter", 1, MAX_COUNTER), ("timestamp", 0, hlc.MAX_TIMESTAMP)):
        if type(said[name]) is not int or not least <= said[name] <= most:
            raise Unfit(f"it is no entry of the conflict log: {name} is no number, or out of range")
    lost_values(said["data"])
    dot = Dot(said["node"], said["counter"])
    if entry_id(Record(said["model"], said["key"]), dot, said["aspect"]) != change.record.key:
        raise Unfit("it is no entry of the conflict log: it has the key of another one")


def united(mine: Change, incoming: Change, columns: Collection[str]) -> tuple[Change, Decision, bool]:
    """The entry that has every flag which either form has, and all else of the later; and whether it is a new write.

    All else is the same in both, unless two nodes read the loser in different forms, as in the middle of an upgrade.
    Were it always the incoming one's, two nodes might each take over the other's form, and differ for ever. What has
    no column here, such as a newer release's field, is carried along.
    """
    decision = reconcile(mine.version, incoming.version, lambda: alike(mine, incoming, same))
    later, earlier = (incoming, mine) if decision.stamp.dot != mine.version.dot else (mine, incoming)
    if decision.loser is Loser.NONE or mine.deleted or incoming.deleted:
        return later._replace(version=decision.stamp), decision._replace(loser=Loser.NONE), False
    content = {**earlier.content, **later.content}
    both = {name: value for name, (_, value) in content.items()}
    for name in FLAGS:
        if name in both:
            both[name] = any(form.content[name][1] for form in (earlier, later) if name in form.content)
    clock = decision.stamp.clock
    for form in (incoming, mine):
        if same({name: value for name, (_, value) in form.content.items()}, both):
            version = form.version._replace(clock=clock)
            return form._replace(version=version), Decision(form is incoming, version), False
    # Made alike on two nodes, such products unite: the timestamp comes from the inputs, not from the wall clock.
    timestamp = max(mine.version.timestamp, incoming.version.timestamp) + 1
    version = Version(mine.version.dot, clock, timestamp)
    own = {name: value for name, value in both.items() if name in columns}
    carried = {name: marked for name, marked in content.items() if name not in own}
    return Change(mine.record, version, tuple(own), tuple(own.values()), carried), Decision(True, version), True
