"""Two records that want the same unique value, and what the application says shall become of that.

The invariant: of two records the later, by (timestamp, node), keeps the value, and what the earlier gets instead is a
pure function of the two. It is a write of its own, one timestamp after both: made on two nodes, it is the same write.
It is made only when a feed was read to its end, for values that change places between two pages collide in passing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import FieldError
from django.db import models
from django.db.models.expressions import Value
from django.db.models.lookups import Exact

from handleref_sync import wire
from handleref_sync.core.change import Change, Marked, Record, Version
from handleref_sync.core.join import Lost
from handleref_sync.core.reconcile import Decision
from handleref_sync.core.resolvers import Collision
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.declared import PARK, RENAME
from handleref_sync.models import Parked
from handleref_sync.registry import Replicated
from handleref_sync.replication.carried import change_of_row, dump, load
from handleref_sync.replication.conflicts import located
from handleref_sync.replication.content import Content
from handleref_sync.replication.joining import side, wire_values
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.plan import Plan, Planner
from handleref_sync.replication.references import field_write
from handleref_sync.replication.stamping import pk_text, stamp_rows
from handleref_sync.replication.versions import change_of, key_of, version_of


class Unique(NamedTuple):
    """What the database keeps unique: fields, or expressions over fields, in all rows or in those of a condition."""

    fields: tuple[str, ...]
    expressions: tuple[Any, ...] = ()
    condition: Any = None


def uniques(model: type[models.Model]) -> Iterator[Unique]:
    """All that is unique in the model's own table, but for the primary key."""
    options = model._meta
    for field in options.local_concrete_fields:
        if field.unique and not field.primary_key:
            yield Unique((field.name,))
    for together in options.unique_together:
        yield Unique(tuple(together))
    for constraint in options.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            named = tuple(e.name for expression in constraint.expressions for e in _names(expression))
            yield Unique(tuple(constraint.fields) or named, tuple(constraint.expressions), constraint.condition)


def _names(expression: Any) -> list[Any]:
    return [part for part in expression.flatten() if isinstance(part, models.F)]


class Collider:
    """Makes plans out of parked changes that collide. Needs the sequence lock."""

    def __init__(self, ledger: Ledger, planner: Planner) -> None:
        self.ledger, self.planner = ledger, planner

    def steps(self, parked: Parked) -> list[list[Plan]]:
        """Sets of plans, one to be carried out after the other; none where the change has to go on waiting."""
        model = self.ledger.models.get(parked.model)
        if model is None or model.on_unique == PARK:
            return []
        change = change_of(self.ledger, parked)
        plans = self.planner.plan([change])
        if len(plans) != 1 or plans[0].values is None or not plans[0].decision.write:
            return [plans] if plans else []
        (plan,) = plans
        content, others = self.planner.content(model.label), list[list[Plan]]()
        for text, found in self._colliding(content, plan).items():
            other = self._settle(content, plan, found, text)
            if other is None:
                return []
            others += other
        return [*others, [plan]]

    def _colliding(self, content: Content, plan: Plan) -> dict[str, list[Unique]]:
        """The rows that have unique values of the plan, by primary key, and which those are."""
        found = colliding(self.ledger, content, plan.fields, plan.values or ())
        if plan.live and plan.local is not None:
            found.pop(str(plan.local.pk_text), None)
        return found

    def _settle(self, content: Content, plan: Plan, found: list[Unique], text: str) -> list[list[Plan]] | None:
        """Plans for the row that is here, if it is that which gives way; else `plan` itself is changed."""
        model = content.model
        stamp_rows(self.ledger, model, [text])
        stamp = self.ledger.stamps_of(model, [text]).get(text)
        row = content.read([text], under_lock=True).get(text)
        if stamp is None or row is None:
            return None
        record, local = Record(model.label, key_of(self.ledger, stamp)), version_of(self.ledger, stamp)
        here = change_of_row(self.ledger, stamp, record, local, content.fields, row)
        coming = plan.change._replace(version=plan.decision.stamp)
        earlier, later = sorted((here, coming), key=lambda change: change.version.rank)
        values: dict[str, Any] = {}
        for unique in found:
            given = _given_way(model, unique, earlier, later)
            if not given:
                return None
            values |= given
        timestamp = later.version.timestamp + 1
        if earlier is here:
            version = Version(local.dot, local.clock, timestamp)
            write = field_write(self.ledger, here, stamp, version, values)
            write.lost = tuple(_lost(here, name) for name in sorted(values))
            return [[write]]
        plan.decision = Decision(True, Version(coming.version.dot, coming.version.clock, timestamp))
        plan.machine = True
        plan.lost = (*plan.lost, *(_lost(coming, name) for name in sorted(values)))
        written = dict(zip(plan.fields, plan.values or (), strict=True))
        plan.values = tuple({**written, **values}[name] for name in plan.fields)
        kept = load(self.ledger, plan.carried)
        plan.carried = dump(self.ledger, {name: entry for name, entry in kept.items() if entry.values})
        return []


def colliding(
    ledger: Ledger, content: Content, fields: Sequence[str], values: Sequence[Any]
) -> dict[str, list[Unique]]:
    """The rows that have unique values among these wire values, by primary key, and which those are.

    Raises Unfit where a row that they refer to is not here.
    """
    model = content.model
    row = content.python(fields, values, located(ledger, content, fields, values))
    found: dict[str, list[Unique]] = defaultdict(list)
    for unique in uniques(model.model):
        rows = _rows(model.model, unique, row, ledger.using)
        if rows is not None:
            for text in sorted({pk_text(model, pk, ledger) for pk in rows.values_list("pk", flat=True)}):
                found[text].append(unique)
    return found


def _rows(model: type[models.Model], unique: Unique, row: Mapping[str, Any], using: str) -> Any:
    """The rows that collide with `row` (values by attribute); None where it is not subject to `unique`."""
    fields = {field.name: field for field in model._meta.local_concrete_fields if field.attname in row}
    against = {name: Value(row[field.attname], field) for name, field in fields.items()}
    rows = model._base_manager.using(using)
    if unique.condition is not None:
        try:
            if not unique.condition.check(against, using=using):
                return None
        except FieldError:
            return None
        rows = rows.filter(unique.condition)
    if unique.expressions:
        values = {models.F(name): value for name, value in against.items()}
        plain = [getattr(e, "get_expression_for_validation", lambda e=e: e)() for e in unique.expressions]
        return rows.filter(*(Exact(expression, expression.replace_expressions(values)) for expression in plain))
    wanted = {fields[name].attname: row[fields[name].attname] for name in unique.fields if name in fields}
    if len(wanted) != len(unique.fields) or None in wanted.values():
        return None  # NULLs are distinct
    return rows.filter(**wanted)


def _given_way(model: Replicated, unique: Unique, earlier: Change, later: Change) -> dict[str, Any]:
    """The values, in wire form by the name that travels, that the earlier record gets instead of its own."""
    if model.on_unique == RENAME:
        return _renamed(model, unique, earlier)
    collision = Collision(
        model.label, unique.fields, earlier.record.key, side(model, earlier, later), side(model, later, earlier)
    )
    given = model.on_unique(collision)  # type: ignore[operator]
    return {} if given is None else wire_values(model, given)


def _renamed(model: Replicated, unique: Unique, earlier: Change) -> dict[str, Any]:
    for name in reversed(unique.fields):
        column = next((c for c in model.columns if c.field.name == name), None)
        if column is None or not isinstance(column.field, (models.CharField, models.TextField)):
            continue
        marked = earlier.content.get(column.name)
        if column.field.choices or marked is None or not isinstance(marked[1], str):
            continue
        # The key tells records apart, and is the same on all nodes. A digest of it fits into any field.
        suffix = "-" + wire.digest([earlier.record.model, earlier.record.key])[:8]
        longest = column.field.max_length
        kept = marked[1] if longest is None else marked[1][: max(longest - len(suffix), 0)]
        return {column.name: (kept + suffix)[:longest]}
    return {}


def _lost(change: Change, name: str) -> Lost:
    marked: Marked = change.content[name]
    mark, value = marked
    version = Version(mark.dot, VersionVector.of(mark.dot), mark.timestamp)
    return Lost(Change(change.record, version, (name,), (value,)), f".{name}")
