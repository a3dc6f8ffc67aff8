"""Applying a page: each change is decided, and written, parked, or ignored, in one transaction with the cursor.

The invariant: after the transaction, every change of the page is in its table, superseded by a version that knew it,
in the conflict log, or parked; the stamps say so; and the reader's cursor stands behind the page. If the transaction
does not commit, nothing of this happened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from django.db import DatabaseError, IntegrityError, OperationalError, transaction

from handleref_sync.conf import settings
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.uncollected import uncollected
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import DotReused, NotPermitted, ParkedFull, SyncError
from handleref_sync.models import Parked, Peer
from handleref_sync.replication import arrivals, conflicts, parking
from handleref_sync.replication.again import again
from handleref_sync.replication.collisions import Collider
from handleref_sync.replication.ledger import Ledger, StampRow, locked
from handleref_sync.replication.outcome import Outcome
from handleref_sync.replication.page import Page
from handleref_sync.replication.plan import Held, Plan, Planner
from handleref_sync.replication.references import Settler
from handleref_sync.replication.revisions import Revisions
from handleref_sync.replication.rights import Rights, RightsOf
from handleref_sync.replication.upgrade import take_effect
from handleref_sync.replication.values import REUSED, Unfit
from handleref_sync.replication.versions import change_of, version_of
from handleref_sync.replication.writing import Writer
from handleref_sync.signals import changes_applied, files_named

Reason = Parked.Reason
logger = logging.getLogger("handleref_sync.replication")


def apply_page(using: str, peer: Peer, page: Page, *, whole: bool, scope: str) -> Outcome:
    """Apply what `peer` gave. `whole`: the exchange leaves nothing out, so that at its head the vectors may merge.

    Raises NotPermitted for writes that the peer may not pass on, DotReused where it knows more of ours than there is,
    ParkedFull where too much would wait; in each case nothing is applied.
    """
    try:
        return again(using, lambda: _apply_page(using, peer, page, whole, scope))
    except IntegrityError as error:  # found at COMMIT only: SQLite checks foreign keys there
        raise SyncError(
            f"A page of {peer.name} can't be committed: {str(error).strip()}.",
            hint="A constraint that Django knows nothing of is in the way; nothing of the page was applied.",
        ) from error


@uncollected()
def _apply_page(using: str, peer: Peer, page: Page, whole: bool, scope: str) -> Outcome:
    outcome = Outcome()
    with locked(using) as ledger:
        ledger.vendor.bound_waits()
        _check(ledger, peer, page.changes)
        _learn(ledger, peer, page.changes)
        applier = Applier(ledger, peer.name)
        outcome.add(applier.apply(page.changes))
        outcome.add(applier.retry(outcome))
        if page.head:
            # Not before: what looks unsettled in the middle of a feed may be settled by its next page.
            outcome.add(applier.settle())
        peer.pull_scope = scope
        if page.head or (peer.pull_sequence, peer.pull_token) != page.cursor:  # not records out of the feed's order
            peer.mid_feed = not page.head
        peer.pull_sequence, peer.pull_token = page.cursor
        if page.head and page.whole and not Parked.objects.using(using).filter(peer=peer.name).exists():
            peer.rejoining = False  # what waits is judged again when it is tried again
        peer.save(using=using, update_fields=["pull_sequence", "pull_token", "pull_scope", "mid_feed", "rejoining"])
        if outcome.parked:
            _refuse_flood(using, peer)
        if page.head and page.whole and whole and not parking.withheld(using):
            _jump(ledger, peer, page)
            ledger.merge(page.vector)
        transaction.on_commit(lambda: announce(using, peer.name, ledger, outcome), using=using, robust=True)
    return outcome


def retry_parked(using: str, node: str, *, settle: bool = False) -> Outcome:
    """Try all parked changes again; those that still can't be written stay as they are.

    `settle`: all that the peers have is here, so that it can be decided what becomes of what contradicts it.
    """
    take_effect(using)
    if not Parked.objects.using(using).exists():
        return Outcome()
    return again(using, lambda: _retry_parked(using, node, settle))


def _retry_parked(using: str, node: str, settle: bool) -> Outcome:
    outcome = Outcome()
    with locked(using) as ledger:
        ledger.vendor.bound_waits()
        applier = Applier(ledger, node)
        outcome.add(applier.retry())
        if settle:
            outcome.add(applier.settle())
        transaction.on_commit(lambda: announce(using, node, ledger, outcome), using=using, robust=True)
    return outcome


def announce(using: str, node: str, ledger: Ledger, outcome: Outcome) -> None:
    """Tell caches and search indexes: an applied change calls no ``save()``."""
    for label, keys in outcome.keys.items():
        changes_applied.send(ledger.models[label].model, keys=keys, node=node, using=using)
    for label, names in outcome.files.items():
        files_named.send(ledger.models[label].model, names=list(names), node=node, using=using)


def _check(ledger: Ledger, peer: Peer, changes: Iterable[Change]) -> None:
    me, rights, last = ledger.local.incarnation.name, Rights.of(peer), ledger.local.sequence
    ours = f"{me}:"
    seen = VersionVector() if peer.relay else ledger.seen()
    for change in changes:
        if not rights.exchanges(change):
            raise NotPermitted(
                f"{peer.name} has nothing to do with {change.record.model} here.",
                hint="Look at its models: manage.py sync_permit shows them.",
            )
        if not peer.relay:
            _check_authors(peer, change, seen)
        given = _given(me, change) if change.record.key.startswith(ours) else 0
        if max(change.version.clock.counter(me), given) > last:
            raise DotReused(
                f"{peer.name} knows writes of this node that it doesn't have: it was restored from a backup.",
                hint="Run sync_peer again: the node takes a new incarnation, and gets those writes back.",
            )


def _jump(ledger: Ledger, peer: Peer, page: Page) -> None:
    """Where the page's vector speaks of tombstones that were dropped before we got them.

    Taking it over, we say that we know those deletions. So whoever else may still have such a record has to show it
    here as it would have to where the tombstones were dropped: else it would keep it, as one that we know already.
    """
    if page.dropped and not ledger.vector().covers(page.dropped):
        ledger.drop(page.dropped)
        others = Peer.objects.using(ledger.using).exclude(pk=peer.pk)
        others.update(rejoining=True, pull_sequence=0, pull_token="")


def _given(node: str, change: Change) -> int:
    """The counter of the write of `node` whose dot is the record's key; 0 if it is another's."""
    name, _, counter = change.record.key.rpartition(":")
    return int(counter[:20]) if name == node and counter.isascii() and counter.isdigit() else 0


def _check_authors(peer: Peer, change: Change, seen: VersionVector) -> None:
    """Only what `peer` wrote itself; of what others gave its fields, only what we have met."""
    others = [mark.dot for mark, _ in change.carried.values() if not seen.knows(mark.dot)]
    for dot in (change.version.dot, *others):
        if dot.node.partition("~")[0] != peer.name:
            raise NotPermitted(
                f"{peer.name} may not pass on what {dot.node} wrote.", hint="Set its relay flag, if you trust it."
            )


def _learn(ledger: Ledger, peer: Peer, changes: Iterable[Change]) -> None:
    """Note the nodes and counters met, before any savepoint that might be rolled back.

    Who may not pass on others' writes isn't believed how many there are: theirs would start as restored by it.
    """
    met = VersionVector.union(change.version.clock for change in changes)
    ledger.saw({n: c for n, c in met.items() if peer.relay or n.partition("~")[0] == peer.name})


def _refuse_flood(using: str, peer: Peer) -> None:
    waiting = Parked.objects.using(using).filter(peer=peer.name).count()
    if waiting > settings.max_parked:
        raise ParkedFull(
            f"{waiting} changes that {peer.name} brought would wait here, over the limit of {settings.max_parked}.",
            hint="See what they wait for: sync_parked. Then settle it, or raise MAX_PARKED.",
        )


class Applier:
    """Applies changes within one locked transaction. `peer`: whose round it is."""

    def __init__(self, ledger: Ledger, peer: str) -> None:
        self.ledger = ledger
        self.peer = peer
        self.revisions = Revisions.of(ledger)
        self._rights = RightsOf(ledger.using, ledger.local)
        self._brought: dict[Dot, str] = {}
        """Who brought what is tried again."""
        self._apart = arrivals.plain_models(ledger, self.revisions.registered if self.revisions else ())
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
        if not self._anything_parked:
            return total
        while True:
            arrived = None if after is None else [Record(m, key) for m, keys in after.keys.items() for key in keys]
            parked = parking.waiting(self.ledger, arrived) if arrived != [] else []
            if not parked:
                return total
            retried = [(change_of(self.ledger, p), p.peer) for p in parked]
            self._brought = {change.version.dot: peer for change, peer in retried}
            after = self.apply([change for change, _ in retried])
            after.parked = 0  # they were counted when they came
            total.add(after)

    def settle(self) -> Outcome:
        """Settle what waits because two nodes did what does not go together; then what that sets free.

        One side deleted what the other refers to, or two records want the same unique value.
        """
        total = Outcome()
        if not self._anything_parked:
            return total
        total.add(self.retry())
        reasons = (Reason.STILL_REFERENCED, Reason.PARENT_DELETED, Reason.UNIQUE)
        # What looks unsettled in a feed that was left in the middle may be settled by its next page.
        unread = set(Peer.objects.using(self.ledger.using).filter(mid_feed=True).values_list("name", flat=True))
        for parked in parking.waiting(self.ledger):
            if parked.reason in reasons and parked.peer not in unread - {self.peer}:
                self._brought = {version_of(self.ledger, parked).dot: parked.peer}
                total.add(self._settle(parked))
        if total.applied:
            total.add(self.retry())
        return total

    def _settle(self, parked: Parked) -> Outcome:
        try:
            with transaction.atomic(using=self.ledger.using):
                planner, outcome = self._planner(), Outcome()
                if parked.reason == Reason.UNIQUE:
                    steps = Collider(self.ledger, planner).steps(parked)
                else:
                    steps = [Settler(self.ledger, planner).plans(parked)]
                for plans in filter(None, steps):
                    outcome.add(self.carry_out(planner, plans))
                return outcome
        except (DatabaseError, OverflowError, ValueError, LookupError, TypeError, Unfit) as error:
            vendor = self.ledger.vendor
            if isinstance(error, OperationalError) and not (vendor.waited_too_long(error) or vendor.refused(error)):
                raise
            logger.warning("%s waits on: %s", parked, error)
            return Outcome()  # it is still parked

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
            if isinstance(error, OperationalError) and not (late or self.ledger.vendor.refused(error)):
                raise  # the connection or the disk, not the change
            if late:
                self.ledger.vendor.hurry()
            if len(batch) > 1:
                middle = len(batch) // 2
                outcome = self._attempt(batch[:middle])
                outcome.add(self._attempt(batch[middle:]))
                return outcome
            return Outcome(parked=self._hold([Held(batch[0], self._reason(error, late), str(error).strip())]))

    def _reason(self, error: Exception, late: bool) -> Reason:
        """Why a change waits that the database refuses with `error`; `late`: it waited for a lock too long."""
        if isinstance(error, IntegrityError) and self.ledger.vendor.dangling(error):
            return Reason.PARENT_MISSING
        if isinstance(error, IntegrityError) and self.ledger.vendor.taken(error):
            return Reason.UNIQUE
        return Reason.LOCKED if late else Reason.INVALID

    def _apply(self, batch: list[Change], *, replace: bool = False) -> Outcome:
        planner = self._planner()
        return self.carry_out(planner, planner.plan(batch, () if replace else self._apart), replace=replace)

    def carry_out(self, planner: Planner, plans: list[Plan], *, replace: bool = False) -> Outcome:
        """Write rows, log what lost, stamp; all or, by an error, nothing that the caller does not roll back."""
        ledger, vendor = self.ledger, self.ledger.vendor
        writer = Writer(planner, replace=replace)
        outcome = Outcome()
        with vendor.applying():
            vendor.defer_constraints()
            leaving = {p.change.record.model for p in plans if p.decision.write and p.values is None}
            arrived, others = arrivals.write(writer, planner.new, leaving)
            plans = writer.write([*others, *plans])
            vendor.check_constraints()
            losers = [lost for plan in plans for lost in plan.lost]
            logged = conflicts.log(ledger, losers)
        outcome.conflicts = len(losers)
        touched = [p for p in plans if p.decision.write and (p.values is not None or p.live)]
        self._stamp(plans, writer)
        if self.revisions is not None:
            self.revisions.record(planner, touched, logged, self._peer_of, self.peer)
        ledger.note_unknown({label: names for label, names in planner.unknown.items() if names})
        outcome.parked = self._hold(planner.held)
        if self._anything_parked:
            now = {**planner.known, **{p.change.record: p.decision.stamp for p in plans}}
            now |= {change.record: change.version for change in arrived}
            parking.superseded(ledger, now, self._brought.keys())
        outcome.applied = len(arrived) + len(plans)
        written = [(change.record, change.fields, change.values) for change in arrived]
        written += [(p.change.record, p.fields, p.values) for p in plans if p.decision.write]
        for record, fields, values in written:
            outcome.keys[record.model].append(record.key)
            outcome.names(ledger.models[record.model], fields, values)
        return outcome

    def _hold(self, held: Sequence[Held]) -> int:
        if not held:
            return 0
        self._anything_parked = True
        new = parking.park(self.ledger, held, self._peer_of)
        for one in new:
            if one.detail.startswith(REUSED):
                peer = self._peer_of(one.change.version.dot)
                logger.error("%s, which %s brought, waits: %s", one.change.record, peer, one.detail)
        return len(new)

    def _planner(self) -> Planner:
        if not self._brought:
            return Planner(self.ledger, self._rights[self.peer])
        return Planner(self.ledger, lambda dot: self._rights[self._peer_of(dot)])

    def _peer_of(self, dot: Dot) -> str:
        return self._brought.get(dot) or self.peer

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
            ledger.put(stamp, Version(dot, clock, version.timestamp))
            stamp.carried = plan.carried
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
