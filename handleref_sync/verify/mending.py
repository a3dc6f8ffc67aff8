"""Exchanging the records that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from handleref_sync.conf import settings
from handleref_sync.core.change import Record
from handleref_sync.exceptions import NotPermitted
from handleref_sync.replication import feed, unseen
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.hello import hello, scope_of
from handleref_sync.replication.page import START, Page, from_message, to_message
from handleref_sync.session import permit
from handleref_sync.verify.comparing import Comparison
from handleref_sync.verify.report import Difference, Kind, VerifyReport


class Mending:
    """Mends what a comparison found. `report` counts what was done."""

    def __init__(self, comparison: Comparison, report: VerifyReport) -> None:
        self.comparison = comparison
        self.using, self.peer, self.transport = comparison.using, comparison.peer, comparison.transport
        self.report = report

    def mend(self, differences: Sequence[Difference]) -> None:
        """Keep what has two contents under one dot, and exchange the rest. Raises NotPermitted."""
        clashing = [d for d in differences if d.kind is Kind.CONTENT]
        others = [d for d in differences if d.kind is not Kind.CONTENT]
        theirs = self.comparison.theirs
        if clashing or any(d.there is not None for d in others):
            permit(self.peer, theirs.may_pull, "pull from")
            self._permit_here(self.peer.can_push, "can_push")
        if any(d.here is not None for d in others):
            permit(self.peer, theirs.may_push, "push to")
            self._permit_here(self.peer.can_pull, "can_pull")
        for part in _parts(clashing):
            self._keep(part)
        for part in _parts([d for d in others if d.there is not None]):
            self._apply(self._fetch(part))
        for part in _parts([d for d in others if d.here is not None]):
            self._push(part)

    def _permit_here(self, flag: bool, name: str) -> None:
        """Our own flags bind us as well."""
        if not flag:
            raise NotPermitted(
                f"The records that differ can't be exchanged with {self.peer.name}: its flag {name} is off here.",
                hint="Set it, or repair the other way round.",
            )

    def _keep(self, differences: Sequence[Difference]) -> None:
        dots = {Record(d.model, d.key): str(d.there).partition(" ")[0] for d in differences}
        changes = [c for c in self._fetch(differences).changes if dots.get(c.record) == str(c.version.dot)]
        self.report.kept += unseen.keep(self.using, self.peer.name, changes)

    def _fetch(self, differences: Sequence[Difference]) -> Page:
        message = hello(self.using, self.peer).to_message()
        wanted = [[d.model, d.key] for d in differences]
        answer = self.transport.call("records", {**message, "records": wanted})
        page = from_message(answer, settings.max_rows)
        asked = {(d.model, d.key) for d in differences}
        return replace(page, changes=[change for change in page.changes if change.record in asked])

    def _apply(self, page: Page) -> None:
        """By the rules of every page, but our place in the peer's feed stays as it is."""
        peer = self.peer
        peer.refresh_from_db(using=self.using)
        page = replace(page, cursor=(peer.pull_sequence, peer.pull_token), head=False)
        outcome = apply_page(self.using, peer, page, whole=False, scope=peer.pull_scope)
        self.report.fetched += outcome.applied
        self.report.conflicts += outcome.conflicts

    def _push(self, differences: Sequence[Difference]) -> None:
        mine = hello(self.using, self.peer)
        scope, _ = scope_of(mine, self.comparison.theirs, reader=self.comparison.theirs)
        page = feed.read_records(self.using, [Record(d.model, d.key) for d in differences], scope)
        message = {**to_message(page), "records": True, "after": list(START), "hello": mine.to_message()}
        self.report.pushed += int(self.transport.call("push", message)["applied"])


def _parts(differences: Sequence[Difference]) -> Iterator[Sequence[Difference]]:
    """As many at a time as go into a page."""
    for start in range(0, len(differences), settings.page_rows):
        yield differences[start : start + settings.page_rows]
