"""Applying a page: each change is decided, and written, parked, or ignored, in one transaction with the cursor.

The invariant: after the transaction, every change of the page is in its table, superseded by a version that knew it,
in the conflict log, or parked; the stamps say so; and the reader's cursor stands behind the page. If the transaction
does not commit, nothing of this happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django.db import DatabaseError, IntegrityError, OperationalError, transaction

from handleref_sync.core.change import Change, Record
from handleref_sync.core.version_vector import Dot
from handleref_sync.exceptions import DotReused, NotPermitted, SyncError
from handleref_sync.models import Parked, Peer
from handleref_sync.replication import conflicts, parking
from handleref_sync.replication.feed import change_of
from handleref_sync.replication.ledger import Ledger, StampRow, locked
from handleref_sync.replication.outcome import Outcome
from handleref_sync.replication.page import Page
from handleref_sync.replication.plan import Held, Plan, Planner
from handleref_sync.replication.writing import Writer
from handleref_sync.signals import changes_applied

Reason = Parked.Reason


def apply_page(using: str, peer: Peer, page: Page, *, whole: bool, scope: str) -> Outcome:
    """Apply what `peer` gave. `whole`: the exchange leaves nothing out, so that at its head the vectors may merge.

    Raises NotPermitted for writes that the peer may not pass on, DotReused for a dot with two contents; in both cases
    nothing is applied.
    """
    try:
        return _apply_page(using, peer, page, whole, scope)
    except IntegrityError as error:  # found at COMMIT only: SQLite checks foreign keys there
        raise SyncError(
            f"A page of {peer.name} can't be committed: {str(error).strip()}.",
            hint="A constraint that Django knows nothing of is in the way; nothing of the page was applied.",
        ) from error


def _apply_page(using: str, peer: Peer, page: Page, whole: bool, scope: str) -> Outcome:
    outcome = Outcome()
    with locked(using) as ledger:
        ledger.vendor.bound_waits()
        _check(ledger, peer, page.changes)
        _learn(ledger, page.changes)
        applier = Applier(ledger)
        outcome.add(applier.apply(page.changes))
        outcome.add(applier.retry(outcome))
        peer.pull_sequence, peer.pull_token = page.cursor
        peer.pull_scope = scope
        peer.save(using=using, update_fields=["pull_sequence", "pull_token", "pull_scope"])
        if page.head and page.whole and whole:
            ledger.merge(page.vector)
        transaction.on_commit(lambda: announce(using, peer.name, ledger, outcome), using=using, robust=True)
    return outcome


def retry_parked(using: str, node: str) -> Outcome:
    """Try all parked changes again; those that still can't be written stay as they are."""
    outcome = Outcome()
    if not Parked.objects.using(using).exists():
        return outcome
    with locked(using) as ledger:
        ledger.vendor.bound_waits()
        outcome.add(Applier(ledger).retry())
        transaction.on_commit(lambda: announce(using, node, ledger, outcome), using=using, robust=True)
    return outcome


def announce(using: str, node: str, ledger: Ledger, outcome: Outcome) -> None:
    """Tell caches and search indexes: an applied change calls no ``save()``."""
    for label, keys in outcome.keys.items():
        changes_applied.send(ledger.models[label].model, keys=keys, node=node, using=using)


def _check(ledger: Ledger, peer: Peer, changes: Iterable[Change]) -> None:
    me = ledger.local.incarnation.name
    for change in changes:
        dot = change.version.dot
        if not peer.relay and dot.node.partition("~")[0] != peer.name:
            raise NotPermitted(
                f"{peer.name} may not pass on what {dot.node} wrote.", hint="Set its relay flag, if you trust it."
            )
        if change.version.clock.get(me, 0) > ledger.local.sequence:
            raise DotReused(
                f"{peer.name} knows writes of this node that it doesn't have: it was restored from a backup.",
                hint="Run sync_peer again: the node takes a new incarnation, and gets those writes back.",
            )


def _learn(ledger: Ledger, changes: Iterable[Change]) -> None:
    """Note the nodes and counters met, before any savepoint that might be rolled back."""
    met: dict[str, int] = {}
    for change in changes:
        for node, counter in change.version.clock.items():
            if counter > met.get(node, 0):
                met[node] = counter
    ledger.saw(met)


class Applier:
    """Applies changes within one locked transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._anything_parked = Parked.objects.using(ledger.using).exists()

    def apply(self, changes: Sequence[Change]) -> Outcome:
        """Apply `changes` in their order."""
        outcome = Outcome()
        for batch in _one_of_each(changes):
            outcome.add(self._attempt(batch))
        return outcome

    def retry(self, after: Outcome | None = None) -> Outcome:
        """Try parked changes again: those that wait for what came with `after`, or all; and what that sets free."""
        total = Outcome()
        while True:
            arrived = None if after is None else [Record(m, key) for m, keys in after.keys.items() for key in keys]
            parked = parking.waiting(self.ledger, arrived) if arrived != [] else []
            if not parked:
                return total
            self._anything_parked = True
            after = self.apply([change_of(self.ledger, p) for p in parked])
            after.parked = 0  # they were counted when they came
            total.add(after)

    def _attempt(self, batch: list[Change]) -> Outcome:
        """Apply a batch; on an error halve it, until the guilty one is alone and can be parked."""
        try:
            try:
                with transaction.atomic(using=self.ledger.using):
                    return self._apply(batch)
            except IntegrityError:
                if len(batch) == 1:
                    raise
                # Unique values that change places collide only in passing.
                with transaction.atomic(using=self.ledger.using):
                    return self._apply(batch, replace=True)
        except (DatabaseError, OverflowError, ValueError) as error:
            late = self.ledger.vendor.waited_too_long(error)
            if isinstance(error, OperationalError) and not late:
                raise  # the connection or the disk, not the change
            if late:
                self.ledger.vendor.hurry()
            if len(batch) > 1:
                middle = len(batch) // 2
                outcome = self._attempt(batch[:middle])
                outcome.add(self._attempt(batch[middle:]))
                return outcome
            reason = Reason.LOCKED if late else Reason.INVALID
            if isinstance(error, IntegrityError):
                dangling = self.ledger.vendor.dangling(error)
                reason = Reason.PARENT_MISSING if dangling else Reason.UNIQUE
            self._anything_parked = True
            return Outcome(parked=int(parking.park(self.ledger, batch[0], reason, str(error).strip())))

    def _apply(self, batch: list[Change], *, replace: bool = False) -> Outcome:
        ledger, vendor = self.ledger, self.ledger.vendor
        planner = Planner(ledger)
        plans = planner.plan(batch)
        writer = Writer(planner, replace=replace)
        outcome = Outcome()
        with vendor.applying():
            vendor.defer_constraints()
            plans = writer.write(plans)
            vendor.check_constraints()
            losers = [plan.loser for plan in plans if plan.loser is not None]
            conflicts.log(ledger, losers)
        outcome.conflicts = len(losers)
        self._stamp(plans, writer)
        for held in planner.held:
            outcome.parked += self._hold(held)
        if self._anything_parked:
            parking.superseded(ledger, {**planner.known, **{p.change.record: p.decision.stamp.clock for p in plans}})
        outcome.applied = len(plans)
        for plan in plans:
            if plan.decision.write:
                outcome.keys[plan.change.record.model].append(plan.change.record.key)
        return outcome

    def _hold(self, held: Held) -> int:
        self._anything_parked = True
        return int(parking.park(self.ledger, held.change, held.reason, held.detail, held.waits_for))

    def _stamp(self, plans: list[Plan], writer: Writer) -> None:
        """Write the stamps that the decisions made, each with a sequence of its own."""
        if not plans:
            return
        ledger = self.ledger
        changed, new = [], []
        first = ledger.take(len(plans))
        for sequence, plan in enumerate(plans, first):
            version = plan.decision.stamp
            dot, clock = version.dot, version.clock
            if plan.machine:
                dot = Dot(ledger.local.incarnation.name, sequence)
                clock = clock.with_dot(dot)
            record = plan.change.record
            model = ledger.models[record.model]
            stamp = plan.local
            if stamp is None:
                key = None if model.identity == "pk" else record.key
                stamp = StampRow(model_id=model.id, key=key, deleted=True)
                if model.identity == "pk":
                    stamp.pk_text = writer.planner.content(record.model).pk_of_key(record.key)[1]
                new.append(stamp)
            else:
                changed.append(stamp)
            if plan.decision.write:
                stamp.deleted = plan.values is None
                if record in writer.pks:
                    stamp.pk_text = writer.pks[record]
                elif stamp.deleted and model.local_pk:
                    stamp.pk_text = None
            stamp.node_id, stamp.counter, stamp.timestamp = (
                ledger.node_number(dot.node),
                dot.counter,
                version.timestamp,
            )
            stamp.clock = None if len(clock) == 1 and clock.get(dot.node) == dot.counter else str(clock)
            stamp.sequence = sequence
        ledger.save_stamps(changed, new)
        if any(plan.machine for plan in plans):
            ledger.wrote(ledger.local.sequence)


def _one_of_each(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Batches in which no record occurs twice, so that each can be decided as a set."""
    batch: dict[Record, Change] = {}
    for change in changes:
        if change.record in batch:
            yield list(batch.values())
            batch = {}
        batch[change.record] = change
    if batch:
        yield list(batch.values())
