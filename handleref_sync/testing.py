"""For the tests of a project: whether a resolver of its own settles conflicts to one end on all nodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from handleref_sync.core.resolvers import Conflicting, Resolve, Side


class _Version(NamedTuple):
    node: str
    timestamp: int
    values: Mapping[str, Any] | None


def check_resolver(resolver: Resolve, start: Mapping[str, Any], edits: Sequence[Mapping[str, Any] | None]) -> None:
    """Raise AssertionError, with the example, if `resolver` does not converge.

    `start`: the values, by field name, of a record that several nodes then edit without knowing of each other.
    `edits`: what each of them makes of it, as the fields that it changes; None for a deletion. Give three or more,
    and those that are hard to unite. Each three of them are settled in every order, with every order of their times:
    in a network, some node meets them in each of these orders, and all have to end with the same.
    """
    contents = [None if edit is None else {**start, **edit} for edit in edits]
    for three in itertools.combinations(contents, min(3, len(contents))):
        for times in itertools.permutations(range(1, len(three) + 1)):
            versions = [_Version(f"node-{t}", t << 16, values) for t, values in zip(times, three, strict=True)]
            orders = list(itertools.permutations(versions))
            ends = [(order, values) for order in orders for values in _ends(resolver, start, order)]
            first, *others = ends
            for order, values in others:
                if values != first[1]:
                    raise AssertionError(
                        f"The order in which versions meet makes a difference.\n"
                        f"{_listed(first[0])}\nend as {first[1]}, but\n{_listed(order)}\nend as {values}."
                    )


def _ends(resolver: Resolve, start: Mapping[str, Any], order: Sequence[_Version]) -> Iterator[Any]:
    """What versions come to that are met one after the other, and by two nodes of which each has met a part."""
    settled = order[0]
    for other in order[1:]:
        settled = _settle(resolver, start, settled, other)
    yield settled.values
    if len(order) == 3:
        a, b, c = order
        one, two = _settle(resolver, start, a, b), _settle(resolver, start, b, c)
        yield _settle(resolver, start, one, two).values


def _settle(resolver: Resolve, start: Mapping[str, Any], one: _Version, other: _Version) -> _Version:
    earlier, later = sorted((one, other), key=lambda version: (version.timestamp, version.node))
    if earlier.values == later.values:
        return later
    conflict = Conflicting("app.model", "key", _side(earlier, start), _side(later, start))
    verdict, again = resolver(conflict), resolver(conflict)
    if verdict != again:
        raise AssertionError(f"Asked twice about {conflict}, it answers {verdict}, then {again}.")
    if verdict is conflict.later:
        return later
    timestamp = later.timestamp + 1
    if verdict is conflict.earlier:
        return earlier._replace(timestamp=timestamp)
    if not isinstance(verdict, Mapping):
        raise AssertionError(f"It answers {verdict!r}, not one of the two sides nor values by field name.")
    base = later.values if later.values is not None else earlier.values
    return _Version(later.node, timestamp, {**(base or {}), **verdict})


def _side(version: _Version, start: Mapping[str, Any]) -> Side:
    changed = {name for name, value in (version.values or {}).items() if start.get(name) != value}
    return Side(version.node, version.timestamp, version.values, frozenset(changed))


def _listed(order: Sequence[_Version]) -> str:
    return "\n".join(f"  {version.node} at {version.timestamp}: {version.values}" for version in order)
