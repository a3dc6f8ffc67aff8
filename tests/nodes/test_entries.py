"""Entries of the conflict log as they arrive: in different forms of the same loser, or in none."""

import pytest
from django.core.management import call_command

from handleref_sync import wire
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict, Parked, ReplicatedModel, Stamp
from handleref_sync.replication import conflicts, cursors, feed
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.page import Page
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, parked, state, tick
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def test_they_settle_on_one_form_everywhere(monkeypatch):
    """As when one of the two has the field already that a migration adds."""
    net = Network("abc")
    Tag.objects.using(A).create(name="one")
    net.heal([("b", "a"), ("c", "a")])
    Tag.objects.using(A).update(name="lost")
    stamp(A)
    tick()
    Tag.objects.using(B).update(name="won")
    stamp(B)
    net.ok("c", "b", push=False)
    net.ok("b", "a", push=False)  # b finds the conflict
    real = conflicts.entry
    with monkeypatch.context() as patch:

        def newer(lost):
            loser = lost.change
            more = loser._replace(fields=("more", *loser.fields), values=("x", *loser.values))
            return real(lost._replace(change=more))

        patch.setattr(conflicts, "entry", newer)
        net.ok("c", "a", push=False)  # and c finds it on its own
    data = [bytes(Conflict.objects.using(using).get().data) for using in (B, C)]
    assert data[0] != data[1]
    for here, there in (("a", "c"), ("a", "b"), ("b", "c")):  # a has c's, then b's; b has its own, then c's
        net.ok(here, there, push=False)
    net.heal([("b", "a"), ("c", "b"), ("a", "c")])
    data = [wire.unpack(bytes(Conflict.objects.using(using).get().data)) for using in (A, B, C)]
    assert data[0] == data[1] == data[2]
    assert net.rows("a") == net.rows("b") == net.rows("c")


@pytest.fixture
def net():
    """a's write has lost, and both know it."""
    net = Network("abc", [Tag])
    Tag.objects.using(A).create(name="x")
    net.heal([("b", "a")])
    Tag.objects.using(A).update(name="lost")
    tick()
    Tag.objects.using(B).update(name="won")
    net.heal([("b", "a")])
    return net


def said(using, **other):
    """What the one entry says, and `other`; absent where that is None."""
    entry = (
        Conflict.objects.using(using).values("model", "key", "node", "counter", "timestamp", "aspect", "data").get()
    )
    entry.update(data=bytes(entry["data"]), restored=False, dismissed=False)
    return {name: value for name, value in {**entry, **other}.items() if value is not None}


def arrive(net, values, later=0, key=None):
    """c sends a an entry; `later`: than the one that a has."""
    here = Conflict.objects.using(A).get().pk
    timestamp = Stamp.objects.using(A).get(model__label=conflicts.LABEL).timestamp + later
    version = Version(Dot("c", 7), VersionVector({"c": 7}), timestamp)
    change = Change(Record(conflicts.LABEL, key or here), version, tuple(values), tuple(values.values()))
    apply_page(A, net.peer("a", "c"), Page([change], (0, ""), False, True, VersionVector()), whole=False, scope="")


def travelling(using):
    """The one entry, as it goes on."""
    ledger = Ledger(using)
    stamp = Stamp.objects.using(using).get(model__label=conflicts.LABEL)
    scope = cursors.Scope(frozenset(ledger.models))
    (change,) = feed.read_records(using, [Record(conflicts.LABEL, feed.key_of(ledger, stamp))], scope).changes
    return {name: value for name, (_, value) in change.content.items()}


@pytest.mark.parametrize("later", [-1, 1])
def test_a_field_of_a_newer_release_is_kept_and_does_not_stop_the_flags(net, later):
    arrive(net, said(A, dismissed=True, note="new"), later)
    assert not parked("a")
    assert Conflict.objects.using(A).get().dismissed and travelling(A)["note"] == "new"
    net.heal([("b", "a"), ("c", "b"), ("a", "c")])
    for using in (A, B, C):
        assert Conflict.objects.using(using).get().dismissed and travelling(using)["note"] == "new"
    assert net.rows("a") == net.rows("b") == net.rows("c")
    waiting = ReplicatedModel.objects.using(C).get(label=conflicts.LABEL).unknown
    assert waiting == ["note"]


def test_a_field_of_a_newer_release_outlives_a_write_here_and_a_flag_that_came_meanwhile(net):
    arrive(net, said(A, note="new"), 1)
    Conflict.objects.using(A).update(restored=True)
    stamp(A)
    assert travelling(A)["note"] == "new"
    Conflict.objects.using(B).update(dismissed=True)
    net.heal([("b", "a"), ("c", "b"), ("a", "c")])
    for using in (A, B, C):
        entry = Conflict.objects.using(using).get()
        assert entry.restored and entry.dismissed and travelling(using)["note"] == "new"
    assert net.rows("a") == net.rows("b") == net.rows("c")


def test_an_entry_without_its_newest_fields_is_one(net):
    values = said(A, restored=None, dismissed=None)
    del values["aspect"]
    version = Version(Dot("a", 70), VersionVector({"a": 70}), 5)
    change = Change(
        Record(conflicts.LABEL, Conflict.objects.using(A).get().pk), version, *zip(*values.items(), strict=True)
    )
    apply_page(C, net.peer("c", "a"), Page([change], (0, ""), False, True, VersionVector()), whole=False, scope="")
    assert Conflict.objects.using(C).get().aspect == "" and not parked("c")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"model": None}, "nothing of model"),
        ({"data": None}, "nothing of data"),
        ({"model": 7}, "model is no text"),
        ({"model": "x" * 201}, "model is no text, or too long"),
        ({"key": b"k"}, "key is no text"),
        ({"node": "n" * 101}, "node is no text, or too long"),
        ({"counter": 0}, "counter is no number, or out of range"),
        ({"counter": "1"}, "counter is no number"),
        ({"timestamp": -1}, "timestamp is no number, or out of range"),
        ({"timestamp": hlc.MAX_TIMESTAMP + 1}, "timestamp is no number, or out of range"),
        ({"data": b"junk"}, "can't be read"),
        ({"data": 10**12}, "can't be read"),
        ({"data": wire.pack({"fields": ["name"]})}, "can't be read"),
        ({"data": wire.pack({"fields": ["name"], "values": "x"})}, "another shape"),
        ({"data": wire.pack({"fields": [1], "values": [1]})}, "another shape"),
        ({"data": wire.pack({"fields": ["name"], "values": []})}, "not as many values"),
        ({"counter": 99}, "the key of another one"),
        ({"aspect": ".name"}, "the key of another one"),
    ],
    ids=str,
)
def test_what_is_no_entry_is_parked_and_neither_read_nor_in_the_way(net, other, why):
    before = state(A)["log"]
    arrive(net, said(A, **other), key="f" * 40)
    waiting = Parked.objects.using(A).get()
    assert waiting.reason == Parked.Reason.INVALID and why in waiting.detail
    assert state(A)["log"] == before
    Tag.objects.using(A).create(name="innocent")
    for here, there in (("b", "a"), ("c", "a"), ("c", "b")):
        net.ok(here, there)
    assert Tag.objects.using(C).filter(name="innocent").exists() and state(C)["log"] == before


def test_the_honest_ones_of_every_kind_pass(net):
    """A part of a write, the whole of a record, a deletion, and what was known otherwise under its dot."""
    record, made = Record("testapp.tag", "k"), Version(Dot("a", 3), VersionVector({"a": 3}), 8)
    whole = Change(record, made, ("name",), ("x",))
    losers = [
        conflicts.Lost(whole),
        conflicts.Lost(whole, ".name"),
        conflicts.Lost(whole, "@a:3,b:4"),
        conflicts.Lost(Change(record, made._replace(dot=Dot("a", 4)), (), None)),
        conflicts.other_content(whole),
    ]
    changes = []
    for number, lost in enumerate(losers, 1):
        entry = conflicts.entry(lost)
        names = [f.name for f in Conflict._meta.concrete_fields if f.name != "id"]
        version = Version(Dot("c", number), VersionVector({"c": number}), entry.timestamp)
        values = tuple(getattr(entry, name) for name in names)
        changes.append(Change(Record(conflicts.LABEL, entry.pk), version, tuple(names), values))
    apply_page(B, net.peer("b", "c"), Page(changes, (0, ""), False, True, VersionVector()), whole=False, scope="")
    assert Conflict.objects.using(B).filter(key="k").count() == len(losers) and not parked("b")


@pytest.mark.parametrize(
    "junk",
    [
        {"data": b"junk"},
        {"data": wire.pack({"fields": ["name"], "values": []})},
        {"timestamp": -(2**62)},
        {"model": "testapp.tag", "key": "no primary key of a tag"},
        {"counter": -5},
    ],
    ids=str,
)
def test_junk_that_is_in_the_log_already_stops_neither_the_list_nor_a_command(net, junk, capsys):
    good = Conflict.objects.using(A).get()
    fields = {"model": "gone.model", "key": "k", "node": "b", "counter": 1, "timestamp": 5, "data": None}
    Conflict.objects.using(A).create(id="f" * 40, **{**fields, **junk})
    found = {entry["id"]: entry for entry in conflicts.describe(A)}
    assert found[good.pk]["values"]["name"] == "lost" and found[good.pk]["why"] == ""
    shown = found["f" * 40]
    if "data" in junk or "key" in junk:
        assert shown["lost"] == "unreadable" and shown["why"]
        with pytest.raises(ConfigurationError):
            conflicts.restore(A, "f" * 40)
    call_command("sync_conflicts", database=A)
    printed = capsys.readouterr().out
    assert good.pk[:12] in printed and "f" * 12 in printed and "2 conflicts" in printed
