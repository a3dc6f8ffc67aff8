"""Two versions of one record made one, field by field.

The invariant: what comes out depends on the set of writes that went in, never on their order or their grouping. The
version is the one of the greatest rank, each field has the value of the greatest mark, the clocks are united. Each
of the three is a maximum, so the whole is a join (a last-writer-wins map, as in M. Shapiro et al., "A comprehensive
study of Convergent and Commutative Replicated Data Types", 2011).

A deletion has no fields, and so forgets what it met. If a later live version survives one that it did not know,
others may have met the forgotten before: such a version is written again as a whole, over everything
(`Joined.again`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from handleref_sync.core.change import NOTHING, Change, Mark, Marked, Version
from handleref_sync.core.version_vector import VersionVector

Same = Callable[[Any, Any], bool]


class Lost(NamedTuple):
    """What a join did not keep. `aspect`: which part of the write it is, for one write can lose more than once."""

    change: Change
    aspect: str = ""


class Joined(NamedTuple):
    """The record afterwards, what was lost, and whether it has to be written again with a dot of its own."""

    change: Change
    lost: tuple[Lost, ...] = ()
    again: bool = False


class Granularity(Enum):
    """What a conflict is about."""

    ROW = "row"
    """Two versions are one conflict, whatever they changed, and what the lesser wrote is lost."""
    FIELD = "field"
    """Each field is a conflict of its own, and versions are none."""
    CONTENT = "content"
    """As ROW, but content is never mixed: a resolver of the user's own decides on the whole of it."""


def join(local: Change, incoming: Change, same: Same, granularity: Granularity) -> Joined:
    """Join two versions of a record. `same`: whether two values are equal."""
    content = granularity is Granularity.CONTENT
    mine, theirs = local.version, incoming.version
    clock = mine.clock.unite(theirs.clock)
    if mine.clock.covers(theirs.clock):
        return Joined(local)
    if theirs.clock.covers(mine.clock):
        return Joined(incoming)
    winner, loser = (local, incoming) if mine.rank >= theirs.rank else (incoming, local)
    version = Version(winner.version.dot, clock, winner.version.timestamp)
    concurrent = unaware(mine, theirs)
    if winner.deleted or loser.deleted:
        # A deletion that knew the version, and not all that had been joined with it meanwhile, removes that unseen.
        unseen = concurrent or any(not winner.version.clock.knows(mark.dot) for mark, _ in loser.carried.values())
        lost: tuple[Lost, ...] = (whole_of(loser),) if unseen and winner.deleted != loser.deleted else ()
        again = not winner.deleted and bool(winner.carried) and concurrent
        return Joined(winner._replace(version=version), lost, again)
    here, there = local.content, incoming.content
    fields = {**here, **there}
    contested = []
    for name in here.keys() & there.keys():
        a, b = here[name], there[name]
        greater, lesser = (a, b) if a[0].rank >= b[0].rank else (b, a)
        if content and mine.dot != theirs.dot:  # of one write, neither is the winner
            greater, lesser = (a, b) if winner is local else (b, a)
        fields[name] = greater
        if not (mine.clock.knows(b[0].dot) or theirs.clock.knows(a[0].dot) or same(a[1], b[1])):
            contested.append((name, lesser))
    joined = Change.of(local.record, version, fields)
    whole = granularity is not Granularity.FIELD and concurrent and not alike(local, incoming, same)
    lost = tuple(
        _of_field(joined, name, marked)
        for name, marked in sorted(contested)
        if not (whole and (content or marked[0].dot == loser.version.dot))
    )
    entry = whole_of(loser) if content else Lost(loser._replace(carried=NOTHING))
    return Joined(joined, ((entry,) if whole else ()) + lost)


def unaware(one: Version, other: Version) -> bool:
    """Whether neither version knew the other's write."""
    return not (one.clock.knows(other.dot) or other.clock.knows(one.dot))


def alike(one: Change, other: Change, same: Same) -> bool:
    """Whether two versions say the same, in the fields of which both speak."""
    if one.deleted or other.deleted:
        return one.deleted and other.deleted
    here, there = one.content, other.content
    return all(same(here[name][1], there[name][1]) for name in here.keys() & there.keys())


def whole_of(loser: Change) -> Lost:
    """The whole of a version that lost, with what it had from other writes. Its clock says which those were."""
    if not loser.carried:
        return Lost(loser)
    values = {name: value for name, (_, value) in sorted(loser.content.items())}
    return Lost(Change(loser.record, loser.version, tuple(values), tuple(values.values())), f"@{loser.version.clock}")


def _of_field(joined: Change, name: str, marked: Marked) -> Lost:
    mark: Mark = marked[0]
    version = Version(mark.dot, VersionVector.of(mark.dot), mark.timestamp)
    return Lost(Change(joined.record, version, (name,), (marked[1],)), f".{name}")
