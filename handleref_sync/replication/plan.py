"""Deciding what becomes of each incoming change, given what is here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.join import Joined, Lost
from handleref_sync.core.reconcile import Decision, Loser, reconcile
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.declared import LWW
from handleref_sync.exceptions import DotReused
from handleref_sync.models import Capture, Parked
from handleref_sync.replication import conflicts
from handleref_sync.replication.carried import by_first_names, change_of_row, of_change, plain
from handleref_sync.replication.content import Content
from handleref_sync.replication.feed import version_of
from handleref_sync.replication.joining import joined, same
from handleref_sync.replication.ledger import Ledger, StampRow, now_ms
from handleref_sync.replication.stamping import CHUNK, stamp_rows, stamp_some
from handleref_sync.replication.values import Unfit

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


class Planner:
    """Makes plans for a set of changes of different records. Needs the sequence lock."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.contents: dict[str, Content] = {}
        self.held: list[Held] = []
        self.known: dict[Record, VersionVector] = {}
        """Clocks of the records of which nothing new came."""
        self.unknown: dict[str, set[str]] = defaultdict(set)
        """By model: fields in these changes that have no column here."""

    def content(self, label: str) -> Content:
        """The content of one model, made once."""
        if label not in self.contents:
            self.contents[label] = Content(self.ledger, self.ledger.models[label])
        return self.contents[label]

    def plan(self, changes: Iterable[Change]) -> list[Plan]:
        """Plans for those changes that make a difference; those that can't even be looked at go to ``held``."""
        by_model: dict[str, list[Change]] = defaultdict(list)
        now, limit = now_ms(), int(settings.max_clock_skew * 1000)
        for change in changes:
            label, timestamp = change.record.model, change.version.timestamp
            if label not in self.ledger.models:
                self.held.append(Held(change, Reason.UNKNOWN_MODEL, f"{label} is not replicated here"))
            elif hlc.too_far_ahead(timestamp, now, limit):
                # Before it touches any clock of ours: what it ticks from it would be too far ahead as well.
                ahead = (hlc.milliseconds(timestamp) - now) // 1000
                self.held.append(Held(change, Reason.CLOCK_AHEAD, f"{ahead} s ahead of this node's clock"))
            else:
                by_model[label].append(by_first_names(change, self.ledger.models[label].aliases))
        return [plan for label, group in by_model.items() for plan in self._plan_model(label, group)]

    def _plan_model(self, label: str, changes: list[Change]) -> list[Plan]:
        content, ledger = self.content(label), self.ledger
        changes, texts = self._readable(content, changes)
        keys = [change.record.key for change in changes]
        if content.model.named:
            # A row that waits to be stamped may be one of these records, and only its stamp says so.
            while stamp_some(ledger, [content.model.id])[0] >= CHUNK:
                pass
        stamps = content.stamps_with(keys, texts)
        pks = sorted({s.pk_text for s in stamps.values() if s.pk_text is not None} | set(texts.values()))
        busy = self._lock(content, pks)
        # Only now: what the application committed while we waited for its rows has its captures in sight.
        captured = Capture.objects.using(ledger.using).filter(model=content.model.id)
        if pks and captured.exists() and stamp_rows(ledger, content.model, pks):
            stamps = content.stamps_with(keys, texts)
        versions = {key: version_of(ledger, s) for key, s in stamps.items()}
        rows = content.read(self._to_compare(content, changes, stamps, versions), under_lock=True)
        plans = []
        for change in changes:
            stamp = stamps.get(change.record.key)
            local = versions.get(change.record.key)
            if stamp is not None and local is not None and stamp.pk_text in busy:
                if local.clock.covers(change.version.clock):
                    self.known[change.record] = local.clock
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
            except Unfit as error:
                self.held.append(Held(change, Reason.INVALID, str(error)))
                continue
            if plan.decision.changes(local):
                plans.append(plan)
            elif local is not None:
                self.known[change.record] = local.clock
        return plans

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
        """Primary keys of the rows whose content the decision needs: of concurrent versions, and of equal dots."""
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
        if local is not None and local.dot == incoming.dot and not gone and not same_content():
            raise DotReused(
                f"{change.record} has two contents under the one dot {incoming.dot}.",
                hint="A node was copied, or restored without a new incarnation; find out which before you go on.",
            )
        decision = reconcile(local, incoming, same_content)
        if decision.loser is Loser.NONE or local is None:
            return Plan(change, stamp, decision, change.fields, change.values)
        if change.record.model == conflicts.LABEL:
            return self._unite_entries(change, stamp, local, decision, here)
        mine = Change(change.record, local, content.fields, None if here is None else tuple(here.values()))
        loser = mine if decision.loser is Loser.LOCAL else change
        return Plan(change, stamp, decision, change.fields, change.values, (Lost(loser),))

    def _by_fields(self, content: Content, change: Change, stamp: StampRow | None) -> bool:
        """Whether there is more to decide than which of two whole rows it is."""
        model = content.model
        if model.label == conflicts.LABEL:
            return False
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
        if stamp is None or local is None:
            return self._plan_of(content, change, stamp, change, Decision(True, change.version))
        row = None if here is None else tuple(here.values())
        mine = change_of_row(self.ledger, stamp, change.record, local, content.fields, row)
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

    def _unite_entries(
        self, change: Change, stamp: StampRow | None, local: Version, decision: Decision, here: dict[str, Any] | None
    ) -> Plan:
        """Entries of the conflict log never lose: their flags unite, and nothing is logged about them."""
        decision = decision._replace(loser=Loser.NONE)
        if change.values is None or here is None:
            return Plan(change, stamp, decision, change.fields, change.values)
        both = conflicts.united(here, change.fields, change.values, decision.write)
        clock = local.clock.unite(change.version.clock)
        if wire.pack(both) == wire.pack(change.values):
            version = Version(change.version.dot, clock, change.version.timestamp)
            return Plan(change, stamp, Decision(True, version), change.fields, both)
        if all(here[name] == value for name, value in zip(change.fields, both, strict=True)):
            kept = Decision(False, Version(local.dot, clock, local.timestamp))
            return Plan(change, stamp, kept, change.fields, both)
        # Made alike on two nodes, such products unite: the timestamp comes from the inputs, not from the wall clock.
        timestamp = max(local.timestamp, change.version.timestamp) + 1
        product = Decision(True, Version(local.dot, clock, timestamp))
        return Plan(change, stamp, product, change.fields, both, machine=True)
