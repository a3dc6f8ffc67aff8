"""The answering side of a comparison, and the shapes of its messages. It reads, and writes nothing.

A comparison is a few questions, each of which can be asked again: for the sums of all records (made in steps, for
that reads every row once), for the sums of the parts of some ranges, for the records in some ranges, for what is here
of some records, and for what this database knows to have been written behind its triggers' back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from handleref_sync.conf import settings
from handleref_sync.core import ranges
from handleref_sync.core.change import Record
from handleref_sync.core.ranges import Summary
from handleref_sync.core.version_vector import Dot
from handleref_sync.exceptions import MalformedBody
from handleref_sync.models import Peer
from handleref_sync.replication import cursors, survey, unseen
from handleref_sync.replication.content import is_reference
from handleref_sync.replication.hello import Hello, position
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.page import SAME_VERSION, misshapen
from handleref_sync.replication.shelf import Shelf
from handleref_sync.replication.survey import Seen, State, Subject, Survey

MAX_RANGES = 4096
"""Ranges of one question."""
LONGEST = 20.0
"""Seconds that one answer may take to make, about: the caller says how patient it is, and this is the most."""
Ranges = dict[str, list[str]]
"""By model: ranges in order, none within another."""


@dataclass(frozen=True)
class Question:
    """One question of one peer."""

    using: str
    peer: Peer
    mine: Hello
    theirs: Hello
    scope: cursors.Scope
    message: Mapping[str, Any]

    @property
    def subject(self) -> Subject:
        return Subject.of(self.mine, self.theirs)

    @property
    def seconds(self) -> float:
        """How long the answer may take. Raises MalformedBody."""
        given = self.message.get("seconds", LONGEST)
        if type(given) not in (int, float) or not given >= 0:
            raise _nonsense("how many seconds it may take")
        return min(float(given), LONGEST)

    @property
    def ranges(self) -> Ranges:
        """The ranges that it is about. Raises MalformedBody."""
        try:
            if sum(len(prefixes) for _, prefixes in self.message["ranges"]) > MAX_RANGES:
                raise ValueError(f"more than {MAX_RANGES} ranges")
            found = {label: ranges.ranges_of(prefixes) for label, prefixes in self.message["ranges"]}
            if sorted(found) != [label for label, _ in self.message["ranges"]]:
                raise ValueError("models that are not in order")
            if not found.keys() <= self.subject.models:
                raise ValueError("a model that only one side has")
        except (KeyError, TypeError, ValueError) as error:
            raise misshapen("question about ranges", error) from error
        return found


def answer(question: Question) -> dict[str, Any]:
    """The answer. Raises MalformedBody, or CursorMismatch where the survey that it is about is no more."""
    steps: dict[Any, Callable[[Question], dict[str, Any]]] = {
        "sums": _sums,
        "ranges": _ranges,
        "items": _items,
        "records": _records,
        "unseen": _unseen,
        "end": _end,
    }
    step = question.message.get("step")
    if not isinstance(step, str) or step not in steps:
        raise MalformedBody(f"There is no step {step!r} of a comparison.", hint=f"Use {', '.join(steps)}.")
    return steps[step](question)


def _sums(question: Question) -> dict[str, Any]:
    """Go on with the survey, or begin one; its sums, when it is whole."""
    using, subject = question.using, question.subject
    shelf, token = Shelf(Ledger(using), question.peer), _token(question, optional=True)
    found = Survey.begin(using, subject) if token is None else shelf.get(token)
    found.advance(using, subject, question.seconds)
    token = token or secrets.token_urlsafe(12)
    shelf.put(token, found)
    progress = {"token": token, "done": found.after, "of": found.head, "models": None}
    if found.ready:
        progress["models"] = {
            label: [*_wire(sums.of("")), sums.depth, dict(found.skipped[label])] for label, sums in found.sums.items()
        }
    return {**progress, "hello": question.mine.to_message()}


def _ranges(question: Question) -> dict[str, Any]:
    """The sums of the sixteen parts of each range."""
    asked = question.ranges
    found = Shelf(Ledger(question.using), question.peer).get(str(_token(question)))
    if any(len(prefix) >= found.sums[label].depth for label, group in asked.items() for prefix in group):
        raise _nonsense("ranges that can be split")
    sums = [
        [[item for part in found.sums[label].parts(prefix) for item in _wire(part)] for prefix in prefixes]
        for label, prefixes in asked.items()
    ]
    return {"sums": sums}


def _items(question: Question) -> dict[str, Any]:
    after = question.message.get("after", 0)
    if type(after) is not int or after < 0:
        raise _nonsense("where to go on")
    asked = question.ranges
    found, then = survey.items(question.using, question.subject, asked, after, settings.page_rows, question.seconds)
    return {"items": {label: [list(item) for item in group] for label, group in found.items()}, "after": then}


def _records(question: Question) -> dict[str, Any]:
    wanted = question.message.get("records")
    if not isinstance(wanted, list) or len(wanted) > settings.max_rows or not all(map(is_reference, wanted)):
        raise _nonsense("records")
    after = cursors.resume(question.peer, position(question.theirs, question.scope), question.scope)
    records = [Record(*names) for names in wanted]
    found = survey.look(question.using, question.subject, records, after, question.theirs.vector)
    rows = [None if seen is None else _of_seen(seen) for seen in found]
    return {"seen": rows, "hello": question.mine.to_message()}


def _unseen(question: Question) -> dict[str, Any]:
    """How much was written behind the triggers' back here, model by model, for as long as the caller waits."""
    after, end = question.message.get("after", ""), time.monotonic() + question.seconds
    if not isinstance(after, str):
        raise _nonsense("where to go on")
    found: dict[str, list[int]] = {}
    for label in sorted(label for label in question.subject.models if label > after):
        if found and time.monotonic() > end:
            return {"found": found, "after": max(found)}
        unwatched = unseen.find(question.using, label)
        found[label] = [len(unwatched.unstamped), len(unwatched.vanished), len(unwatched.undead)]
    return {"found": found, "after": None}


def _end(question: Question) -> dict[str, Any]:
    Shelf(Ledger(question.using), question.peer).drop()
    return {}


def _token(question: Question, *, optional: bool = False) -> str | None:
    token = question.message.get("token")
    if not (isinstance(token, str) and len(token) <= 40) and not (optional and token is None):
        raise _nonsense("a survey")
    return token


def _nonsense(what: str) -> MalformedBody:
    return MalformedBody(f"The question of the comparison does not name {what}.", hint=SAME_VERSION)


def _wire(summary: Summary) -> list[Any]:
    return [summary.items, summary.digest()]


def _of_seen(seen: Seen) -> list[Any]:
    return [str(seen.state), seen.dot.node, seen.dot.counter, seen.content, seen.item, seen.due]


# -- what the other side reads from the answers: everything is checked, for it may be anything ---------------------


@dataclass(frozen=True)
class Root:
    """All of one model on the other side."""

    sum: Summary
    depth: int
    skipped: dict[str, int]


def roots(message: Mapping[str, Any], labels: frozenset[str]) -> dict[str, Root]:
    """The sums of whole models. Raises MalformedBody."""
    try:
        found = {
            label: Root(
                Summary.of(_number(items), digest),
                _number(depth, ranges.DEPTH),
                {str(State(state)): _number(count) for state, count in skipped.items()},
            )
            for label, (items, digest, depth, skipped) in message["models"].items()
        }
        if found.keys() != labels:
            raise ValueError("other models")
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise misshapen("sums", error) from error


def parts(message: Mapping[str, Any], asked: Ranges) -> dict[str, dict[str, list[Summary]]]:
    """The sums of the parts of the ranges that were asked about. Raises MalformedBody."""
    try:
        found: dict[str, dict[str, list[Summary]]] = {}
        for (label, prefixes), groups in zip(asked.items(), message["sums"], strict=True):
            found[label] = {}
            for prefix, group in zip(prefixes, groups, strict=True):
                pairs = zip(group[::2], group[1::2], strict=True)
                found[label][prefix] = [Summary.of(_number(items), digest) for items, digest in pairs]
                if len(found[label][prefix]) != ranges.BRANCHES:
                    raise ValueError("not the parts of a range")
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise misshapen("sums of ranges", error) from error


def items(message: Mapping[str, Any], asked: Ranges) -> tuple[dict[str, dict[str, bytes]], int | None]:
    """Records and their digests, by model and key, and what to ask for next. Raises MalformedBody."""
    try:
        after, found = message["after"], message["items"]
        if sum(map(len, found.values())) > settings.max_rows or not found.keys() <= asked.keys():
            raise ValueError("more than were asked for")
        for group in found.values():
            if {(type(key), type(item)) for key, item in group} - {(str, bytes)}:
                raise TypeError("not keys and digests")
        return {label: dict(group) for label, group in found.items()}, None if after is None else _number(after)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise misshapen("list of records", error) from error


def seen(message: Mapping[str, Any], count: int) -> list[Seen | None]:
    """What the other side has of the records that were asked for, in their order. Raises MalformedBody."""
    try:
        found: list[Seen | None] = []
        for entry in message["seen"]:
            if entry is None:
                found.append(None)
                continue
            state, node, counter, content, item, due = entry
            if (type(node), type(content), type(item), type(due)) != (str, bytes, bytes, bool):
                raise TypeError("not what is known of a record")
            found.append(Seen(State(state), Dot(node, _number(counter)), content, item, due))
        if len(found) != count:
            raise ValueError("not as many as were asked for")
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise misshapen("list of what is known", error) from error


def counts(message: Mapping[str, Any], labels: frozenset[str]) -> tuple[dict[str, list[int]], str | None]:
    """By model: how many rows have no stamp there, are gone, are deleted; what to ask next. Raises MalformedBody."""
    try:
        found, after = message["found"], message["after"]
        if not found.keys() <= labels or not (after is None or after in found):
            raise ValueError("other models")
        numbers = {label: [_number(count) for count in group] for label, group in found.items()}
        if set(map(len, numbers.values())) - {3}:
            raise ValueError("not three numbers")
        return numbers, after
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise misshapen("list of what was not seen", error) from error


def token_of(message: Mapping[str, Any]) -> str:
    """The name of the survey there. Raises MalformedBody."""
    token = message.get("token")
    if not isinstance(token, str) or len(token) > 40:
        raise misshapen("survey", TypeError("it has no name"))
    return token


def _number(value: Any, most: int = 2**63 - 1) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no number of that kind")
    return int(value)
