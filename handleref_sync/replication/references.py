"""Which rows refer to a row, and what the application says shall become of them when it goes.

The invariant: no foreign key ever dangles, and what becomes of a child whose parent was deleted elsewhere is the same
on all nodes, whichever of the two they met first. The ``on_delete`` of the foreign key decides, as it would have if
the deletion had known of the child. What it makes is a write of its own, one timestamp after both, so that two nodes
that make it make the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.db import models

from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.join import Lost, whole_of
from handleref_sync.core.reconcile import Decision
from handleref_sync.models import Parked
from handleref_sync.registry import Column, Replicated
from handleref_sync.replication.carried import change_of_row, dump, load, of_write
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.plan import Plan, Planner
from handleref_sync.replication.stamping import PARAMETERS, keys_of, pk_text, stamp_rows
from handleref_sync.replication.versions import change_of, key_of, version_of

CASCADE, NULL, VALUE, KEEP, NOTHING = "cascade", "null", "value", "keep", "nothing"


class Reference(NamedTuple):
    """A row that refers to another one."""

    field: Any
    pk: Any
    parent: Any

    def __str__(self) -> str:
        return f"{self.field.model._meta.label} {self.pk}"


def referring(ledger: Ledger, model: Replicated, texts: Iterable[str]) -> Iterator[Reference]:
    """The rows, replicated or not, that refer to the rows of `model` with these primary keys."""
    wanted = list(texts)
    for relation in model.model._meta.get_fields(include_hidden=True):
        if not (relation.auto_created and not relation.concrete and (relation.one_to_many or relation.one_to_one)):
            continue
        field: Any = relation.field  # type: ignore[union-attr]
        if not field.concrete or not getattr(field, "db_constraint", False):
            continue
        rows = field.model._base_manager.using(ledger.using)
        for start in range(0, len(wanted), PARAMETERS):
            chunk = wanted[start : start + PARAMETERS]
            found = rows.filter(**{f"{field.name}__pk__in": chunk}).values_list("pk", f"{field.name}__pk")
            yield from (Reference(field, pk, parent) for pk, parent in found)


def effect(field: Any) -> str:
    """What the foreign key's ``on_delete`` comes to."""
    on_delete = field.remote_field.on_delete
    named = {
        models.CASCADE: CASCADE,
        models.SET_NULL: NULL,
        models.SET_DEFAULT: VALUE,
        models.PROTECT: KEEP,
        models.RESTRICT: KEEP,
    }
    # Those that the database carries out itself, where Django has them.
    for name, what in (("DB_CASCADE", CASCADE), ("DB_SET_NULL", NULL), ("DB_SET_DEFAULT", VALUE)):
        if hasattr(models, name):
            named[getattr(models, name)] = what
    if on_delete in named:
        return named[on_delete]
    return VALUE if getattr(on_delete, "deconstruct", None) is not None else NOTHING


def substitute(ledger: Ledger, column: Column) -> Any:
    """The wire value that SET_DEFAULT or SET() gives a foreign key. Raises LookupError where that row is not here."""
    on_delete = column.field.remote_field.on_delete
    if getattr(on_delete, "deconstruct", None) is not None:
        (value,) = on_delete.deconstruct()[1]
        value = value() if callable(value) else value
        value = getattr(value, "pk", value)
    else:
        value = column.field.get_default()
    if value is None:
        return None
    keys = keys_of(ledger, ledger.models[str(column.target)], [value])
    if value not in keys:
        raise LookupError(f"{column.field} would be set to {value}, and there is no such row here")
    return keys[value]


def field_write(ledger: Ledger, mine: Change, stamp: StampRow, version: Version, values: Mapping[str, Any]) -> Plan:
    """A write that the machine makes to a row that is here: other `values` for some fields."""
    model = ledger.models[mine.record.model]
    carried = of_write(ledger, stamp, model.names, set(values) if model.by_field else None)
    change = Change(mine.record, version, tuple(values), tuple(values.values()))
    return Plan(change, stamp, Decision(True, version), change.fields, change.values, (), carried, machine=True)


class Settler:
    """Makes plans out of parked changes that wait because of a deletion. Needs the sequence lock."""

    def __init__(self, ledger: Ledger, planner: Planner) -> None:
        self.ledger, self.planner = ledger, planner

    def plans(self, parked: Parked) -> list[Plan]:
        """What settles `parked`; nothing where it has to go on waiting."""
        if parked.model not in self.ledger.models:
            return []
        change = change_of(self.ledger, parked)
        if parked.reason == Parked.Reason.STILL_REFERENCED:
            return self._of_deletion(change)
        return self._of_child(change)

    # -- a deletion that came, and children that are here -----------------------------------------------------

    def _of_deletion(self, change: Change) -> list[Plan]:
        plans = self.planner.plan([change])
        if len(plans) != 1 or plans[0].values is not None or not plans[0].live or not plans[0].decision.write:
            return plans
        found = self._with_children(plans[0])
        return self._kept(plans[0]) if found is None else found

    def _with_children(self, deletion: Plan) -> list[Plan] | None:
        """A deletion with what it does to the rows that refer to it, and so on.

        Nothing if something among them can't be settled here; None if the row has to be kept for one of them.
        """
        timestamp = deletion.decision.stamp.timestamp
        going = {deletion.change.record: deletion}
        changed: dict[tuple[Record, str], Plan] = {}
        todo = [deletion]
        while todo:
            plan = todo.pop()
            assert plan.local is not None
            model = self.ledger.models[plan.change.record.model]
            for reference in referring(self.ledger, model, [str(plan.local.pk_text)]):
                what = effect(reference.field)
                if what == KEEP:
                    return None
                child = None if what == NOTHING else self._child(reference, timestamp, what)
                if child is None:
                    return []
                if what == CASCADE and child.change.record not in going:
                    going[child.change.record] = child
                    todo.append(child)
                elif what != CASCADE:
                    changed[child.change.record, reference.field.name] = child
        return [*(plan for (record, _), plan in changed.items() if record not in going), *going.values()]

    def _kept(self, deletion: Plan) -> list[Plan]:
        """The row stays, over the deletion, which is kept in the conflict log."""
        assert deletion.local is not None
        content = self.planner.content(deletion.change.record.model)
        local = version_of(self.ledger, deletion.local)
        row = content.read([str(deletion.local.pk_text)], under_lock=True)[str(deletion.local.pk_text)]
        timestamp = max(local.timestamp, deletion.change.version.timestamp) + 1
        version = Version(local.dot, local.clock.unite(deletion.change.version.clock), timestamp)
        return [
            Plan(
                deletion.change,
                deletion.local,
                Decision(False, version),
                content.fields,
                row,
                (Lost(deletion.change),),
                of_write(self.ledger, deletion.local, content.fields, None),
                machine=True,
            )
        ]

    def _child(self, reference: Reference, timestamp: int, what: str) -> Plan | None:
        """The machine's write to a row that refers to one that goes; None where it can't be made."""
        label = reference.field.model._meta.concrete_model._meta.label_lower
        model = self.ledger.models.get(label)
        if model is None:
            return None
        text = pk_text(model, reference.pk, self.ledger)
        stamp_rows(self.ledger, model, [text])
        stamp = self.ledger.stamps_of(model, [text]).get(text)
        content = self.planner.content(label)
        row = content.read([text], under_lock=True).get(text)
        if stamp is None or row is None:
            return None
        record, local = Record(label, key_of(self.ledger, stamp)), version_of(self.ledger, stamp)
        mine = change_of_row(self.ledger, stamp, record, local, content.fields, row)
        version = Version(local.dot, local.clock, max(local.timestamp, timestamp) + 1)
        if what == CASCADE:
            change = Change(record, version, (), None)
            return Plan(change, stamp, Decision(True, version), (), None, (whole_of(mine),), machine=True)
        column = next(c for c in model.columns if c.field.name == reference.field.name)
        value = None if what == NULL else substitute(self.ledger, column)
        return field_write(self.ledger, mine, stamp, version, {column.name: value})

    # -- a child that came, and a deletion that is here -------------------------------------------------------

    def _of_child(self, change: Change) -> list[Plan]:
        plans = self.planner.plan([change])
        if len(plans) != 1 or plans[0].values is None or not plans[0].decision.write:
            return plans
        (plan,) = plans
        content = self.planner.content(change.record.model)
        timestamp = max(plan.decision.stamp.timestamp, change.version.timestamp)
        values = dict(zip(plan.fields, plan.values or (), strict=True))
        cascade = False
        for column in (*content.model.columns, *(content.model.natural if content.model.parent else ())):
            key = change.record.key if column not in content.model.columns else values.get(column.name)
            if column.target is None or key is None:
                continue
            parent = self.planner.content(str(column.target)).stamps([str(key)]).get(str(key))
            if parent is None:
                return []  # one that has not arrived: it waits for that
            if not parent.deleted:
                continue
            timestamp = max(timestamp, parent.timestamp)
            what = effect(column.field)
            if what == CASCADE:
                cascade = True
            elif what in (NULL, VALUE):
                values[column.name] = None if what == NULL else substitute(self.ledger, column)
            else:
                return []  # whoever has both will write the parent back
        version = Version(plan.decision.stamp.dot, plan.decision.stamp.clock, timestamp + 1)
        plan.decision, plan.machine = Decision(True, version), True
        if cascade:
            plan.fields, plan.values, plan.carried = (), None, None
            plan.lost = (*plan.lost, whole_of(change))
            return (self._with_children(plan) or []) if plan.live else plans
        plan.values = tuple(values[name] for name in plan.fields)
        kept = load(self.ledger, plan.carried)
        plan.carried = dump(self.ledger, {name: entry for name, entry in kept.items() if entry.values})
        return plans
