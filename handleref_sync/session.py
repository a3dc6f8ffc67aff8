"""One round of synchronisation with one peer, over any transport: hello, then pull, then push."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Protocol

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q
from django.utils import timezone

from handleref_sync.conf import settings
from handleref_sync.core.pace import Pace
from handleref_sync.exceptions import NotPermitted, Revoked, SyncError, SyncInProgress
from handleref_sync.models import Parked, Peer
from handleref_sync.replication import cursors, feed, place
from handleref_sync.replication.again import again, said
from handleref_sync.replication.applier import apply_page, retry_parked
from handleref_sync.replication.hello import Hello, hello, meet, position, scope_of
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.page import START, Cursor, Page, from_message, packed, place_of
from handleref_sync.replication.stamping import stamp

logger = logging.getLogger("handleref_sync.session")

LEASE = timedelta(minutes=10)


class Transport(Protocol):
    """How a session reaches the other side."""

    pace: Pace
    """How large the pages should be on this link."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of all requests' bodies, as they went over the wire."""
        ...  # pragma: no cover - a protocol has no body

    @property
    def bytes_received(self) -> int:
        """Bytes of all responses' bodies, likewise."""
        ...  # pragma: no cover - a protocol has no body

    def call(self, action: str, message: dict[str, Any]) -> dict[str, Any]:
        """The peer's answer. Raises PeerUnreachable, PeerRefused, or another SyncError.

        The rows of a page that was pulled may still be packed.
        """
        ...  # pragma: no cover - a protocol has no body

    def begin(self, action: str, message: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """`call` in two halves: what gives the answer, or raises, when it is asked. One at a time."""
        ...  # pragma: no cover - a protocol has no body


Progress = Callable[[str, int, int], None]
"""Called with the phase (``pull`` or ``push``), changes done, and about how many are still to come."""


@dataclass
class Report:
    """What a round did. `error` is one sentence, and empty where the round went to its end."""

    peer: str
    pulled: int = 0
    pushed: int = 0
    conflicts: int = 0
    parked: int = 0
    bytes: int = 0
    seconds: float = 0.0
    to_pull: int | None = None
    to_push: int | None = None
    settled: bool = True
    notes: tuple[str, ...] = ()
    error: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def sync(
    using: str,
    peer: Peer,
    transport: Transport,
    *,
    pull: bool = True,
    push: bool = True,
    dry_run: bool = False,
    progress: Progress = lambda phase, done, behind: None,
) -> Report:
    """Synchronise with `peer`. Raises SyncInProgress where another process is at it; other errors are reported.

    What was transferred before an error stays, and the next round goes on from there.
    """
    report = Report(peer.name)
    started = time.perf_counter()
    with said(using), lease(using, peer, progress) as told:
        try:
            with said(using):
                _Round(using, peer, transport, report, told).run(pull, push, dry_run)
        except SyncError as error:
            report.error, report.reason = error.sentence(), error.reason
        except Exception as error:  # the next peer may have nothing to do with it
            logger.exception("The round with %s broke off.", peer.name)
            unforeseen = SyncError(
                f"The round broke off with an error that was not foreseen: {type(error).__name__}: {error}.",
                hint="The log says where.",
            )
            report.error, report.reason = unforeseen.sentence(), unforeseen.reason
        report.bytes = transport.bytes_sent + transport.bytes_received
        report.seconds = round(time.perf_counter() - started, 3)
        _note(using, peer, report, dry_run)
    return report


def _note(using: str, peer: Peer, report: Report, dry_run: bool) -> None:
    """Keep for the operator how it went. Where the database can't, what went wrong before is the better report."""
    try:
        report.settled = not Parked.objects.using(using).exists()
        now = timezone.now()
        fields: dict[str, Any] = {"last_attempt": now, "last_error": report.error}
        if not report.error and not dry_run:
            fields["last_success"] = now
        if report.to_pull is not None:
            fields["lag_pull"] = report.to_pull
        Peer.objects.using(using).filter(pk=peer.pk).update(**fields)
    except (DatabaseError, InterfaceError):
        if not report.error:
            raise
        report.settled = False


class _Round:
    def __init__(self, using: str, peer: Peer, transport: Transport, report: Report, progress: Progress) -> None:
        self.using = using
        self.peer = peer
        self.transport = transport
        self.report = report
        self.progress = progress

    def run(self, pull: bool, push: bool, dry_run: bool) -> None:
        if self.peer.revoked:
            raise Revoked(
                f"The key of {self.peer.name} was revoked here.", hint=f"Pair again: sync_invite {self.peer.name}."
            )
        if place.check(self.using):
            self._note("this database is behind its high-water mark: it goes on as a new incarnation")
        mine = hello(self.using, self.peer)
        answer = self.transport.call("hello", {**mine.to_message(), "count": dry_run})
        theirs = Hello.from_message(answer)
        if meet(self.using, self.peer, theirs):
            self._note("this database was restored from a backup: it goes on as a new incarnation")
        self._note_models(mine, theirs)
        if answer.get("parked"):
            self._note(f"{self.peer.name} is unsettled, with {answer['parked']} parked")
        if dry_run:
            self._count(mine, theirs, answer)
            return
        stamp(self.using, lambda done: self.progress("stamp", done, 0))
        if pull and self._allowed(self.peer.can_push, "pulled from", "can_push"):
            permit(self.peer, theirs.may_pull, "pull from")
            if not answer.get("nothing"):
                self._pull()
            self.report.to_pull = 0
        if push and self._allowed(self.peer.can_pull, "pushed to", "can_pull"):
            if pull and not theirs.may_push:
                self._note(f"{self.peer.name} takes nothing from this node, which is a mirror of it")
            else:
                permit(self.peer, theirs.may_push, "push to")
                self._push(mine, theirs)
                self.report.to_push = 0
        outcome = retry_parked(self.using, self.peer.name, settle=pull and not self.report.to_pull)
        self.report.conflicts += outcome.conflicts

    def _allowed(self, flag: bool, what: str, name: str) -> bool:
        """Our own flags bind us as well: what a peer may not take from us, we don't bring it either."""
        if not flag:
            self._note(f"nothing is {what} it: its flag {name} is off here")
        return flag

    def _note(self, text: str) -> None:
        self.report.notes = (*self.report.notes, text)

    def _note_models(self, mine: Hello, theirs: Hello) -> None:
        for here, there, whose in (
            (theirs.models, mine.models, mine.node),
            (mine.models, theirs.models, theirs.node),
        ):
            if here - there:
                self._note(f"{whose} does not replicate {', '.join(sorted(here - there))}")

    def _count(self, mine: Hello, theirs: Hello, answer: dict[str, Any]) -> None:
        scope, _ = scope_of(mine, theirs, reader=theirs)
        after = cursors.resume(self.peer, position(theirs, scope), scope)
        self.report.to_pull = int(answer.get("behind", 0))
        self.report.to_push = feed.lag(self.using, after, theirs.vector, scope)

    def _pull(self) -> None:
        mine = hello(self.using, self.peer)
        pending = self.transport.begin("pull", {**mine.to_message(), "rows": self._rows(settings.max_rows)})
        while True:
            answer = pending()
            cursor, head = place_of(answer)
            scope, whole = scope_of(mine, Hello.from_message(answer["hello"]), reader=mine)
            if not head:
                # The next page is made and sent while this one is read and applied. If that fails, the feed has given
                # a cursor that we never stand at, and it still remembers ours.
                mine = hello(self.using, self.peer)
                ahead = {**mine.to_message(), "cursor": list(cursor), "cursor_scope": scope.name()}
                pending = self.transport.begin("pull", {**ahead, "rows": self._rows(settings.max_rows)})
            page = from_message(answer, settings.max_rows)
            outcome = apply_page(self.using, self.peer, page, whole=whole, scope=scope.name())
            self.report.pulled += outcome.applied
            self.report.conflicts += outcome.conflicts
            self.report.parked += outcome.parked
            self.report.to_pull = page.behind
            self.progress("pull", self.report.pulled, page.behind)
            if head:
                return

    def _rows(self, most: int) -> int:
        return self.transport.pace.rows(settings.page_rows, most)

    def _push(self, mine: Hello, theirs: Hello) -> None:
        scope, _ = scope_of(mine, theirs, reader=theirs)
        cursor = position(theirs, scope)
        stamp(self.using)
        ledger = Ledger(self.using)
        after = cursors.resume(self.peer, cursor, scope)
        everything = theirs.vector.covers(ledger.seen())
        cursors.acknowledged(self.using, self.peer, ledger.local.sequence if everything else after)
        if everything or after == ledger.local.sequence:
            return
        standing: Cursor = cursor if after else START

        def read(cursor: Cursor) -> tuple[Page, dict[str, Any]]:
            rows = self._rows(theirs.max_rows or settings.page_rows)
            page = feed.read_page(self.using, self.peer, cursor, theirs.vector, scope, rows)
            return page, packed(page)

        page, message = read(cursor)
        while True:
            said = hello(self.using, self.peer).to_message()
            pending = self.transport.begin("push", {**message, "after": list(standing), "hello": said})
            # The next page is read while this one is sent and applied. If that fails, our feed has given a cursor
            # at which the peer never stands, and still remembers where it does.
            following = None if page.head else read(page.cursor)
            answer = pending()
            self.report.pushed += int(answer["applied"])
            self.report.conflicts += int(answer["conflicts"])
            self.report.to_push = page.behind
            self.progress("push", self.report.pushed, page.behind)
            cursors.acknowledged(self.using, self.peer, page.cursor[0])
            if following is None:
                return
            standing, (page, message) = page.cursor, following


def permit(peer: Peer, allowed: bool, what: str) -> None:
    """Raises NotPermitted unless `peer` has said that it is `allowed`."""
    if not allowed:
        raise NotPermitted(f"{peer.name} does not let this node {what} it.", hint="Set the flag of this peer there.")


@contextmanager
def lease(using: str, peer: Peer, progress: Progress) -> Iterator[Progress]:
    """Be the only one to sync with `peer`; gives what tells `progress` and prolongs the lease at that.

    A lease of a process that died on this machine is taken over at once.
    """
    mine = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    now = timezone.now()
    held = Peer.objects.using(using).filter(pk=peer.pk).values_list("lease", flat=True).get()
    free = Q(lease="") | Q(lease_until__lt=now)
    if held and _dead(held):
        free |= Q(lease=held)

    def take() -> int:
        with transaction.atomic(using=using):
            return Peer.objects.using(using).filter(free, pk=peer.pk).update(lease=mine, lease_until=now + LEASE)

    if not again(using, take):
        raise SyncInProgress(
            f"Another process is syncing with {peer.name} now.", hint="Wait for it, or look for a process that hangs."
        )
    peer.refresh_from_db(using=using)
    held_by_us = Peer.objects.using(using).filter(pk=peer.pk, lease=mine)

    def told(phase: str, done: int, behind: int) -> None:
        held_by_us.update(
            lease_until=timezone.now() + LEASE
        )  # a first pull over a thin link may take longer than one
        progress(phase, done, behind)

    try:
        yield told
    finally:
        # Where that fails, the lease ends with this process.
        with suppress(DatabaseError, InterfaceError):
            held_by_us.update(lease="", lease_until=None)


def _dead(lease: str) -> bool:
    host, _, rest = lease.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
