"""The causality core, by properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handleref_sync.core import hlc
from handleref_sync.core.change import Version
from handleref_sync.core.reconcile import Loser, reconcile
from handleref_sync.core.version_vector import Dot, VersionVector

NODES = st.sampled_from(["a", "b", "c", "d", "ship-7~k3f9"])
VECTORS = st.dictionaries(NODES, st.integers(0, 5)).map(VersionVector)


@given(VECTORS, VECTORS, VECTORS)
def test_uniting_is_a_least_upper_bound(a, b, c):
    assert a.unite(b) == b.unite(a)
    assert a.unite(b).unite(c) == a.unite(b.unite(c))
    assert a.unite(a) == a
    assert a.unite(b).covers(a) and a.unite(b).covers(b)
    if c.covers(a) and c.covers(b):
        assert c.covers(a.unite(b))


@given(VECTORS, VECTORS)
def test_two_vectors_are_ordered_or_concurrent(a, b):
    assert a.concurrent(b) == b.concurrent(a)
    assert (a.covers(b) and b.covers(a)) == (a == b)


@given(VECTORS)
def test_a_vector_survives_its_text_form(vector):
    assert VersionVector.parse(str(vector)) == vector


@pytest.mark.parametrize("text", ["", "a", "a:", ":3", "a:-1", "a:x"])
def test_a_bad_dot_is_refused(text):
    with pytest.raises(ValueError):
        Dot.parse(text)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError):
        VersionVector({"a": -1})
    with pytest.raises(ValueError):
        hlc.pack(-1)
    with pytest.raises(ValueError):
        hlc.pack(0, hlc.LOGICAL_MASK + 1)


@given(st.lists(st.integers(-1000, 1 << 40), min_size=1))
def test_timestamps_of_a_record_rise_whatever_the_wall_clock_does(walls):
    previous, highest = None, 0
    for count, now in enumerate(walls):
        stamped = hlc.tick(previous, now)
        highest = max(highest, now)
        assert previous is None or stamped > previous
        # Kulkarni et al.: never behind the wall clock, nor ahead of the highest one met by more than the number of
        # events since.
        assert hlc.pack(max(now, 0)) <= stamped <= hlc.pack(highest) + count
        previous = stamped


@given(st.integers(0, hlc.MAX_MILLISECONDS), st.integers(0, hlc.LOGICAL_MASK))
def test_a_timestamp_holds_both_its_parts(ms, count):
    stamped = hlc.pack(ms, count)
    assert (hlc.milliseconds(stamped), hlc.logical(stamped)) == (ms, count)
    assert hlc.too_far_ahead(stamped, ms - 11, 10) and not hlc.too_far_ahead(stamped, ms - 10, 10)


HISTORIES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.booleans(), st.integers(0, 3)), max_size=40
)


@given(HISTORIES, st.randoms())
def test_nodes_that_gossip_come_to_the_same_version(history, random):
    """Writes and one-way exchanges of one record over five nodes; after full gossip all are equal, losers logged."""
    here = {}
    counters = dict.fromkeys("abcde", 0)
    logged, written = set(), []

    def receive(node, version):
        local = here.get(node)
        decision = reconcile(local, version, lambda: local.dot == version.dot)
        if decision.loser is not Loser.NONE:
            logged.add((local if decision.loser is Loser.LOCAL else version).dot)
        here[node] = decision.stamp
        again = reconcile(decision.stamp, version, lambda: False)
        assert not again.changes(decision.stamp) and again.loser is Loser.NONE

    for node, other, write, wall in history:
        if write:
            counters[node] += 1
            dot, old = Dot(node, counters[node]), here.get(node)
            clock = (old.clock if old else VersionVector()).with_dot(dot)
            here[node] = Version(dot, clock, hlc.tick(old.timestamp if old else None, wall))
            written.append(here[node])
        elif other in here:
            receive(node, here[other])
    pairs = [(n, o) for n in "abcde" for o in "abcde" if n != o]
    for _ in range(3):
        random.shuffle(pairs)
        for node, other in pairs:
            if other in here:
                receive(node, here[other])
    for _ in range(6):
        for node, other in pairs:
            if other in here:
                receive(node, here[other])
    if written:
        assert len(here) == 5 and len(set(map(repr, here.values()))) == 1
        final = here["a"]
        for version in written:
            superseded = any(w.dot != version.dot and w.clock.knows(version.dot) for w in written)
            assert version.dot == final.dot or superseded or version.dot in logged
