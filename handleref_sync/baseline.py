"""Taking a baseline: a database that began as a copy of a peer's becomes a node without its rows going over the wire.

First the keys, for they decide which rows are one record; then a pull in which a digest stands for each row, and only
what differs is asked for. At its end the peer's feed has been read to its head, as after any pull.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from handleref_sync import registry
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Peer
from handleref_sync.replication import copies, place
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.copies import Fingerprint, Twins
from handleref_sync.replication.hello import Hello, hello, meet, scope_of
from handleref_sync.replication.page import from_message, misshapen
from handleref_sync.replication.stamping import stamp
from handleref_sync.session import Progress, Transport, lease, permit


@dataclass
class BaselineReport:
    """What taking a baseline did."""

    peer: str
    same: Counter[str] = field(default_factory=Counter)
    """By model: records that are the same on both sides from now on, and did not cross."""
    differ: Counter[str] = field(default_factory=Counter)
    """By model: rows that have one primary key on both sides, and other content."""
    fetched: int = 0
    """Records that this database lacked, or has otherwise."""
    conflicts: int = 0
    parked: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**vars(self), "same": dict(self.same), "differ": dict(self.differ)}


def take_baseline(
    using: str, peer: Peer, transport: Transport, progress: Progress = lambda phase, done, behind: None
) -> BaselineReport:
    """Make the rows that this database and `peer` have alike the same records, under the stamps that they have there.

    What was done stays done if it breaks off, and until it has come to its end this node talks to no one else. Raises
    SyncInProgress, ConfigurationError where it is too late or the two have other fields, and what `transport` raises.
    """
    with lease(using, peer, progress) as told:
        baseline = _Baseline(using, peer, transport, BaselineReport(peer.name), told)
        copies.begin(using, peer.name)
        baseline.take()
        copies.finish(using)
    return baseline.report


class _Baseline:
    def __init__(
        self, using: str, peer: Peer, transport: Transport, report: BaselineReport, progress: Progress
    ) -> None:
        self.using = using
        self.peer = peer
        self.transport = transport
        self.report = report
        self.progress = progress

    def take(self) -> None:
        place.check(self.using)
        message = hello(self.using, self.peer, starting=True).to_message()
        theirs = Hello.from_message(self.transport.call("hello", message))
        meet(self.using, self.peer, theirs, starting=True)
        permit(self.peer, theirs.may_pull, "pull from")
        models = registry.replicated(self.using)
        for label in sorted(models.keys() & theirs.models):
            if models[label].identity == "origin":
                self._keys(label)
        stamp(self.using, lambda done: self.progress("stamp", done, 0))
        while not self._page():
            pass

    def _keys(self, label: str) -> None:
        fields = sorted(registry.replicated(self.using)[label].names)
        below, twins, done = None, Twins(), 0
        while True:
            message = hello(self.using, self.peer, starting=True).to_message()
            answer = self.transport.call("rows", {**message, "model": label, "below": below})
            if answer.get("fields") != fields:
                raise ConfigurationError(
                    f"{label} has other fields on {self.peer.name}: {answer.get('fields')} there, {fields} here.",
                    hint="Bring both to the same release of the application first.",
                )
            rows = _rows(answer)
            copies.take_keys(self.using, label, rows, twins)
            done += len(rows)
            self.progress(f"compare {label}", done, 0)
            below = answer.get("below")
            if below is None:
                break
        if twins.differ:
            self.report.differ[label] = twins.differ

    def _page(self) -> bool:
        """Read one page of digests; returns whether it was the last."""
        mine = hello(self.using, self.peer, starting=True)
        answer = self.transport.call("pull", {**mine.to_message(), "digests": True})
        page = from_message(answer, settings.max_rows)
        theirs = Hello.from_message(answer["hello"])
        scope, whole = scope_of(mine, theirs, reader=mine)
        counts, left = copies.adopt(self.using, page.changes)
        self.report.same.update(counts)
        fetched = []
        if left:
            message = {**mine.to_message(), "records": [list(record) for record in left]}
            others = from_message(self.transport.call("records", message), settings.max_rows)
            fetched, whole = others.changes, whole and others.whole
        outcome = apply_page(self.using, self.peer, replace(page, changes=fetched), whole=whole, scope=scope.name())
        self.report.fetched += outcome.applied
        self.report.conflicts += outcome.conflicts
        self.report.parked += outcome.parked
        self.progress("adopt", sum(self.report.same.values()), page.behind)
        return page.head


def _rows(answer: dict[str, Any]) -> list[Fingerprint]:
    try:
        rows = [Fingerprint(*row) for row in answer["rows"]]
        if len(rows) > settings.max_rows or {tuple(map(type, row)) for row in rows} - {(int, str, bytes)}:
            raise ValueError("not rows of a number, a key and a digest")
    except (KeyError, TypeError, ValueError) as error:
        raise misshapen("list of rows", error) from error
    return rows
