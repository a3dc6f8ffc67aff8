"""Comparing this node with a peer, record by record, without sending what they have; and mending what differs.

What counts as different is what no sync would ever mend: two nodes that believe to have the same, and have not. A
record that is still on its way (the other side has not read so far), or that is being written, is none. So what was
found in the sums is looked at again at the end, record by record, on both sides, twice.

The invariant of a repair: afterwards each of the two versions of a record that differed is current, or superseded by
one that knew it, or in the conflict log. To that end

- what stands in a table here behind the triggers' back becomes a write of this node, and so does a row here that has
  another content than the peer has under the same dot, whose content goes to the log (see `replication.unseen`);
- any other record that differs is exchanged: fetched and applied by the rules by which every page is applied, then
  brought to the peer, who applies it by the same rules. Both then have both versions, and what the rules make of two
  versions does not depend on who had which. Neither cursor moves and no vector is merged, for this is no place in a
  feed.

To forget how far the other has read would not do for the latter: its vector says that it has the record, and so the
feed would leave the record out again. Each part is a transaction of its own, and what has not been done when it
breaks off is found again by the next run.
"""

from __future__ import annotations

import time

from handleref_sync.exceptions import SyncError
from handleref_sync.models import Peer
from handleref_sync.replication import unseen
from handleref_sync.replication.stamping import stamp
from handleref_sync.session import Progress, Transport, lease, sync
from handleref_sync.verify.comparing import Comparison
from handleref_sync.verify.mending import Mending
from handleref_sync.verify.report import VerifyReport


def check(using: str, *, repair: bool = False) -> VerifyReport:
    """What was written behind the triggers' back here, without asking anybody.

    `repair`: make ordinary writes of it, which the next sync stamps and brings to others.
    """
    report = VerifyReport("")
    if repair:
        report.noted = unseen.note(using)
    report.unseen = unseen.find_all(using)
    return report


def verify(
    using: str,
    peer: Peer,
    transport: Transport,
    *,
    repair: bool = False,
    progress: Progress = lambda phase, done, behind: None,
) -> VerifyReport:
    """Compare with `peer`; `repair`: mend what differs, synchronise, and look at it again.

    Raises SyncInProgress, what `transport` raises, and with `repair` what the sync could not do, or NotPermitted.
    """
    report, started = VerifyReport(peer.name), time.perf_counter()
    with lease(using, peer, progress) as told:
        comparison = Comparison(using, peer, transport, told)
        comparison.begin()
        if repair:
            report.noted = unseen.note(using)
            stamp(using)  # not before the peer was met: it might know that this database was restored
        found, suspects = comparison.run()
        report.models = {label: model.fresh() for label, model in found.items()}
        comparison.judge(report.models, suspects)
        if repair:
            Mending(comparison, report).mend(report.differences)
    if repair:
        done = sync(using, peer, transport, progress=progress)
        if done.error:
            raise SyncError(f"What was mended could not be synchronised: {done.error}")
        report.conflicts += done.conflicts
        report.notes = done.notes
        with lease(using, peer, progress):
            report.models = found
            comparison.judge(report.models, suspects)
    report.unseen, report.unseen_there = unseen.find_all(using), comparison.unseen()
    report.requests, report.bytes = comparison.requests, transport.bytes_sent + transport.bytes_received
    report.seconds = round(time.perf_counter() - started, 3)
    return report


__all__ = ["VerifyReport", "check", "verify"]
