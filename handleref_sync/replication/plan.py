"""Deciding what becomes of each incoming change, given what is here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.reconcile import Decision, Loser, reconcile
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import DotReused
from handleref_sync.models import Capture, Parked
from handleref_sync.registry import Replicated
from handleref_sync.replication import conflicts
from handleref_sync.replication.content import Content, Unfit
from handleref_sync.replication.feed import version_of
from handleref_sync.replication.ledger import Ledger, StampRow, now_ms
from handleref_sync.replication.stamping import PARAMETERS, stamp_rows

Reason = Parked.Reason


@dataclass
class Plan:
    """One change, the stamp that its record has here, and what follows from the two."""

    change: Change
    local: StampRow | None
    decision: Decision
    values: tuple[Any, ...] | None
    """What is to be written, if the decision says so; None for a deletion."""
    loser: Change | None = None
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
                by_model[label].append(change)
        return [plan for label, group in by_model.items() for plan in self._plan_model(label, group)]

    def _plan_model(self, label: str, changes: list[Change]) -> list[Plan]:
        content, ledger = self.content(label), self.ledger
        changes, texts = self._readable(content, changes)
        stamps = self.stamps(content.model, [c.record.key for c in changes], texts)
        pks = sorted({s.pk_text for s in stamps.values() if s.pk_text is not None} | set(texts.values()))
        busy = self._lock(content.model, pks)
        # Only now: what the application committed while we waited for its rows has its captures in sight.
        captured = Capture.objects.using(ledger.using).filter(model=content.model.id)
        if pks and captured.exists() and stamp_rows(ledger, content.model, pks):
            stamps = self.stamps(content.model, [c.record.key for c in changes], texts)
        versions = {key: version_of(ledger, s) for key, s in stamps.items()}
        rows = content.read(self._to_compare(changes, stamps, versions), under_lock=True)
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
            row = rows.get(stamp.pk_text) if stamp is not None and stamp.pk_text is not None else None
            here = None if row is None else dict(zip(content.fields, row, strict=True))
            plan = self._decide(content, change, stamp, local, here)
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

    def stamps(self, model: Replicated, keys: Iterable[str], texts: Mapping[str, str]) -> dict[str, StampRow]:
        """The stamps of the records with these keys, by key. `texts`: their primary keys, for identity ``"pk"``."""
        found: dict[str, StampRow] = {}
        wanted = list(dict.fromkeys(keys))
        by_text = {text: key for key, text in texts.items()}
        for start in range(0, len(wanted), PARAMETERS):
            chunk = wanted[start : start + PARAMETERS]
            if model.identity == "pk":
                for stamp in self.ledger.stamps(model=model.id, pk_text__in=[texts[key] for key in chunk]):
                    found[by_text[str(stamp.pk_text)]] = stamp
            else:
                found.update((str(stamp.key), stamp) for stamp in self.ledger.stamps(model=model.id, key__in=chunk))
        return found

    def _lock(self, model: Replicated, pks: list[str]) -> set[str]:
        vendor = self.ledger.vendor
        prepare = model.pk.get_db_prep_value
        values = {prepare(model.pk.to_python(pk), vendor.connection): pk for pk in pks}
        return {values[value] for value in vendor.lock_rows(model.table, model.pk_column, list(values))}

    @staticmethod
    def _to_compare(
        changes: list[Change], stamps: Mapping[str, StampRow], versions: Mapping[str, Version]
    ) -> list[str]:
        """Primary keys of the rows whose content the decision needs: of concurrent versions, and of equal dots."""
        needed = []
        for change in changes:
            stamp = stamps.get(change.record.key)
            if stamp is None or stamp.deleted or stamp.pk_text is None:
                continue
            local, incoming = versions[change.record.key], change.version
            known = local.clock.knows(incoming.dot)
            if local.dot == incoming.dot or not (known or incoming.clock.knows(local.dot)):
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
        def same() -> bool:
            if change.values is None or here is None:
                return change.values is None and here is None
            return content.same(change.fields, change.values, here)

        incoming = change.version
        gone = here is None and stamp is not None and not stamp.deleted  # by a write that no trigger saw
        if local is not None and local.dot == incoming.dot and not gone and not same():
            raise DotReused(
                f"{change.record} has two contents under the one dot {incoming.dot}.",
                hint="A node was copied, or restored without a new incarnation; find out which before you go on.",
            )
        decision = reconcile(local, incoming, same)
        if decision.loser is Loser.NONE or local is None:
            return Plan(change, stamp, decision, change.values)
        if change.record.model == conflicts.LABEL:
            return self._unite_entries(change, stamp, local, decision, here)
        mine = Change(change.record, local, content.fields, None if here is None else tuple(here.values()))
        loser = mine if decision.loser is Loser.LOCAL else change
        return Plan(change, stamp, decision, change.values, loser)

    def _unite_entries(
        self, change: Change, stamp: StampRow | None, local: Version, decision: Decision, here: dict[str, Any] | None
    ) -> Plan:
        """Entries of the conflict log never lose: their flags unite, and nothing is logged about them."""
        decision = replace(decision, loser=Loser.NONE)
        if change.values is None or here is None:
            return Plan(change, stamp, decision, change.values)
        both = conflicts.united(here, change.fields, change.values)
        clock = local.clock.unite(change.version.clock)
        if wire.pack(both) == wire.pack(change.values):
            version = Version(change.version.dot, clock, change.version.timestamp)
            return Plan(change, stamp, Decision(True, version), both)
        if all(here[name] == value for name, value in zip(change.fields, both, strict=True)):
            return Plan(change, stamp, Decision(False, Version(local.dot, clock, local.timestamp)), both)
        # Made alike on two nodes, such products unite: the timestamp comes from the inputs, not from the wall clock.
        timestamp = max(local.timestamp, change.version.timestamp) + 1
        return Plan(change, stamp, Decision(True, Version(local.dot, clock, timestamp)), both, machine=True)
