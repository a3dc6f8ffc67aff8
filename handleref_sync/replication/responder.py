"""The passive side of a session: answers hello, pull and push. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from handleref_sync import registry
from handleref_sync.conf import settings
from handleref_sync.core import pace
from handleref_sync.core.change import Record
from handleref_sync.exceptions import CursorMismatch, MalformedBody, NotPermitted
from handleref_sync.models import Parked, Peer
from handleref_sync.replication import copies, cursors, feed, place, shape, verifying
from handleref_sync.replication.applier import apply_page, retry_parked
from handleref_sync.replication.content import is_reference
from handleref_sync.replication.hello import Hello, hello, meet, position, scope_of
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.page import SAME_VERSION, START, from_message, misshapen, to_message
from handleref_sync.replication.stamping import stamp
from handleref_sync.replication.verifying import Question


def _rows_wanted(message: Mapping[str, Any]) -> int:
    """How many changes the reader wants in a page: it knows its link. Not so many that they would cost our memory."""
    wanted = message.get("rows", 0)
    if type(wanted) is not int or wanted < 0:
        raise MalformedBody("The request names no number of rows.", hint=SAME_VERSION)
    return min(wanted, int(settings.page_rows * pace.MOST)) or settings.page_rows


class Responder:
    """Answers one peer, who has proved to be it. Messages are dicts, in and out."""

    def __init__(self, using: str, peer: Peer) -> None:
        self.using = using
        self.peer = peer

    def handle(self, action: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer. Raises a SyncError for whatever can't be done; nothing is changed then."""
        answers = {
            "hello": self._hello,
            "pull": self._pull,
            "push": self._push,
            "rows": self._rows,
            "records": self._records,
            "verify": self._verify,
        }
        if action not in answers:
            raise MalformedBody(f"There is no action {action!r}.", hint=f"Use {', '.join(answers)}.")
        # Not in the hello alone: a session may have begun with the database that this one is a copy of.
        if action != "hello":  # which looks at more than that
            place.refuse_elsewhere(self.using)
        return answers[action](message)

    def _hello(self, message: Mapping[str, Any]) -> dict[str, Any]:
        theirs = Hello.from_message(message)
        place.check(self.using)
        meet(self.using, self.peer, theirs)
        stamp(self.using)
        # Here too, for a node that is only called has no round of its own at the end of which it could.
        retry_parked(self.using, self.peer.name)
        mine = hello(self.using, self.peer)
        scope, _ = scope_of(mine, theirs, reader=theirs)
        cursor = position(theirs, scope)
        after = cursors.resume(self.peer, cursor, scope)
        ledger = Ledger(self.using)
        everything = theirs.vector.covers(ledger.seen())
        nothing = mine.may_pull and (after == ledger.local.sequence or everything)
        cursors.acknowledged(self.using, self.peer, ledger.local.sequence if everything else after)
        answer = {**mine.to_message(), "nothing": nothing, "parked": Parked.objects.using(self.using).count()}
        if message.get("count"):
            answer["behind"] = 0 if nothing else feed.lag(self.using, after, theirs.vector, scope)
        # Who has nothing that we lack will not push, and so will not tell how far behind we are.
        self._met(success=False, **({"lag_pull": 0} if mine.vector.covers(theirs.vector) else {}))
        return answer

    def _pull(self, message: Mapping[str, Any]) -> dict[str, Any]:
        mine, theirs, scope = self._to_a_reader(message)
        standing = position(theirs, scope)
        page = feed.read_page(self.using, self.peer, standing, theirs.vector, scope, _rows_wanted(message))
        if page.head:
            self._met(success=True)
        if message.get("digests"):
            page = copies.digested(page)
        return {**to_message(page), "hello": mine.to_message()}

    def _to_a_reader(self, message: Mapping[str, Any]) -> tuple[Hello, Hello, cursors.Scope]:
        if not self.peer.can_pull:
            raise NotPermitted(f"{self.peer.name} may not pull from here.", hint="Set its can_pull flag.")
        theirs = Hello.from_message(message)
        meet(self.using, self.peer, theirs)
        mine = hello(self.using, self.peer)
        return mine, theirs, scope_of(mine, theirs, reader=theirs)[0]

    def _rows(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Fingerprints of one model's rows, for who began as a copy of this database."""
        _, _, scope = self._to_a_reader(message)
        label, below = message.get("model"), message.get("below")
        if type(label) is not str or label not in scope.models or not (below is None or type(below) is int):
            raise MalformedBody("The request for rows names no model of both.", hint=SAME_VERSION)
        stamp(self.using)
        found, after = copies.fingerprints(self.using, str(label), below, settings.page_rows)
        fields = sorted(registry.replicated(self.using)[str(label)].names)
        return {"fields": fields, "rows": [list(row) for row in found], "below": after}

    def _records(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The changes of records that differ from those which the reader has."""
        mine, _, scope = self._to_a_reader(message)
        wanted = message.get("records")
        if not isinstance(wanted, list) or len(wanted) > settings.max_rows or not all(map(is_reference, wanted)):
            raise MalformedBody("The request for records names none.", hint=SAME_VERSION)
        try:
            shape.keys(tuple(key for _, key in wanted))
        except (TypeError, ValueError) as error:
            raise misshapen("request for records", error) from error
        page = feed.read_records(self.using, [Record(*names) for names in wanted], scope)
        return {**to_message(page), "hello": mine.to_message()}

    def _verify(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """One question of a comparison: see `verifying`."""
        mine, theirs, scope = self._to_a_reader(message)
        return verifying.answer(Question(self.using, self.peer, mine, theirs, scope, message))

    def _push(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if not self.peer.can_push:
            raise NotPermitted(f"{self.peer.name} may not push to here.", hint="Set its can_push flag.")
        theirs = Hello.from_message(message["hello"]) if isinstance(message.get("hello"), dict) else None
        if theirs is None:
            raise MalformedBody("The pushed page has no hello.", hint=SAME_VERSION)
        page = from_message(message, settings.max_rows)
        meet(self.using, self.peer, theirs)
        mine = hello(self.using, self.peer)
        scope, whole = scope_of(mine, theirs, reader=mine)
        answer = {"applied": 0, "conflicts": 0, "parked": 0, "cursor": list(page.cursor)}
        standing = position(mine, scope)
        if message.get("records"):
            # Records that were found to differ, out of the order of the feed: our place in it stays as it is.
            here = (self.peer.pull_sequence, self.peer.pull_token)
            page = replace(page, cursor=here, head=False)
            outcome = apply_page(self.using, self.peer, page, whole=False, scope=self.peer.pull_scope)
            return {"applied": outcome.applied, "conflicts": outcome.conflicts, "parked": outcome.parked}
        after = message.get("after")
        if page.cursor == standing and standing != START and after != list(standing):
            return answer  # this very page is applied, and our answer was lost
        if after not in (list(standing), list(START)):
            raise CursorMismatch(
                "The pushed page does not continue where this node stands.", hint="Run sync_peer again."
            )
        outcome = apply_page(self.using, self.peer, page, whole=whole, scope=scope.name())
        answer.update(applied=outcome.applied, conflicts=outcome.conflicts, parked=outcome.parked)
        if page.head:
            retry_parked(self.using, self.peer.name)
        self._met(success=page.head, lag_pull=page.behind)
        return answer

    def _met(self, *, success: bool, **fields: Any) -> None:
        """Note for the operator when this peer was last here, and when it last got to an end."""
        now = timezone.now()
        fields["last_attempt"] = now
        if success:
            fields.update(last_success=now, last_error="")
        with transaction.atomic(using=self.using):
            Peer.objects.using(self.using).filter(pk=self.peer.pk).update(**fields)
