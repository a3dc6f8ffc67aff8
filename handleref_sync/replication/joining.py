"""Deciding by fields: where versions are more than whole rows, or a resolver of the user's own has a say.

The invariant: what becomes of two versions is the same on every node. A product of theirs that is neither of the two
is a write of its own: one timestamp after both, never the wall clock's, with a clock that covers both. Made on two
nodes, such products are equal, and unite.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from django.db import models

from handleref_sync import wire
from handleref_sync.core.change import Change, Mark, Version
from handleref_sync.core.join import Granularity, Joined, alike, join, unaware, whole_of
from handleref_sync.core.resolvers import Conflicting, Side
from handleref_sync.core.version_vector import Dot
from handleref_sync.declared import FIELD_LWW, LWW
from handleref_sync.registry import Replicated
from handleref_sync.replication.content import Content, dangling
from handleref_sync.replication.values import REUSED, Unfit, json_text

logger = logging.getLogger("handleref_sync.replication")


def same(one: Any, other: Any) -> bool:
    """Whether two wire values are equal: on their canonical bytes."""
    return wire.pack(one) == wire.pack(other)


def joined(content: Content, mine: Change, incoming: Change) -> Joined:
    """What becomes of the version that is here and one that came.

    Raises Unfit where the resolver fails, and for a field that has two values from one write.
    """
    incoming = as_here(content, mine, incoming)
    model = content.model
    if model.resolver == LWW or model.resolver == FIELD_LWW:
        granularity = Granularity.FIELD if model.resolver == FIELD_LWW else Granularity.ROW
        return _again(join(mine, incoming, same, granularity), mine, incoming)
    result = join(mine, incoming, same, Granularity.CONTENT)
    if unaware(mine.version, incoming.version) and not alike(mine, incoming, same):
        return _resolved(model, result, *sorted((mine, incoming), key=lambda change: change.version.rank))
    return result


def as_here(content: Content, mine: Change, incoming: Change) -> Change:
    """`incoming`, with references as they are here where one write gave both. Raises Unfit where it gave two."""
    here, there = mine.content, incoming.content
    theirs = {}
    for name in here.keys() & there.keys():
        (mark, value), (other, its) = here[name], there[name]
        if mark.dot == other.dot and not same(value, its):
            if content.fixed(name, value, its):
                raise reused(mark.dot, f"{name} has another value here")
            if value is not None and not dangling(value):
                theirs[name] = (other, value)
    return Change.of(incoming.record, incoming.version, {**there, **theirs}) if theirs else incoming


def reused(dot: Dot, what: str) -> Unfit:
    """What to raise where the write `dot` says one thing here, and another thing elsewhere."""
    return Unfit(f"{REUSED}: {what} under {dot}. A node was copied, or restored without a new incarnation.")


def _again(result: Joined, mine: Change, incoming: Change) -> Joined:
    """Where a version has to be written again as a whole: its whole content as one write."""
    if not result.again:
        return result
    values = {name: value for name, (_, value) in result.change.content.items()}
    change = _product(result.change, mine, incoming, values, {})
    return result._replace(change=change)


def _product(base: Change, one: Change, other: Change, values: Mapping[str, Any] | None, carried: Any) -> Change:
    """A version made of two. Its dot is not known yet: who stamps it gives it one."""
    timestamp = max(one.version.timestamp, other.version.timestamp) + 1
    version = Version(base.version.dot, one.version.clock.unite(other.version.clock), timestamp)
    if values is None:
        return Change(base.record, version, (), None)
    return Change(base.record, version, tuple(values), tuple(values.values()), carried)


def _resolved(model: Replicated, result: Joined, earlier: Change, later: Change) -> Joined:
    if _twins(earlier.version, later.version):
        logger.error(
            "The resolver of %s does not converge: two nodes made different products of one conflict about %s. The "
            "later one was taken.",
            model.label,
            later.record.key,
        )
        return _again(result, earlier, later)
    conflict = Conflicting(
        later.record.model, later.record.key, side(model, earlier, later), side(model, later, earlier)
    )
    try:
        verdict = model.resolver(conflict)  # type: ignore[operator]
        if verdict is conflict.later:
            return _again(result, earlier, later)
        if verdict is conflict.earlier:
            # The marks stay, so that it is known whose content this is when the next conflict comes.
            change = _product(earlier, earlier, later, None if earlier.deleted else {}, earlier.content)
            return Joined(change, (whole_of(later),), again=True)
        values = wire_values(model, verdict)
    except Exception as error:  # whatever the user's own code raises
        raise Unfit(f"the resolver of {model.label} failed: {type(error).__name__}: {error}") from error
    base = earlier if later.deleted else later
    carried = {name: marked for name, marked in base.content.items() if name not in values}
    product = _product(base, earlier, later, values, carried)
    made = {**{name: value for name, (_, value) in carried.items()}, **values}
    lost = tuple(
        whole_of(change)
        for change, other in ((earlier, later), (later, earlier))
        if change.deleted or any(not _kept(change, name, made) for name in _changed(change, other))
    )
    return Joined(product, lost, again=True)


def _twins(one: Version, other: Version) -> bool:
    """Whether both are products of the same two versions, made by two nodes that knew of each other."""
    return (
        one.timestamp == other.timestamp
        and other.clock.counter(one.dot.node) > 0
        and one.clock.counter(other.dot.node) > 0
    )


def side(model: Replicated, change: Change, other: Change) -> Side:
    """`change` as a function of the user sees it, beside `other`."""
    content = change.content
    author = max((mark for mark, _ in content.values()), key=lambda mark: mark.rank, default=_mark(change))
    if change.deleted:
        return Side(author.dot.node, change.version.timestamp, None, frozenset())
    changed = map(model.own_name, _changed(change, other))
    values = {model.own_name(name): _readable(model, name, value) for name, (_, value) in content.items()}
    return Side(author.dot.node, change.version.timestamp, values, frozenset(changed))


def _changed(change: Change, other: Change) -> set[str]:
    return {name for name, (mark, _) in change.content.items() if not other.version.clock.knows(mark.dot)}


def _kept(change: Change, name: str, made: Mapping[str, Any]) -> bool:
    return name in made and same(change.content[name][1], made[name])


def _mark(change: Change) -> Mark:
    return Mark(change.version.timestamp, change.version.dot)


def _readable(model: Replicated, name: str, value: Any) -> Any:
    field = model.columns_by_name.get(name)
    return json.loads(value) if isinstance(field, models.JSONField) and value is not None else value


def wire_values(model: Replicated, verdict: Any) -> dict[str, Any]:
    """Values by field name, as the user gives them, in wire form. Raises TypeError or ValueError for what is none."""
    if not isinstance(verdict, Mapping):
        raise TypeError(f"it returned {verdict!r}, not one of the two sides nor values by field name")
    columns = {str(column.field.name): column for column in model.columns}
    unknown = sorted(set(map(str, verdict)) - set(columns))
    if unknown:
        raise ValueError(f"it returned {', '.join(unknown)}, and there is no such field")
    values = {}
    for name, value in verdict.items():
        field = columns[name].field
        if isinstance(field, models.JSONField) and value is not None:
            value = json_text(value, field.encoder)
        wire.pack(value)  # raises for what can't travel
        values[columns[name].name] = value
    return values
