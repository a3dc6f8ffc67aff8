"""What a database can't keep, in the message of a paired peer: refused or parked, on every database alike."""

import pytest

from handleref_sync import exceptions, wire
from handleref_sync.capture import install
from handleref_sync.core import hlc
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models import Capture, Conflict, Parked, Peer, ReplicatedModel, Stamp
from handleref_sync.replication import conflicts, cursors, feed
from handleref_sync.replication.applier import retry_parked
from handleref_sync.replication.hello import hello
from handleref_sync.replication.ledger import Ledger, now_ms
from handleref_sync.replication.page import to_message
from handleref_sync.replication.responder import Responder
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default"])
TAG, AIRPORT, LOG = "testapp.tag", "testapp.airport", Conflict._meta.label_lower
KEY = "00000000-0000-0000-0000-000000000007"


@pytest.fixture
def peer(node):
    return Peer.objects.create(name="b", public_key=b"")


@pytest.fixture
def push(peer):
    """Push one change of b's; what is answered."""

    def push(label=TAG, key=KEY, fields=("name",), values=("x",), counter=1, **changes):
        mine = hello("default", peer).to_message()
        message = {
            "models": [[label, list(fields)]],
            "nodes": ["b"],
            "rows": [[0, key, 0, counter, None, hlc.pack(now_ms()), None if values is None else list(values)]],
            "cursor": [counter, "token"],
            "head": True,
            "whole": True,
            "vector": {},
            "hello": {**mine, "node": "b"},
            "after": [0, ""],
            **changes,
        }
        arrived = wire.unpack_message(wire.pack(message))
        return Responder("default", Peer.objects.get(name="b")).handle("push", arrived)

    return push


def nothing_is_written():
    tables = (Stamp, Capture, Parked, Conflict, Tag)
    return not any(model._base_manager.exists() for model in tables) and set(Ledger("default").seen()) <= {"a"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": "k" * 501}, "too-large"),
        ({"key": "k\x00"}, "malformed"),
        ({"key": "\ud800"}, "malformed"),
        ({"label": "m" * 201}, "too-large"),
        ({"label": "no.\x00"}, "malformed"),
        ({"label": "no.\udfff"}, "malformed"),
        ({"fields": ["n" * 201]}, "too-large"),
        ({"fields": ["n\x00"]}, "malformed"),
        ({"fields": ["name", "name"], "values": ["x", "y"]}, "malformed"),
        ({"nodes": ["b,c"]}, "malformed"),
        ({"nodes": ["b:1"]}, "malformed"),
        ({"nodes": ["b\x00"]}, "malformed"),
        ({"nodes": ["B"]}, "malformed"),
        ({"nodes": ["b~" + "x" * 40]}, "malformed"),
        ({"nodes": ["b"] * 10_001}, "too-large"),
        ({"vector": {f"n{number}": 1 for number in range(10_001)}}, "too-large"),
        ({"vector": {"b": 2**63}}, "malformed"),
        ({"vector": []}, "malformed"),
        ({"vector": {"b\n": 1}}, "malformed"),
        ({"cursor": [1, "t" * 41]}, "too-large"),
        ({"cursor": [1, "t\x00"]}, "malformed"),
        ({"cursor": [2**63, "t"]}, "malformed"),
        ({"counter": 2**63}, "malformed"),
        ({"behind": 2**63}, "malformed"),
        ({"rows": {"abcdefg": 1}}, "malformed"),
    ],
)
def test_refused(push, changes, reason):
    with pytest.raises(exceptions.ProtocolError) as caught:
        push(**changes)
    assert caught.value.reason == reason and caught.value.hint
    assert nothing_is_written()


def parked():
    return list(Parked.objects.values_list("model", "key", "reason"))


@pytest.mark.parametrize(
    ("label", "key", "fields", "values", "reason"),
    [
        (TAG, "k" * 500, ["name"], ["x"], "invalid"),
        (TAG, KEY, ["name"], ["\ud800"], "invalid"),
        (TAG, KEY, ["name"], [10**5000], "invalid"),
        (TAG, KEY, ["name"], [[1]], "invalid"),
        (AIRPORT, "b:1", ["country"], ["k" * 5000], "invalid"),
        (AIRPORT, "b:1", ["country"], ["k\x00"], "invalid"),
        (AIRPORT, "b:1", ["country"], ["\ud800"], "invalid"),
        (AIRPORT, "b:1", ["country"], [["b:1"]], "parent-missing"),
        (AIRPORT, "b:1", ["country"], ["k" * 500], "parent-missing"),
        (AIRPORT, "b:1", ["country"], [10**5000], "invalid"),
        ("m" * 200, "k" * 500, ["name"], ["x"], "unknown-model"),
        (LOG, "0" * 40, ["key"], ["x"], "invalid"),
        (LOG, "0" * 40, ["model", "key", "node", "counter", "timestamp"], [["x"], "k", "b", 1, 1], "invalid"),
    ],
)
def test_parked(push, label, key, fields, values, reason):
    extra = ["name", "elevation", "extra", "status", "created", "updated", "version"] if label == AIRPORT else []
    rest = ["n", None, "{}", "", None, None, 0] if label == AIRPORT else []
    assert push(label=label, key=key, fields=[*fields, *extra], values=[*values, *rest])["parked"] == 1
    assert parked() == [(label, key, reason)]
    assert "\x00" not in Parked.objects.get().detail
    retry_parked("default", "b", settle=True)
    assert parked() == [(label, key, reason)]
    goes_on(push)


def goes_on(push):
    """The next change is applied, and others get what there is."""
    assert push(key=KEY.replace("7", "8"), counter=2)["applied"] == 1
    other = Peer.objects.create(name="c", public_key=b"")
    models = frozenset(Ledger("default").models) | {"m" * 200}
    page = feed.read_page("default", other, (0, ""), VersionVector(), cursors.Scope(models))
    assert to_message(page)["rows"]
    conflicts.describe("default", everything=True)


def test_an_entry_that_a_peer_made_up_is_parked_and_goes_no_further(push):
    assert push(label=LOG, key="0" * 40, fields=["key"], values=["x"])["parked"] == 1
    other = Peer.objects.create(name="c", public_key=b"")
    page = feed.read_page("default", other, (0, ""), VersionVector(), cursors.Scope(frozenset({LOG})))
    assert page.changes == [] and page.head


def test_an_entry_whose_content_nobody_can_read_is_shown_all_the_same(node):
    for number, data in enumerate((b"\xc1", wire.pack({"fields": 1}), wire.pack({"fields": [1], "values": [1]}))):
        Conflict.objects.create(
            id=str(number), model=TAG, key="\ud7ff", node="b", counter=1, timestamp=-(2**62), data=data
        )
        with pytest.raises(exceptions.ConfigurationError):
            conflicts.restore("default", str(number))
    assert [entry["lost"] for entry in conflicts.describe("default")] == ["unreadable"] * 3


def test_thousands_of_new_nodes_in_a_clock_are_learnt_at_once(push, django_assert_max_num_queries):
    names = ["b", *(f"n{number}" for number in range(2000))]
    row = [0, KEY, 0, 1, [[number, 1] for number in range(2001)], hlc.pack(now_ms()), ["x"]]
    with django_assert_max_num_queries(150):
        assert push(nodes=names, rows=[row])["applied"] == 1
    assert len(Ledger("default").seen()) >= 2001


def test_names_of_fields_that_nobody_has_are_not_noted_without_end(push):
    for turn in range(2):
        names = [f"f{turn}x{number}" for number in range(4000)]
        push(
            key=KEY.replace("7", str(turn)),
            fields=["name", *names],
            values=["x", *[None] * 4000],
            counter=turn + 1,
        )
    assert len(ReplicatedModel.objects.get(label=TAG).unknown) == 5000


def test_a_record_whose_key_no_other_node_would_take_stays_here_and_is_shown(node, monkeypatch, caplog):
    monkeypatch.setattr("handleref_sync.replication.shape.KEY_LENGTH", 60)
    kept = Tag.objects.create(name="short")
    stay = Tag.objects.create(name="long")
    feed.stamp("default")
    label = ReplicatedModel.objects.get(label=TAG)
    monkeypatch.setattr(feed, "key_of", lambda ledger, row: "k" * 61 if row.pk_text == text(stay) else text(kept))
    other = Peer.objects.create(name="c", public_key=b"")
    page = feed.read_page("default", other, (0, ""), VersionVector(), cursors.Scope(frozenset({TAG})))
    assert [change.record.key for change in page.changes] == [text(kept)] and not page.whole
    label.refresh_from_db()
    assert "61 characters" in label.unreadable[text(stay)]
    assert "can't be read" in caplog.text
    assert install.missing("default") == []


def text(tag):
    return Stamp.objects.get(model__label=TAG, pk_text__in=(str(tag.pk), tag.pk.hex)).pk_text
