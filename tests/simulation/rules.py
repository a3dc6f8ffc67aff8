"""Rules of the library, each of which can be broken: a check that nothing can fail would prove nothing.

A rule is broken in the source of the real function: one piece of it is replaced by another.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from handleref_sync.capture.sqlite import SQLite
from handleref_sync.core import join as joins
from handleref_sync.core import reconcile
from handleref_sync.replication import (
    admission,
    applier,
    conflicts,
    cursors,
    feed,
    hello,
    lives,
    parking,
    place,
    purging,
    references,
    stamping,
)
from handleref_sync.replication.applier import Applier
from handleref_sync.replication.plan import Planner
from handleref_sync.replication.responder import Responder
from handleref_sync.session import _Round


class Rule(NamedTuple):
    """What holds, where, and how it is broken: what of the source is replaced by what."""

    text: str
    owner: Any
    name: str
    old: str
    new: str


SAVED = """        peer.pull_scope = scope
        peer.mid_feed = not page.head
        peer.pull_sequence, peer.pull_token = page.cursor
        if page.head and page.whole:
            peer.rejoining = False
        peer.save(using=using, update_fields=["pull_sequence", "pull_token", "pull_scope", "mid_feed", "rejoining"])
"""
RULES = {
    "whole clock": Rule(
        "a change is left out only if the reader covers its whole clock, not just its dot",
        *(feed, "_scan", "known.covers(VersionVector.parse(row.clock))"),
        "known.counter(ledger.node_name(row.node_id)) >= row.counter",
    ),
    "head": Rule(
        "the vector is merged at the head of a feed, not before",
        *(applier, "_apply_page", "if page.head and page.whole and whole and", "if page.whole and whole and"),
    ),
    "whole exchange": Rule(
        "the vector is merged only where both sides may relay",
        *(hello, "scope_of", "mine.models == theirs.models and mine.relay and theirs.relay", "True"),
    ),
    "token": Rule(
        "a cursor counts only with the token that both sides remember",
        *(cursors, "remembered", "list(cursor) in reader.given", "True"),
    ),
    "hello first": Rule(
        "nothing is stamped before the peer has said what it has seen",
        *(_Round, "run", "mine = hello(", "stamp(self.using)\n    mine = hello("),
    ),
    "seen": Rule(
        "a restore is noticed by all that the peer has met, not by its vector",
        *(hello, "hello", "ledger.met_of(peer.name)"),
        'VersionVector({n: c for n, c in ledger.incorporated().items() if n.partition("~")[0] == peer.name})',
    ),
    "met": Rule(
        "every clock that arrives raises what was met, applied or not",
        *(applier, "_apply_page", "_learn(ledger, peer, page.changes)", "pass"),
    ),
    "log first": Rule(
        "an entry of the conflict log has its sequence before the united stamp",
        *(
            Applier,
            "carry_out",
            "logged = conflicts.log(ledger, losers)",
            "self._stamp(plans, writer)\n"
            "        logged = conflicts.log(ledger, losers)\n        plans_, plans = plans, []",
        ),
    ),
    "log": Rule("what loses is logged", conflicts, "log", "if not entries:", "if True:"),
    "unite": Rule(
        "clocks are united where a version is known already",
        *(
            reconcile,
            "reconcile",
            "return Decision(False, _with_clock(local, united))",
            "return Decision(False, local)",
        ),
    ),
    "causal time": Rule(
        "a timestamp is greater than the one that its record had",
        *(stamping, "fold", "max(old.timestamp + 1, write.timestamp)", "write.timestamp"),
    ),
    "one transaction": Rule(
        "the cursor is saved in the transaction of its page",
        *(
            applier,
            "_apply_page",
            "    with locked(using) as ledger:",
            SAVED.replace("        ", "    ") + "    with locked(using) as ledger:",
        ),
    ),
    "silence": Rule(
        "triggers are silent while a page is applied", SQLite, "applying", "(id) VALUES (1)", "(id) SELECT 1 WHERE 0"
    ),
    "parked": Rule(
        "what can't be written is kept",
        *(Applier, "_hold", "self._anything_parked = True", "return 0"),
    ),
    "nothing to do": Rule(
        "there is nothing to do only where the reader covers all that was met",
        *(Responder, "_hello", "theirs.vector.covers(ledger.seen())", "theirs.vector.covers(ledger.vector())"),
    ),
    "acknowledged": Rule(
        "a tombstone is dropped only when every peer has it",
        *(purging, "_unneeded", "elif not lacking and", "elif"),
    ),
    "buried": Rule(
        "what was deleted before its tombstone was dropped gets a new one",
        *(Planner, "_buried", "c.deleted or self.rights(c.version.dot).rejoining", "False"),
    ),
    "went back": Rule(
        "who goes back to a backup shows all that it has to those who dropped tombstones",
        *(hello, "_lacks", "return other or went_back", "return other"),
    ),
    "jump": Rule(
        "who takes over a vector that speaks of dropped tombstones lets all others show what they have",
        *(applier, "_apply_page", "_jump(ledger, peer, page)", "pass"),
    ),
    "place": Rule(
        "a database that is elsewhere talks to nobody",
        *(place, "refuse_elsewhere", "elif here and here != local.place", "elif False"),
    ),
    "in the middle": Rule(
        "nor does it go on with a session that another one began",
        *(Responder, "handle", "place.refuse_elsewhere(self.using)", "pass"),
    ),
    "new node": Rule(
        "a copy that becomes a node writes under a name of its own",
        *(lives, "become", "local.incarnation = ", "_ = "),
    ),
    "read only": Rule(
        "what a peer may not write is not written",
        *(admission, "refused_write", "if rights.all_of(model)", "if True"),
    ),
    "passed on": Rule(
        "what a peer may not write is not passed on",
        *(feed, "_passed_on", ".exclude(reason=Parked.Reason.NOT_PERMITTED)", ".all()"),
    ),
    "covered": Rule(
        "a page is not whole while its vector covers what is not passed on",
        *(feed, "_incomplete", "if any(map(ledger.incorporated", "if False and any(map(ledger.incorporated"),
    ),
    "new place": Rule(
        "what may be passed on again takes a new place in the feed",
        *(parking, "_park_again", "if before.reason ==", "if False and before.reason =="),
    ),
    "joined": Rule(
        "what a deletion did not know of a version that it knew is logged",
        *(joins, "join", "unseen = concurrent or any(", "unseen = concurrent or False and any("),
    ),
    "cascade": Rule(
        "what a cascade removes unseen is logged",
        *(references.Settler, "_child", "(whole_of(mine),)", "()"),
    ),
}


@contextmanager
def broken(rule: Rule) -> Iterator[None]:
    """The library without `rule`."""
    original = inspect.unwrap(getattr(rule.owner, rule.name))
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(rule.old), f"{rule.name} has changed: {rule.old}"
    made: dict[str, Any] = {}
    text = f"from __future__ import annotations\n{source.replace(rule.old, rule.new)}"
    exec(compile(text, original.__code__.co_filename, "exec"), original.__globals__, made)
    present = getattr(rule.owner, rule.name)
    with ExitStack() as stack:
        stack.enter_context(patch.object(rule.owner, rule.name, made[rule.name]))
        for name, other in list(sys.modules.items()):
            if name.startswith("handleref_sync.") and vars(other).get(rule.name) is present:
                stack.enter_context(patch.object(other, rule.name, made[rule.name]))
        yield
