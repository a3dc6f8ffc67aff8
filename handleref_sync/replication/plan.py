"""Deciding what becomes of each incoming change, given what is here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from handleref_sync.conf import settings
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.join import Joined, Lost, unaware, whole_of
from handleref_sync.core.reconcile import Decision, Loser, reconcile
from handleref_sync.declared import LWW
from handleref_sync.models import Capture, Parked
from handleref_sync.replication import conflicts, entries
from handleref_sync.replication.admission import RightsOfDot, purged, refused_clock, refused_key, refused_write
from handleref_sync.replication.carried import by_first_names, change_of_row, of_change, of_write, plain
from handleref_sync.replication.content import Content
from handleref_sync.replication.joining import as_here, joined, reused, same
from handleref_sync.replication.ledger import Ledger, StampRow, now_ms
from handleref_sync.replication.rights import Rights
from handleref_sync.replication.stamping import CHUNK, stamp_rows, stamp_some
from handleref_sync.replication.values import Unfit
from handleref_sync.replication.versions import version_of

Reason = Parked.Reason


@dataclass
class Plan:
    """One change, the stamp that its record has here, and what follows from the two."""

    change: Change
    local: StampRow | None
    decision: Decision
    fields: tuple[str, ...]
    values: tuple[Any, ...] | None
    """What is to be written, if the decision says so; None for a deletion."""
    lost: tuple[Lost, ...] = ()
    carried: bytes | None = None
    """What the stamp keeps of the fields that the version did not write."""
    machine: bool = False
    """Whether the product is a write of ours, made by the machine: it takes a dot of its own."""

    @property
    def live(self) -> bool:
        """Whether the record has a row here."""
        return self.local is not None and not self.local.deleted


@dataclass
class Held:
    """A change that can't be written now, and why."""

    change: Change
    reason: Reason
    detail: str = ""
    waits_for: Record | None = None


def kept(ledger: Ledger, content: Content, stamp: StampRow, row: tuple[Any, ...], change: Change) -> Plan:
    """The row that is here stays, over `change`, which goes to the log: a write of ours that knows both."""
    local = version_of(ledger, stamp)
    timestamp = max(local.timestamp, change.version.timestamp) + 1
    version = Version(local.dot, local.clock.unite(change.version.clock), timestamp)
    carried = of_write(ledger, stamp, content.fields, None)
    lost = (whole_of(change),)
    return Plan(change, stamp, Decision(False, version), content.fields, row, lost, carried, machine=True)


EVERYTHING = Rights()


class Planner:
    """Makes plans for a set of changes of different records. Needs the sequence lock.

    `rights`: what may be written by whoever brought the change with a dot; everything, if it isn't given.
    """

    def __init__(self, ledger: Ledger, rights: Rights | RightsOfDot = EVERYTHING) -> None:
        self.ledger = ledger
        self.alike = rights if isinstance(rights, Rights) else None
        """The rights of all of them, where they are the same: nothing has to be asked for each of thousands."""
        self.rights: RightsOfDot = (lambda dot: rights) if isinstance(rights, Rights) else rights
        self.contents: dict[str, Content] = {}
        self.held: list[Held] = []
        self.new: list[Change] = []
        """Those of records that are new here, where they are asked for apart."""
        self.known: dict[Record, Version] = {}
        """What is here of the records of which nothing new came."""
        self.unknown: dict[str, set[str]] = defaultdict(set)
        """By model: fields in these changes that have no column here."""

    def content(self, label: str) -> Content:
        """The content of one model, made once."""
        if label not in self.contents:
            self.contents[label] = Content(self.ledger, self.ledger.models[label])
        return self.contents[label]

    def plan(self, changes: Iterable[Change], apart: Collection[str] = ()) -> list[Plan]:
        """Plans for those changes that make a difference; those that can't even be looked at go to ``held``.

        `apart`: models of which whole new records go to ``new`` instead, for there is nothing to decide about them.
        """
        by_model: dict[str, list[Change]] = defaultdict(list)
        now, limit = now_ms(), int(settings.max_clock_skew * 1000)
        aliases = {label: model.aliases for label, model in self.ledger.models.items() if model.aliases}
        changes = list(changes)
        hurried = hlc.too_far_ahead(max((c.version.timestamp for c in changes), default=0), now, limit)
        believed = self.alike is not None and self.alike.relay
        for change in changes:
            label, timestamp = change.record.model, change.version.timestamp
            if not believed and (why := refused_clock(self.ledger, self.rights(change.version.dot), change)):
                self.held.append(Held(change, Reason.NOT_PERMITTED, why))
            elif label not in self.ledger.models:
                self.held.append(Held(change, Reason.UNKNOWN_MODEL, f"{label} is not replicated here"))
            elif hurried and hlc.too_far_ahead(timestamp, now, limit):
                # Before it touches any clock of ours: what it ticks from it would be too far ahead as well.
                ahead = (hlc.milliseconds(timestamp) - now) // 1000
                self.held.append(Held(change, Reason.CLOCK_AHEAD, f"{ahead} s ahead of this node's clock"))
            else:
                by_model[label].append(by_first_names(change, aliases[label]) if label in aliases else change)
        return [plan for label, group in by_model.items() for plan in self._plan_model(label, group, label in apart)]

    def _plan_model(self, label: str, changes: list[Change], apart: bool) -> list[Plan]:
        content, ledger = self.content(label), self.ledger
        changes, texts = self._readable(content, changes)
        keys = [change.record.key for change in changes]
        if content.model.named:
            # A row that waits to be stamped may be one of these records, and only its stamp says so.
            while stamp_some(ledger, [content.model.id])[0] >= CHUNK:
                pass
        stamps = content.stamps_with(keys, texts)
        changes = self._admitted(content, changes, stamps.keys())
        buried, changes = self._buried(content, changes, stamps.keys())
        pks = sorted({s.pk_text for s in stamps.values() if s.pk_text is not None} | set(texts.values()))
        busy = self._lock(content, pks)
        # Only now: what the application committed while we waited for its rows has its captures in sight.
        captured = Capture.objects.using(ledger.using).filter(model=content.model.id)
        if pks and captured.exists() and stamp_rows(ledger, content.model, pks):
            stamps = content.stamps_with(keys, texts)
        versions = {key: version_of(ledger, s) for key, s in stamps.items()}
        rows = content.read(self._to_compare(content, changes, stamps, versions), under_lock=True)
        plans = buried
        if apart:
            changes = self._put_apart(content, changes, stamps.keys())
        for change in changes:
            stamp = stamps.get(change.record.key)
            local = versions.get(change.record.key)
            if stamp is not None and local is not None and stamp.pk_text in busy:
                if local.clock.covers(change.version.clock):
                    self.known[change.record] = local
                    continue
                self.held.append(Held(change, Reason.LOCKED))
                continue
            if stamp is not None and stamp.pk_text in content.unreadable and not stamp.deleted:
                why = content.unreadable[stamp.pk_text]
                self.held.append(Held(change, Reason.INVALID, f"the row that is here can't be read: {why}"))
                continue
            row = rows.get(stamp.pk_text) if stamp is not None and stamp.pk_text is not None else None
            here = None if row is None else dict(zip(content.fields, row, strict=True))
            try:
                plan = self._decide(content, change, stamp, local, here)
                if plan.decision.write and plan.values is not None:
                    content.refuse_references(plan.fields, plan.values)
            except Unfit as error:
                self.held.append(Held(change, Reason.INVALID, str(error)))
                continue
            rights = self.rights(change.version.dot)
            why = refused_write(content, rights, plan.fields, plan.values, here) if plan.decision.write else ""
            if why and here is not None and stamp is not None and unaware(version_of(ledger, stamp), change.version):
                # Made without knowing what is here, it may have what it has no right to by being out of date only.
                # The next of its author's would have it again, so this is settled: what is here stays.
                plan = kept(ledger, content, stamp, tuple(here.values()), change)
            elif why:
                self.held.append(Held(change, Reason.NOT_PERMITTED, why))
                continue
            if plan.decision.changes(local):
                plans.append(plan)
            elif local is not None:
                self.known[change.record] = local
        return plans

    def _admitted(self, content: Content, changes: list[Change], known: Collection[str]) -> list[Change]:
        """Those of `changes` whose keys their bringers may use; the others are held."""
        if self.alike is not None and self.alike.relay:
            return changes
        admitted = []
        for change in changes:
            rights = self.rights(change.version.dot)
            why = "" if change.record.key in known else refused_key(content.model, rights, change)
            if why:
                self.held.append(Held(change, Reason.NOT_PERMITTED, why))
            else:
                admitted.append(change)
        return admitted

    def _put_apart(self, content: Content, changes: list[Change], known: Collection[str]) -> list[Change]:
        """Move whole new records to ``new``; returns the other changes."""
        others = []
        everything = self.alike is not None and self.alike.all_of(content.model)
        for change in changes:
            whole = change.values is not None and not change.carried and content.complete(change.fields)
            whole = whole and (everything or self.rights(change.version.dot).all_of(content.model))
            if whole and change.record.key not in known:
                self.new.append(change)
            else:
                others.append(change)
        return others

    def plans_of_new(self, content: Content, changes: Iterable[Change]) -> list[Plan]:
        """Plans for records that are new here, after all."""
        plans = []
        for change in changes:
            try:
                content.refuse_references(change.fields, change.values or ())
            except Unfit as error:
                self.held.append(Held(change, Reason.INVALID, str(error)))
            else:
                plans.append(Plan(change, None, Decision(True, change.version), change.fields, change.values))
        return plans

    def _buried(
        self, content: Content, changes: list[Change], known: Collection[str]
    ) -> tuple[list[Plan], list[Change]]:
        """Tombstones for records whose own were purged, and the other changes.

        Who never heard of the deletion gets a new one, which knows its version, and that goes to the log.
        """
        away = (c for c in changes if c.deleted or self.rights(c.version.dot).rejoining)
        keys = purged(self.ledger, content.model, away, known)
        if not keys:
            return [], changes
        incorporated = self.ledger.incorporated()  # a copy of all nodes, and a page may have thousands of deletions
        plans, others = list[Plan](), list[Change]()
        for change in changes:
            if change.record.key not in keys:
                others.append(change)
            elif change.deleted and incorporated.covers(change.version.clock):
                self.known[change.record] = change.version  # the tombstone itself: it may rest
            elif change.deleted:
                others.append(change)  # of one that was made again meanwhile, say: those behind us need it
            else:
                version = change.version._replace(timestamp=change.version.timestamp + 1)
                decision = Decision(False, version)
                plans.append(Plan(change, None, decision, (), None, (whole_of(change),), machine=True))
        return plans, others

    def _readable(self, content: Content, changes: list[Change]) -> tuple[list[Change], dict[str, str]]:
        """The changes whose keys this model can have, and the primary keys where those are the same."""
        if content.model.identity != "pk":
            return changes, {}
        good, texts = [], {}
        for change in changes:
            try:
                texts[change.record.key] = content.pk_of_key(change.record.key)[1]
                good.append(change)
            except Unfit as error:
                self.held.append(Held(change, Reason.INVALID, str(error)))
        return good, texts

    def _lock(self, content: Content, pks: list[str]) -> set[str]:
        values = {content.db_pk(pk): pk for pk in pks}
        busy = self.ledger.vendor.lock_rows(content.model.table, content.model.pk_column, list(values))
        return {values[value] for value in busy}

    def _to_compare(
        self, content: Content, changes: list[Change], stamps: Mapping[str, StampRow], versions: Mapping[str, Version]
    ) -> list[str]:
        """Primary keys of the rows whose content the decision needs.

        Of concurrent versions, of equal dots, and where whoever brings the change may not write all of it.
        """
        needed = []
        for change in changes:
            stamp = stamps.get(change.record.key)
            if stamp is None or stamp.deleted or stamp.pk_text is None:
                continue
            local, incoming = versions[change.record.key], change.version
            known = local.clock.knows(incoming.dot)
            if (
                local.dot == incoming.dot
                or not (known or incoming.clock.knows(local.dot))
                or self._by_fields(content, change, stamp)
                or self.rights(incoming.dot).protected(content.model)
            ):
                needed.append(stamp.pk_text)
        return needed

    def _decide(
        self,
        content: Content,
        change: Change,
        stamp: StampRow | None,
        local: Version | None,
        here: dict[str, Any] | None,
    ) -> Plan:
        if self._by_fields(content, change, stamp):
            return self._join(content, change, stamp, local, here)

        def same_content() -> bool:
            if change.values is None or here is None:
                return change.values is None and here is None
            return content.same(change.fields, change.values, here)

        incoming = change.version
        gone = here is None and stamp is not None and not stamp.deleted  # by a write that no trigger saw
        if local is not None and local.dot == incoming.dot and not gone:
            mine = Change(change.record, local, content.fields, None if here is None else tuple(here.values()))
            if mine.deleted != change.deleted:
                raise reused(local.dot, f"it is {'deleted' if mine.deleted else 'not deleted'} here")
            as_here(content, mine, change)
        decision = reconcile(local, incoming, same_content)
        if decision.loser is Loser.NONE or local is None:
            return Plan(change, stamp, decision, change.fields, change.values)
        mine = Change(change.record, local, content.fields, None if here is None else tuple(here.values()))
        loser = mine if decision.loser is Loser.LOCAL else change
        return Plan(change, stamp, decision, change.fields, change.values, (Lost(loser),))

    def _by_fields(self, content: Content, change: Change, stamp: StampRow | None) -> bool:
        """Whether there is more to decide than which of two whole rows it is."""
        model = content.model
        if model.label == conflicts.LABEL:
            return True
        if stamp is not None and (model.resolver != LWW or not plain(self.ledger, stamp)):
            return True
        return bool(change.carried) or (change.values is not None and not content.complete(change.fields))

    def _join(
        self,
        content: Content,
        change: Change,
        stamp: StampRow | None,
        local: Version | None,
        here: dict[str, Any] | None,
    ) -> Plan:
        row = None if here is None else tuple(here.values())
        mine = None
        if stamp is not None and local is not None:
            mine = change_of_row(self.ledger, stamp, change.record, local, content.fields, row)
        if content.model.label == conflicts.LABEL:
            return self._of_entry(content, change, stamp, mine)
        if mine is None:
            return self._plan_of(content, change, stamp, change, Decision(True, change.version))
        result = joined(content, mine, change)
        after = result.change.content
        write = result.change.deleted != mine.deleted or any(
            name in after and not same(after[name][1], (here or {}).get(name)) for name in content.fields
        )
        decision = Decision(write, result.change.version)
        return self._plan_of(content, change, stamp, result.change, decision, result)

    def _plan_of(
        self,
        content: Content,
        change: Change,
        stamp: StampRow | None,
        after: Change,
        decision: Decision,
        result: Joined | None = None,
    ) -> Plan:
        """The plan by which the record becomes `after`: the columns that there are here, and what its stamp keeps."""
        values = {name: value for name, (_, value) in after.content.items() if name in content.columns}
        if not after.deleted and (stamp is None or stamp.deleted):
            content.refuse_lacking(values)
        self.unknown[content.model.label].update(after.content.keys() - values.keys())
        return Plan(
            change,
            stamp,
            decision,
            tuple(values),
            None if after.deleted else tuple(values.values()),
            result.lost if result else (),
            of_change(self.ledger, content.fields, after),
            machine=result is not None and result.again,
        )

    def _of_entry(self, content: Content, change: Change, stamp: StampRow | None, mine: Change | None) -> Plan:
        """The plan for an entry of the conflict log, which is a record like any other, but never loses."""
        entries.refuse(change)
        if mine is None:
            return self._plan_of(content, change, stamp, change, Decision(True, change.version))
        after, decision, machine = entries.united(mine, as_here(content, mine, change), content.columns)
        plan = self._plan_of(content, change, stamp, after, decision)
        plan.machine = machine
        return plan
