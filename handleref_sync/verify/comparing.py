"""The asking side of a comparison: sums, then ranges, then records, then twice a look at each that differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handleref_sync.conf import settings
from handleref_sync.core.change import Record
from handleref_sync.core.ranges import Descent, differing
from handleref_sync.models import Peer
from handleref_sync.replication import cursors, survey, verifying
from handleref_sync.replication.conflicts import LABEL
from handleref_sync.replication.hello import Hello, hello, meet, position, scope_of
from handleref_sync.replication.survey import Seen, State, Subject, Survey
from handleref_sync.replication.verifying import LONGEST, MAX_RANGES, Ranges, Root
from handleref_sync.session import Progress, Transport
from handleref_sync.verify.report import DUE, WAITING, Difference, Found, Kind

Looks = dict[Record, tuple[Seen | None, Seen | None]]
"""What each side has of a record: here, there."""


class Comparison:
    """One comparison with one peer. `begin` first."""

    def __init__(self, using: str, peer: Peer, transport: Transport, progress: Progress) -> None:
        self.using = using
        self.peer = peer
        self.transport = transport
        self.progress = progress
        self.requests = 0
        self.seconds = min(LONGEST, settings.timeout / 4)
        """How long one answer may take: the connection is given up after four times as long."""
        self.theirs: Hello
        self.subject: Subject
        self._answer: dict[str, Any] = {}

    def begin(self) -> None:
        """Meet the peer. Raises what a hello does, and PeerRefused where it may not pull."""
        self._answer = self._ask("sums", seconds=0)
        self.theirs = _hello(self._answer)
        meet(self.using, self.peer, self.theirs)
        self.subject = Subject.of(hello(self.using, self.peer), self.theirs)

    def run(self) -> tuple[dict[str, Found], list[Record]]:
        """What there is of each model, before any record is judged, and the records to judge."""
        mine, theirs = self._survey()
        listed = self._descend(mine, theirs)
        suspects = self._list(listed)
        self._ask("end")
        found = {}
        for label in self._in_order(mine.sums):
            items = mine.sums[label].of("").items
            found[label] = Found(items, items)
            found[label].not_compared.update(
                {why: count for why, count in mine.skipped[label].items() if why != State.VANISHED}
            )
        return found, suspects

    def judge(self, found: dict[str, Found], suspects: Sequence[Record]) -> None:
        """Look at each suspect on both sides, twice, and note in `found` what is the matter with it.

        What is not the same at both looks is being written: it is no difference, nor equal.
        """
        for start in range(0, len(suspects), settings.page_rows):
            first = self._look(suspects[start : start + settings.page_rows])
            left = [record for record, (mine, theirs) in first.items() if verdict(mine, theirs) is not None]
            for record, (mine, theirs) in self._look(left).items():
                about, model = verdict(mine, theirs), found[record.model]
                if about is None:
                    continue
                if first[record] != (mine, theirs) and isinstance(about, Kind):
                    about = State.PENDING
                here = mine is not None and bool(mine.content)
                model.equal -= here
                if isinstance(about, Kind):
                    model.differences.append(Difference(*record, about, _text(mine), _text(theirs)))
                elif here or about in (
                    DUE,
                    State.PARKED,
                ):  # what can't be compared because of this side is counted already
                    model.not_compared[about] += 1

    def unseen(self) -> dict[str, list[int]]:
        """By model: what the peer knows to have been written behind its triggers' back, in numbers."""
        found: dict[str, list[int]] = {}
        after: str | None = ""
        while after is not None:
            counts, after = verifying.counts(self._ask("unseen", after=after), self.subject.models)
            found.update(counts)
        return {label: counts for label, counts in found.items() if any(counts)}

    def _ask(self, step: str, **more: Any) -> dict[str, Any]:
        return self.transport.call("verify", self._question(step, **more))

    def _question(self, step: str, **more: Any) -> dict[str, Any]:
        self.requests += 1
        asked = {"step": step, "seconds": self.seconds, **more}
        return {**hello(self.using, self.peer).to_message(), **asked}

    def _survey(self) -> tuple[Survey, dict[str, Root]]:
        """Sum up both sides, at the same time."""
        answer, mine = self._answer, Survey.begin(self.using, self.subject)
        self.token = verifying.token_of(answer)
        while answer.get("models") is None or not mine.ready:
            pending = None
            if answer.get("models") is None:
                pending = self.transport.begin("verify", self._question("sums", token=self.token))
            mine.advance(self.using, self.subject, self.seconds)
            answer = answer if pending is None else pending()
            self.progress("compare", mine.after, max(0, mine.head - mine.after))
        return mine, verifying.roots(answer, self.subject.models)

    def _descend(self, mine: Survey, theirs: dict[str, Root]) -> Ranges:
        """Split the ranges that differ, until they have few records."""
        descents = {label: Descent(mine.sums[label], root.sum, root.depth) for label, root in theirs.items()}
        while True:
            asked: Ranges = {}
            room = MAX_RANGES
            for label in sorted(descents):
                if taken := descents[label].take(room):
                    asked[label] = taken
                    room -= len(taken)
            if not asked:
                return {label: sorted(descent.listed) for label, descent in descents.items() if descent.listed}
            answer = self._ask("ranges", token=self.token, ranges=_listed(asked))
            for label, sums in verifying.parts(answer, asked).items():
                for prefix, parts in sums.items():
                    descents[label].answer(prefix, parts)

    def _list(self, listed: Ranges) -> list[Record]:
        """The records in those ranges that one side lacks, or has otherwise."""
        suspects: list[Record] = []
        for chunk in _chunks(listed):
            theirs: dict[str, dict[str, bytes]] = {label: {} for label in chunk}
            after: int | None = 0
            while after is not None:
                answer = self._ask("items", ranges=_listed(chunk), after=after)
                named, after = verifying.items(answer, chunk)
                for label, group in named.items():
                    theirs[label].update(group)
            mine, then = survey.items(self.using, self.subject, chunk, 0, 2**31, float("inf"))
            assert then is None
            for label in self._in_order(chunk):
                suspects += [Record(label, key) for key in differing(dict(mine.get(label, ())), theirs[label])]
            self.progress("list", len(suspects), 0)
        return suspects

    def _look(self, records: Sequence[Record]) -> Looks:
        if not records:
            return {}
        answer = self._ask("records", records=[list(record) for record in records])
        self.theirs = _hello(answer)
        there = verifying.seen(answer, len(records))
        self.peer.refresh_from_db(using=self.using)
        scope, _ = scope_of(hello(self.using, self.peer), self.theirs, reader=self.theirs)
        after = cursors.resume(self.peer, position(self.theirs, scope), scope)
        here = survey.look(self.using, self.subject, records, after, self.theirs.vector)
        return dict(zip(records, zip(here, there, strict=True), strict=True))

    @staticmethod
    def _in_order(labels: Any) -> list[str]:
        """The conflict log first: who learns that a version lost has to have it."""
        return sorted(labels, key=lambda label: (label != LABEL, label))


def verdict(mine: Seen | None, theirs: Seen | None) -> Kind | str | None:
    """How a record differs; or why that can't be said; None: it does not."""
    for seen in (mine, theirs):
        if seen is not None and seen.state in WAITING:
            return seen.state
    if not any(seen is not None and seen.state is State.COMPARED for seen in (mine, theirs)):
        return None  # gone by now on both sides
    if mine is not None and theirs is not None:
        if (mine.state, mine.item) == (theirs.state, theirs.item):
            return None
        if mine.dot == theirs.dot and (mine.state, mine.content) != (theirs.state, theirs.content):
            return Kind.CONTENT
    if any(seen is not None and seen.due for seen in (mine, theirs)):
        return DUE
    if mine is None or theirs is None:
        return Kind.THERE if mine is None else Kind.HERE
    return Kind.CLOCK if mine.dot == theirs.dot else Kind.VERSION


def _hello(answer: dict[str, Any]) -> Hello:
    said = answer.get("hello")
    return Hello.from_message(said if isinstance(said, dict) else {})


def _text(seen: Seen | None) -> str | None:
    if seen is None:
        return None
    return f"{seen.dot} deleted" if seen.state is State.DELETED else str(seen.dot)


def _listed(asked: Ranges) -> list[Any]:
    return [[label, asked[label]] for label in sorted(asked)]


def _chunks(listed: Ranges) -> list[Ranges]:
    """Ranges in as many questions as they need."""
    chunks: list[Ranges] = []
    room = 0
    for label in sorted(listed):
        rest = listed[label]
        while rest:
            if not room:
                chunks.append({})
                room = MAX_RANGES
            chunks[-1][label], rest = rest[:room], rest[room:]
            room -= len(chunks[-1][label])
    return chunks
