"""Joining by fields: random histories of writes by nodes that each know only a part."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Mark, Record, Version
from handleref_sync.core.join import Granularity, join
from handleref_sync.core.version_vector import Dot, VersionVector

RECORD = Record("app.model", "1")
FIELDS = ("x", "y", "z")
NODES = "abc"


class Net:
    """One record on three nodes; `by_field` as in the real thing."""

    def __init__(self, by_field):
        self.by_field = by_field
        self.states, self.lost, self.counters = {}, set(), dict.fromkeys(NODES, 0)
        self.wrote = {}

    def write(self, node, values, now):
        old = self.states.get(node)
        if old is None or old.deleted:
            values = {**dict.fromkeys(FIELDS, 0), **values}
        elif not self.by_field:
            values = {**{name: marked[1] for name, marked in old.content.items()}, **values}
        version = self.version(node, hlc.tick(old.version.timestamp if old else None, now))
        mark = Mark(version.timestamp, version.dot)
        content = {**(old.content if old else {}), **{name: (mark, value) for name, value in values.items()}}
        self.states[node] = Change.of(RECORD, version, content)
        for name in values:
            self.wrote[version.dot, name] = (values[name], version.clock)

    def delete(self, node, now):
        old = self.states.get(node)
        if old is not None and not old.deleted:
            version = self.version(node, hlc.tick(old.version.timestamp, now))
            self.states[node] = Change(RECORD, version, (), None)
            self.wrote[version.dot, None] = (None, version.clock)

    def version(self, node, timestamp):
        self.counters[node] += 1
        dot = Dot(node, self.counters[node])
        old = self.states.get(node)
        return Version(dot, (old.version.clock if old else VersionVector()).with_dot(dot), timestamp)

    def pull(self, node, peer):
        """Returns whether anything became different."""
        mine, theirs = self.states.get(node), self.states.get(peer)
        if theirs is None:
            return False
        if mine is None:
            self.states[node] = theirs
            return True
        joined = join(mine, theirs, lambda a, b: a == b, Granularity.FIELD if self.by_field else Granularity.ROW)
        for lost in joined.lost:
            self.lost.add((lost.change.version.dot, lost.aspect, lost.change.fields, lost.change.values))
        state = joined.change
        if joined.again:
            self.states[node] = state
            timestamp = max(mine.version.timestamp, theirs.version.timestamp) + 1
            version = self.version(node, timestamp)
            mark = Mark(timestamp, version.dot)
            state = Change.of(RECORD, version, {name: (mark, v) for name, (_, v) in state.content.items()})
        self.states[node] = state
        return state != mine


def test_under_one_dot_the_order_makes_no_difference_however_a_conflict_is_settled():
    """Two nodes have joined the same version with writes of others."""
    dot, early, late = Dot("a", 1), Mark(2, Dot("b", 1)), Mark(3, Dot("c", 1))
    one = Change(RECORD, Version(dot, VersionVector({"a": 1, "b": 1}), 9), ("x",), (0,), {"y": (early, 1)})
    other = Change(RECORD, Version(dot, VersionVector({"a": 1, "c": 1}), 9), ("x",), (0,), {"y": (late, 2)})
    for granularity in Granularity:
        for pair in ((one, other), (other, one)):
            joined = join(*pair, lambda a, b: a == b, granularity)
            assert joined.change.content["y"] == (late, 2) and not joined.again
            assert [(lost.change.values, lost.aspect) for lost in joined.lost] == [((1,), ".y")]


WRITES = st.tuples(
    st.just("write"),
    st.sampled_from(NODES),
    st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 3), min_size=1),
    st.integers(0, 50),
)
DELETIONS = st.tuples(st.just("delete"), st.sampled_from(NODES), st.integers(0, 50))
PULLS = st.tuples(st.just("pull"), st.sampled_from(NODES), st.sampled_from(NODES))
HISTORIES = st.lists(st.one_of(WRITES, WRITES, DELETIONS, PULLS, PULLS), max_size=25)
ORDERS = st.lists(st.permutations(list(itertools.permutations(NODES, 2))), min_size=12, max_size=12)


def run(history, by_field):
    net = Net(by_field)
    for kind, *arguments in history:
        getattr(net, kind)(*arguments)
    return net


def heal(net, orders):
    for order in orders:
        if not any([net.pull(node, peer) for node, peer in order]):
            return
    raise AssertionError("does not come to rest")


@settings(max_examples=400, deadline=None)
@given(HISTORIES, st.booleans(), ORDERS)
def test_all_nodes_end_with_the_same_fields_marks_and_clock(history, by_field, orders):
    net = run(history, by_field)
    heal(net, orders)
    ends = [net.states[node] for node in NODES if node in net.states]
    assert all(end.version == ends[0].version for end in ends)
    assert all(end.content == ends[0].content and end.deleted == ends[0].deleted for end in ends)


@settings(max_examples=400, deadline=None)
@given(HISTORIES, ORDERS)
def test_what_is_written_is_current_or_superseded_by_a_write_that_knew_it_or_lost_in_the_log(history, orders):
    net = run(history, True)
    heal(net, orders)
    if not net.states:
        return
    end = net.states["a"]
    lost = {pair for _, _, fields, values in net.lost for pair in zip(fields, values or (), strict=False)}
    for (_, name), (value, _) in net.wrote.items():
        if value is None or (name in end.content and end.content[name][1] == value) or (name, value) in lost:
            continue
        alike = [dot for (dot, field), (other, _) in net.wrote.items() if (field, other) == (name, value)]
        assert any(
            any(clock.knows(dot) and other != dot for dot in alike)
            for (other, field), (_, clock) in net.wrote.items()
            if field in (name, None)
        )


@given(st.integers(0, 3), st.integers(0, 3))
def test_edits_of_different_fields_both_survive_and_nothing_is_lost(first, second):
    net = Net(by_field=True)
    net.write("a", {}, 1)
    net.pull("b", "a")
    net.write("a", {"x": first}, 5)
    net.write("b", {"y": second}, 4)
    net.pull("a", "b")
    assert {name: value for name, (_, value) in net.states["a"].content.items()} == {"x": first, "y": second, "z": 0}
    assert not net.lost


def test_of_two_edits_of_one_field_the_later_stays_and_the_other_is_lost():
    net = Net(by_field=True)
    net.write("a", {}, 1)
    net.pull("b", "a")
    net.write("a", {"x": 1, "z": 7}, 5)
    net.write("b", {"x": 2}, 4)
    net.pull("b", "a")
    assert net.states["b"].content["x"][1] == 1
    assert net.lost == {(Dot("b", 1), ".x", ("x",), (2,))}


def test_an_edit_before_the_last_write_counts_with_its_own_time():
    net = Net(by_field=True)
    net.write("a", {}, 1)
    net.pull("b", "a")
    net.write("a", {"x": 1}, 5)
    net.write("a", {"y": 1}, 9)
    net.write("b", {"x": 2}, 7)
    net.pull("a", "b")
    assert net.states["a"].content["x"][1] == 2
