"""Range reconciliation finds exactly what differs, in few messages."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handleref_sync.core import ranges
from handleref_sync.core.ranges import Descent, Summaries, Summary


def digest(value):
    return hashlib.sha256(repr(value).encode()).digest()[:16]


class Side:
    def __init__(self, items, depth=None):
        self.items = {key: digest((key, value)) for key, value in items.items()}
        self.sums = Summaries(ranges.depth_for(len(items)) if depth is None else depth)
        for key, item in self.items.items():
            self.sums.add(ranges.position(key), item)

    def named(self, prefixes):
        asked = ranges.numbered(prefixes)
        return {key: item for key, item in self.items.items() if ranges.within(ranges.position(key), asked)}


def reconcile(mine, theirs, most=10**6):
    """What differs, how often was asked about sums, and how many sums and items were sent."""
    descent = Descent(mine.sums, theirs.sums.of(""), theirs.sums.depth)
    rounds = sent = 0
    while asked := descent.take(most):
        rounds += 1
        for prefix in asked:
            parts = theirs.sums.parts(prefix)
            sent += len(parts)
            descent.answer(prefix, parts)
    listed = ranges.ranges_of(sorted(descent.listed))
    here, there = mine.named(listed), theirs.named(listed)
    return ranges.differing(here, there), rounds, sent + len(there)


ITEMS = st.dictionaries(st.text(max_size=4), st.integers(0, 3), max_size=200)


@given(ITEMS, ITEMS, st.integers(0, 4), st.integers(0, 4), st.integers(1, 40))
def test_it_finds_exactly_what_differs(mine, theirs, depth, other, most):
    found, _, _ = reconcile(Side(mine, depth), Side(theirs, other), most)
    assert found == sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_few_differences_among_many_cost_few_messages(data):
    items = {str(number): 0 for number in range(MANY)}
    changed = data.draw(st.sets(st.integers(0, MANY - 1), max_size=5))
    other = {**items, **{str(number): 1 for number in changed}}
    found, rounds, sent = reconcile(BASE, Side(other))
    assert found == sorted(map(str, changed))
    assert rounds <= ranges.DEPTH and sent <= len(changed) * (ranges.DEPTH * ranges.BRANCHES + 2 * ranges.FEW)


MANY = 20_000
BASE = Side({str(number): 0 for number in range(MANY)})


def test_items_that_change_places_are_found():
    """A sum of what the items say, without whose it is, would not see it."""
    found, _, _ = reconcile(Side({"a": 1, "b": 2}), Side({"a": 2, "b": 1}))
    assert found == ["a", "b"]


def test_a_range_is_the_sum_of_its_parts():
    parts = BASE.sums.parts("")
    whole = BASE.sums.of("")
    assert whole.items == MANY == sum(part.items for part in parts)
    assert whole.low == sum(part.low for part in parts) % 2**64 and whole.high == sum(p.high for p in parts) % 2**64
    assert Summary.of(whole.items, whole.digest()) == whole


@pytest.mark.parametrize(("count", "depth"), [(0, 0), (16, 0), (17, 1), (256, 1), (257, 2), (4097, 3), (10**9, 4)])
def test_how_finely_is_summed_up(count, depth):
    assert ranges.depth_for(count) == depth


@pytest.mark.parametrize(
    "value",
    [None, "ab", [1], ["g"], ["A"], ["00000"], ["b", "a"], ["a", "a"], ["a", "ab"], ["", "a"], [b"a"]],
)
def test_ranges_that_are_none(value):
    with pytest.raises((TypeError, ValueError)):
        ranges.ranges_of(value)


def test_ranges_in_order_are_taken():
    assert ranges.ranges_of(["0a", "0b", "1", "2fff"]) and ranges.ranges_of([""]) == [""]


@pytest.mark.parametrize("wrong", [(-1, b"x" * 16), (1, b"x")])
def test_sums_that_are_none(wrong):
    with pytest.raises(ValueError):
        Summary.of(*wrong)
    with pytest.raises(ValueError):
        Summaries(1, [b"x" * 8] * 3)
