"""Nodes in memory that run the real core: random histories with cut pulls, lying clocks and restores from backup.

What surrounds the core here (stamping, feed, cursors) is the least that the rules of the protocol ask for. Each rule
can be broken by name, and the tests expect that to be noticed: a check that nothing can fail would prove nothing.
"""

from __future__ import annotations

import copy
import itertools
import random
from dataclasses import dataclass, field

from handleref_sync.core import hlc
from handleref_sync.core.change import Version
from handleref_sync.core.reconcile import Loser, reconcile
from handleref_sync.core.resolvers import LastWriterWins
from handleref_sync.core.version_vector import Dot, VersionVector

RULES = {
    "whole-clock": "a change is left out only if the reader covers its whole clock, not just its dot",
    "unite": "clocks are united on fast forward and on ignore",
    "rank": "ties of timestamps are broken by the node",
    "causal-time": "a timestamp is greater than the one that its record had",
    "seen": "a restore is detected by all that the peer has seen, not by its vector",
    "log-first": "the conflict entry takes its sequence before the united stamp",
    "token": "a cursor counts only with the token that both sides remember",
}


class TiesByChance(LastWriterWins):
    """Breaks the rule "rank"."""

    def local_wins(self, local, incoming):
        return local.timestamp > incoming.timestamp


@dataclass
class Row:
    content: object
    timestamp: int
    version: Version | None = None
    sequence: int | None = None  # None: written, not stamped yet


@dataclass
class World:
    broken: str = ""
    writes: dict = field(default_factory=dict)
    tokens: object = field(default_factory=lambda: itertools.count(1))


class Node:
    def __init__(self, world, name):
        self.world, self.name, self.incarnation, self.skew, self.sequence = world, name, 0, 0, 0
        self.rows, self.vector, self.seen = {}, VersionVector(), VersionVector()
        self.cursors, self.given = {}, {}

    def __deepcopy__(self, memo):
        twin = Node(self.world, self.name)
        for name, value in vars(self).items():
            setattr(twin, name, value if name == "world" else copy.deepcopy(value, memo))
        return twin

    @property
    def id(self):
        return f"{self.name}~{self.incarnation}"

    def write(self, key, content, now):
        row = self.rows.get(key)
        previous = row.timestamp if row and self.world.broken != "causal-time" else None
        timestamp = hlc.tick(previous, now + self.skew)
        if row is None:
            self.rows[key] = Row(content, timestamp)
        else:
            row.content, row.timestamp, row.sequence = content, timestamp, None

    def stamp(self):
        for key in sorted(
            (k for k, r in self.rows.items() if r.sequence is None), key=lambda k: (self.rows[k].timestamp, repr(k))
        ):
            self.stamp_one(key)

    def stamp_one(self, key):
        row = self.rows[key]
        self.sequence += 1
        row.sequence, dot = self.sequence, Dot(self.id, self.sequence)
        clock = (row.version.clock if row.version else VersionVector()).with_dot(dot)
        row.version = Version(dot, clock, row.timestamp)
        self.vector, self.seen = self.vector.with_dot(dot), self.seen.with_dot(dot)
        assert dot not in self.world.writes, f"{dot} used twice"
        self.world.writes[dot] = (key, row.content, clock)

    def apply(self, key, content, incoming):
        self.seen = self.seen.unite(incoming.clock)
        row = self.rows.get(key)
        if row is not None and row.sequence is None:
            self.stamp_one(key)
        local = row.version if row else None
        resolver = TiesByChance() if self.world.broken == "rank" else LastWriterWins()
        decision = reconcile(local, incoming, lambda: row.content == content, resolver)
        if self.world.broken == "unite" and local and local.clock.knows(incoming.dot):
            return
        if self.world.broken == "unite" and local and incoming.clock.knows(local.dot):
            decision = decision._replace(stamp=incoming)
        if not decision.changes(local):
            return
        if decision.loser is Loser.LOCAL:
            self.log(key, row.content, local)
        elif decision.loser is Loser.INCOMING:
            self.log(key, content, incoming)
        self.sequence += 1
        kept = content if decision.write or row is None else row.content
        self.rows[key] = Row(kept, decision.stamp.timestamp, decision.stamp, self.sequence)

    def log(self, key, content, loser):
        entry = ("lost", key, loser.dot)
        if entry not in self.rows:
            self.rows[entry] = Row(content, loser.timestamp)
            if self.world.broken != "log-first":
                self.stamp_one(entry)

    def page(self, reader, cursor, vector, limit=3):
        self.stamp()
        trusted = cursor == self.given.get(reader) or self.world.broken == "token"
        after = sorted(
            ((r.sequence, k) for k, r in self.rows.items() if r.sequence > (cursor[0] if trusted else 0)),
            key=lambda x: x[0],
        )
        keys = [k for _, k in after[:limit]]
        versions = {k: self.rows[k].version for k in keys}
        if self.world.broken == "whole-clock":
            lacks = [k for k in keys if not vector.knows(versions[k].dot)]
        else:
            lacks = [k for k in keys if not vector.covers(versions[k].clock)]
        if keys:
            self.given[reader] = cursor = (after[len(keys) - 1][0], next(self.world.tokens))
        return [(k, self.rows[k].content, versions[k]) for k in lacks], cursor, len(after) <= limit, self.vector


def pull(reader, peer, cut=None, between=lambda: None):
    """`reader` pulls from `peer`, at most `cut` pages. Returns the number of changes moved."""
    for one, other in ((reader, peer), (peer, reader)):
        known = other.vector if one.world.broken == "seen" else other.seen
        if known.get(one.id, 0) > one.sequence:
            one.incarnation = next(one.world.tokens)
    reader.stamp()
    peer.stamp()
    asked, moved = reader.vector, 0
    for pages in itertools.count(1):
        changes, cursor, head, vector = peer.page(reader.name, reader.cursors.get(peer.name, (0, 0)), asked)
        for change in changes:
            reader.apply(*change)
        reader.cursors[peer.name] = cursor
        moved += len(changes)
        if head:
            reader.vector = reader.vector.unite(vector)
            reader.seen = reader.seen.unite(reader.vector)
            return moved
        if pages == cut:
            return moved
        between()


class History:
    """One random history, from its seed alone."""

    def __init__(self, seed, broken=""):
        self.rnd, self.world, self.now, self.number, self.backups = random.Random(seed), World(broken), 0, 0, {}
        self.nodes = [Node(self.world, chr(97 + i)) for i in range(self.rnd.randint(2, 5))]
        self.keys = list("uvwxyz")[: self.rnd.randint(1, 6)]
        for node in self.nodes:
            node.skew = self.rnd.choice([0, 0, 0, -50, 500])

    def write(self):
        self.number += 1
        content = (self.number if self.rnd.random() < 0.8 else 0, self.rnd.random() < 0.2)
        self.rnd.choice(self.nodes).write(self.rnd.choice(self.keys), content, self.now + 1000)

    def between(self, a, b):
        if self.rnd.random() < 0.2:
            self.write()
        others = [n for n in self.nodes if n not in (a, b)]
        if others and self.rnd.random() < 0.3:
            pull(b, self.rnd.choice(others))

    def run(self):
        """Play it, heal the network, and check. Returns what is wrong, or None."""
        rnd = self.rnd
        for self.now in range(rnd.randint(10, 80)):
            act = rnd.random()
            if act < 0.55:
                self.write()
            elif act < 0.95:
                a, b = rnd.sample(self.nodes, 2)
                pull(a, b, rnd.choice([None, None, 1, 2]), lambda a=a, b=b: self.between(a, b))
                pull(b, a, rnd.choice([None, None, 1, 2]), lambda a=a, b=b: self.between(b, a))
            elif act < 0.98:
                node = rnd.choice(self.nodes)
                self.backups[node.name] = copy.deepcopy(node)
            elif self.backups:
                self.restore(self.backups[rnd.choice(sorted(self.backups))])
        return self.heal() or self.check()

    def restore(self, backup):
        """A node comes back as it was. What nobody else ever got is gone, and is not asked for later."""
        place = next(i for i, n in enumerate(self.nodes) if n.name == backup.name)
        others = [n for n in self.nodes if n.name != backup.name]
        holders = [backup, *others]
        for dot, (key, _, _) in list(self.world.writes.items()):
            if not any(
                key in n.rows and n.rows[key].version and n.rows[key].version.clock.knows(dot) for n in holders
            ):
                del self.world.writes[dot]
        skew = self.nodes[place].skew
        self.nodes[place] = copy.deepcopy(backup)
        self.nodes[place].skew = skew
        # The first contact is one that can tell, where there is one.
        for other in others:
            if other.seen.get(backup.id, 0) > backup.sequence:
                pull(self.nodes[place], other)
                return

    def heal(self):
        order = self.rnd.sample(self.nodes, len(self.nodes))
        shapes = [
            list(itertools.pairwise(order)),
            [(order[0], n) for n in order[1:]],
            list(itertools.permutations(order, 2)),
        ]
        pairs = self.rnd.choice(shapes)
        for _ in range(4 * len(order) + 4):
            if not sum(pull(a, b) + pull(b, a) for a, b in pairs):
                return None
        return "does not come to rest"

    def check(self):
        first, *rest = [{k: (r.content, r.version) for k, r in n.rows.items()} for n in self.nodes]
        if any(other != first for other in rest):
            return "nodes differ"
        logged = {(k[1], content) for k, (content, _) in first.items() if k[0] == "lost"}
        for key, content, _ in self.world.writes.values():
            if key[0] == "lost" or first[key][0] == content or (key, content) in logged:
                continue
            equal = [d for d, w in self.world.writes.items() if w[:2] == (key, content)]
            later = (w for d, w in self.world.writes.items() if w[0] == key)
            if not any(w[2].knows(e) and w[1] != content for w in later for e in equal):
                return f"the write {content} of {key} is lost"
        return None
