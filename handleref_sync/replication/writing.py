"""Writing a set of plans to their tables, set-based: rows first, then deletions, children before their parents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import AutoField

from handleref_sync.core.change import Record
from handleref_sync.models import Parked
from handleref_sync.registry import Replicated
from handleref_sync.replication.by_value import Follower, follow, followers
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import StampRow
from handleref_sync.replication.plan import Held, Plan, Planner
from handleref_sync.replication.references import referring
from handleref_sync.replication.stamping import pk_text, stamp_rows
from handleref_sync.replication.values import Unfit

Reason = Parked.Reason
_MISSING = object()


class Writer:
    """Writes plans; those that can't be written now end in the planner's ``held``. Triggers must be silent."""

    def __init__(self, planner: Planner, *, replace: bool = False) -> None:
        self.planner = planner
        self.ledger = planner.ledger
        self.vendor = planner.ledger.vendor
        self.replace = replace
        """Take rows out and put them back instead of updating them one by one: unique values may change places."""
        self.pks: dict[Record, str] = {}
        """Of each record that has a new row: its primary key, as the ledger has it."""
        self._located: dict[tuple[str, ...], Any] = {}

    def write(self, plans: list[Plan]) -> list[Plan]:
        """Write what the decisions say; returns the plans that are carried out, in their order."""
        upserts = [p for p in plans if p.decision.write and p.values is not None]
        deletions = [p for p in plans if p.decision.write and p.values is None and p.live]
        ready = self._resolvable(upserts, {p.change.record for p in deletions})
        following = self._followers([(p, row) for p, row in ready if p.live])
        self._insert([(p, row) for p, row in ready if not p.live])
        self._update([(p, row) for p, row in ready if p.live])
        follow(self.ledger, following)
        kept = self._delete(deletions)
        done = {id(p) for p, _ in ready} | {id(p) for p in deletions if p.change.record not in kept}
        tried = {id(p) for p in [*upserts, *deletions]}
        return [p for p in plans if id(p) not in tried or id(p) in done]

    # -- foreign keys -----------------------------------------------------------------------------------------

    def _resolvable(self, plans: list[Plan], leaving: set[Record]) -> list[tuple[Plan, list[Any]]]:
        """The plans whose parents are all here or come with them, each with its database values.

        The greatest such set, so that cycles of new records resolve: start from all, and take away until it holds.
        """
        parents = {id(p): self._parents(p) for p in plans}
        self.locate({parent for group in parents.values() for parent in group})
        ready = plans
        rows: dict[int, list[Any]] = {}
        while True:
            coming = {(p.change.record.model, p.change.record.key) for p in ready}
            staying = []
            for plan in ready:
                lacking = next((x for x in parents[id(plan)] if not self._there(x, coming, leaving)), None)
                if lacking is None:
                    staying.append(plan)
                else:
                    deleted = self._located.get(lacking, _MISSING) is None or Record(*lacking) in leaving
                    reason = Reason.PARENT_DELETED if deleted else Reason.PARENT_MISSING
                    self._hold(plan, reason, f"needs {Record(*lacking)}", Record(*lacking))
            self._give_pks(staying)
            self._fill_in(staying)
            self._prepare(staying, rows)
            fit = [plan for plan in staying if id(plan) in rows]
            if len(fit) == len(ready):
                return [(plan, rows[id(plan)]) for plan in fit]
            coming_still = {id(plan) for plan in fit}
            for plan in ready:
                if not plan.live and id(plan) not in coming_still:
                    self._located.pop(plan.change.record, None)  # it does not come: nobody may refer to it
                    self.pks.pop(plan.change.record, None)
            ready = fit

    def _parents(self, plan: Plan) -> list[tuple[str, str]]:
        record = plan.change.record
        content = self.planner.content(record.model)
        parents = content.parents(plan.fields, plan.values or ())
        if content.model.parent is not None:
            parents.append((content.model.parent, record.key))  # its primary key is the parent's
        return parents

    def _there(self, parent: tuple[str, str], coming: set[tuple[str, str]], leaving: set[Record]) -> bool:
        located = self._located.get(parent, _MISSING)
        return parent in coming or (
            located is not _MISSING and located is not None and Record(*parent) not in leaving
        )

    def locate(self, records: Iterable[tuple[str, str]]) -> None:
        """Note the primary key of each record that is here: None for a tombstone, nothing for one never heard of."""
        by_model: dict[str, list[str]] = defaultdict(list)
        for label, key in records:
            by_model[label].append(key)
        for label, keys in by_model.items():
            content = self.planner.content(label)
            stamps = content.stamps(keys)  # a key that can't be is nobody's: it stays missing
            there = self._there_in_fact(content, stamps)
            for key, stamp in stamps.items():
                gone = stamp.deleted or stamp.pk_text not in there
                self._located[label, key] = None if gone else content.model.pk.to_python(stamp.pk_text)

    def located(self, record: tuple[str, str]) -> bool:
        """Whether `locate` has found the row of `record`."""
        return self._located.get(record) is not None

    def prepared(
        self, content: Content, fields: Sequence[str], values: Sequence[Sequence[Any]]
    ) -> list[list[Any] | Unfit]:
        """The database values of rows that refer to what is located, or why one has none."""
        return content.prepare_rows(fields, values, self._located)

    def _there_in_fact(self, content: Content, stamps: dict[str, StampRow]) -> set[str]:
        """Primary keys of the rows that exist. What was deleted since it was stamped is stamped now.

        SQLite checks foreign keys at COMMIT: a parent that only the ledger knows would cost the whole page.
        """
        texts = [str(s.pk_text) for s in stamps.values() if not s.deleted]
        model = content.model
        self.vendor.hold_rows(model.table, model.pk_column, [content.db_pk(text) for text in texts])
        there = content.present(texts)
        gone = [text for text in texts if text not in there]
        if gone:
            stamp_rows(self.ledger, content.model, gone)
        return there

    def _give_pks(self, plans: list[Plan]) -> None:
        """Primary keys for the rows that are to be inserted, so that children can refer to them already."""
        same: list[Plan] = []
        lacking: dict[str, list[Record]] = defaultdict(list)
        for plan in plans:
            record = plan.change.record
            if plan.live or record in self.pks:
                continue
            content = self.planner.content(record.model)
            if content.model.identity == "pk":
                self._located[record], self.pks[record] = content.pk_of_key(record.key)
            elif content.model.parent is not None:
                same.append(plan)
            else:
                lacking[record.model].append(record)
        for label, records in lacking.items():
            found = self.vendor.allocate_pks(self.ledger.models[label], len(records))
            for record, pk in zip(records, found, strict=True):
                self._located[record], self.pks[record] = pk, str(pk)

        models = [self.ledger.models[plan.change.record.model] for plan in same]
        for label in reversed(children_first(self.ledger.models, {model.label for model in models})):
            for plan, model in zip(same, models, strict=True):
                if model.label == label:
                    record, pk = plan.change.record, self._located[str(model.parent), plan.change.record.key]
                    self._located[record], self.pks[record] = pk, pk_text(model, pk, self.ledger)

    def _fill_in(self, plans: list[Plan]) -> None:
        """Note the values of parents to which others refer by another field than the primary key."""
        coming = {plan.change.record: plan for plan in plans}
        lacking: dict[tuple[str, str], dict[Any, str]] = defaultdict(dict)
        for plan in plans:
            content = self.planner.content(plan.change.record.model)
            for label, key, name in content.others(plan.fields, plan.values or ()):
                parent = coming.get(Record(label, key))
                columns = self.ledger.models[label].columns
                sent = next((c.name for c in columns if c.field.name == name), "")
                if parent is not None and parent.values is not None and sent in parent.fields:
                    value = parent.values[parent.fields.index(sent)]
                    self._located[label, key, name] = self.planner.content(label).columns[sent].field.to_python(value)
                else:
                    lacking[label, name][self._located[label, key]] = key
        for (label, name), keys in lacking.items():
            rows = self.ledger.models[label].model._base_manager.using(self.ledger.using).filter(pk__in=keys)
            for pk, value in rows.values_list("pk", name):
                self._located[label, keys[pk], name] = value

    def _prepare(self, plans: list[Plan], rows: dict[int, list[Any]]) -> None:
        """Add the database values of `plans` to `rows`; hold those whose values don't fit."""
        groups: dict[tuple[str, tuple[str, ...]], list[Plan]] = defaultdict(list)
        for plan in plans:
            if id(plan) not in rows:
                groups[plan.change.record.model, plan.fields].append(plan)
        for (label, fields), group in groups.items():
            content = self.planner.content(label)
            values = [plan.values or () for plan in group]
            for plan, row in zip(group, self.prepared(content, fields, values), strict=True):
                if isinstance(row, Unfit):
                    self._hold(plan, Reason.INVALID, str(row))
                else:
                    rows[id(plan)] = row

    def _hold(self, plan: Plan, reason: Reason, detail: str, waits_for: Record | None = None) -> None:
        self.planner.held.append(Held(plan.change, reason, detail, waits_for))

    # -- rows -------------------------------------------------------------------------------------------------

    def _groups(self, ready: list[tuple[Plan, list[Any]]]) -> Iterable[tuple[Content, list[str], list[Any]]]:
        groups: dict[tuple[str, tuple[str, ...]], list[Any]] = defaultdict(list)
        for plan, row in ready:
            groups[plan.change.record.model, plan.fields].append((plan, row))
        for (label, fields), items in groups.items():
            content = self.planner.content(label)
            yield content, [content.columns[name].column for name in fields], items

    def _insert(self, ready: list[tuple[Plan, list[Any]]]) -> None:
        for content, _, items in self._groups(ready):
            pks = [content.db_pk(self.pks[p.change.record]) for p, _ in items]
            self.insert(content, items[0][0].fields, pks, [row for _, row in items])

    def insert(
        self, content: Content, fields: Sequence[str], pks: Sequence[Any], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows with these primary keys and prepared values of `fields`; other columns get their defaults."""
        model = content.model
        rest, default = content.defaults(fields)
        names = [model.pk_column, *(content.columns[name].column for name in fields), *rest]
        whole = [(pk, *row, *default()) for pk, row in zip(pks, rows, strict=True)]
        self.vendor.insert_rows(model.table, names, whole)
        if model.identity == "pk" and isinstance(model.pk, AutoField):
            self.vendor.move_on(model)

    def _update(self, ready: list[tuple[Plan, list[Any]]]) -> None:
        for content, columns, items in self._groups(ready):
            if not columns:
                continue
            model = content.model
            if self.replace and self.vendor.deletes_alone(model.table):
                self._replace(content, columns, items)
                continue
            rows = [[*row, content.db_pk(str(p.local.pk_text))] for p, row in items]
            if self.vendor.update_rows(model.table, model.pk_column, columns, rows) != len(rows):
                self._insert_vanished(content, columns, items)

    def _followers(self, ready: list[tuple[Plan, list[Any]]]) -> list[Follower]:
        """The rows that refer by value to what is updated, and have to follow."""
        return followers(
            self.ledger,
            (
                (content, items[0][0].fields, [(str(p.local.pk_text), row) for p, row in items])
                for content, _, items in self._groups(ready)
            ),
        )

    def _replace(self, content: Content, columns: list[str], items: list[Any]) -> None:
        """Update rows by taking all of them out first. Foreign keys to them are checked when they are back."""
        model, vendor = content.model, self.vendor
        every = [
            str(field.column)
            for field in model.model._meta.local_concrete_fields
            if not field.primary_key and not getattr(field, "generated", False)
        ]
        changed = {str(p.local.pk_text): dict(zip(columns, row, strict=True)) for p, row in items}
        pks = [content.db_pk(text) for text in changed]
        old = vendor.select_rows(model.table, model.pk_column, [model.pk_column, *every], pks)
        vendor.delete_rows(model.table, model.pk_column, pks)
        rows = []
        for pk, *values in old:
            merged = {
                **dict(zip(every, values, strict=True)),
                **changed[str(pk)],
            }
            rows.append([pk, *merged.values()])
        vendor.insert_rows(model.table, [model.pk_column, *every], rows)

    def _insert_vanished(self, content: Content, columns: list[str], items: list[Any]) -> None:
        """Rows that a stamp calls live and that are not there: gone by a write that no trigger saw."""
        model = content.model
        there = content.present([str(p.local.pk_text) for p, _ in items])
        rest, default = content.defaults(items[0][0].fields)
        lacking = [
            [content.db_pk(str(p.local.pk_text)), *row, *default()]
            for p, row in items
            if p.local.pk_text not in there
        ]
        self.vendor.insert_rows(model.table, [model.pk_column, *columns, *rest], lacking)

    def _delete(self, plans: list[Plan]) -> set[Record]:
        """Delete rows, children first; returns the records that others still refer to."""
        kept: set[Record] = set()
        going: dict[str, dict[str, Plan]] = defaultdict(dict)
        for plan in plans:
            if plan.local is not None:
                going[plan.change.record.model][str(plan.local.pk_text)] = plan
        # The greatest set to which no row outside refers: a row that has to stay keeps those to which it refers.
        # SQLite checks foreign keys at COMMIT, where one that is left dangling would cost the whole page.
        unsure = set(going)
        while unsure:
            label = unsure.pop()
            for text, child in self._referenced(self.ledger.models[label], going).items():
                plan = going[label].pop(text)
                kept.add(plan.change.record)
                self._hold(plan, Reason.STILL_REFERENCED, f"{child} still refers to it")
                unsure |= {target for target in self.ledger.models[label].targets if target in going}
        for label in children_first(self.ledger.models, going):
            model, content = self.ledger.models[label], self.planner.content(label)
            self.vendor.delete_rows(model.table, model.pk_column, [content.db_pk(text) for text in going[label]])
        return kept

    def _referenced(self, model: Replicated, going: Mapping[str, Mapping[str, Plan]]) -> dict[str, str]:
        """Of the rows of `model` that are `going`, those to which a row refers that is not."""
        found: dict[str, str] = {}
        for reference in referring(self.ledger, model, going[model.label]):
            child = reference.field.model
            known = self.ledger.models.get(child._meta.label_lower)
            leaving = going.get(known.label, {}) if known is not None and known.model is child else {}
            if known is None or pk_text(known, reference.pk, self.ledger) not in leaving:
                found[pk_text(model, reference.parent, self.ledger)] = str(reference)
        return found


def children_first(models: Mapping[str, Replicated], labels: Iterable[str]) -> list[str]:
    """`labels` in an order in which no model comes before one that refers to it; cycles are cut anywhere."""
    wanted, done, order = set(labels), set[str](), list[str]()

    def visit(label: str) -> None:
        if label in done:
            return
        done.add(label)
        for target in sorted(models[label].targets):
            if target in models:
                visit(target)
        order.append(label)

    for label in sorted(wanted):
        visit(label)
    return [label for label in reversed(order) if label in wanted]
