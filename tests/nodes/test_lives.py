"""A node's life: restored, moved, copied, revoked, forgotten."""

import json

import pytest

from handleref_sync.exceptions import ConfigurationError, PeerRefused, PlaceChanged
from handleref_sync.models import LocalNode, Node, Parked, Peer, Stamp
from handleref_sync.replication import lives, place
from handleref_sync.replication.hello import hello
from handleref_sync.replication.stamping import stamp
from handleref_sync.retrying import retry
from tests.nodes.network import ALIASES, Network, sequence
from tests.testapp.models import Item, Tag

pytestmark = pytest.mark.django_db(databases=list(ALIASES.values()), transaction=True)
A, B, C = ALIASES["a"], ALIASES["b"], ALIASES["c"]


@pytest.fixture
def net():
    return Network("abc")


def local(using):
    return LocalNode.objects.using(using).select_related("incarnation").get()


def incarnation(using):
    return local(using).incarnation.name


def go_back(using, to):
    """As if the database had been restored from a backup that was made when its sequence was `to`."""
    Stamp.objects.using(using).filter(sequence__gt=to).delete()
    LocalNode.objects.using(using).update(sequence=to)
    Node.objects.using(using).filter(name=incarnation(using)).update(vector=to, seen=to)
    Tag.objects.using(using).exclude(name="kept")._raw_delete(using)


class TestRestored:
    @pytest.fixture
    def lost(self, net):
        """a has lost its newest write, which b has."""
        Tag.objects.using(A).create(name="kept")
        net.everywhere()
        before = sequence("a")
        Tag.objects.using(A).create(name="lost")
        net.ok("b", "a")
        go_back(A, before)

    def test_one_word_of_a_peer_is_believed_and_the_next_is_not(self, net, lost):
        report = net.ok("a", "b")
        assert any("incarnation" in note for note in report.notes)
        assert Tag.objects.using(A).filter(name="lost").exists()
        second = incarnation(A)
        Tag.objects.using(A).create(name="again")
        net.ok("a", "b")
        Node.objects.using(B).filter(name=second).update(seen=2**40)  # b errs, or lies
        for _ in range(3):
            assert net.sync("a", "b").reason == "restore-claimed"
            assert net.sync("b", "a").error
        assert incarnation(A) == second
        net.ok("a", "c")  # with others it goes on
        lives.restored(A)
        net.ok("a", "b")
        assert incarnation(A) != second

    def test_who_may_not_relay_is_not_believed_and_nothing_is_stamped(self, net, lost):
        Peer.objects.using(A).filter(name="b").update(relay=False)
        Tag.objects.using(A).create(name="new")
        before = sequence("a")
        assert net.sync("a", "b").reason == "restore-claimed"
        with pytest.raises(PeerRefused):
            net.transport("b", "a").call("hello", hello(B, net.peer("b", "a")).to_message())
        assert sequence("a") == before
        lives.restored(A)
        Peer.objects.using(A).filter(name="b").update(relay=True)
        net.ok("a", "b")
        assert {t.name for t in Tag.objects.using(A).all()} == {"kept", "lost", "new"}

    def test_parked_changes_are_not_tried_before_a_peer_was_heard(self, net, lost):
        Parked.objects.using(A).create(
            model="testapp.tag", key="x", node=Node.objects.using(A).first(), counter=9, clock="b:9", timestamp=1,
            reason=Parked.Reason.INVALID, sequence=sequence("a") + 1,
        )  # fmt: skip
        Tag.objects.using(A).create(name="new")
        before = sequence("a")
        with pytest.raises(Exception, match="No peer could be asked"):
            retry(A)
        assert sequence("a") == before


class TestHighWaterMark:
    @pytest.fixture
    def mark(self, settings, tmp_path):
        path = tmp_path / "mark"
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "HIGH_WATER_MARK": path}
        return path

    def test_a_database_behind_it_takes_a_new_incarnation_though_no_peer_knows(self, net, mark, settings):
        Tag.objects.using(A).create(name="kept")
        net.ok("a", "b")
        before = sequence("a")
        Tag.objects.using(A).create(name="lost")
        stamp(A)
        place.mark(A)
        assert json.loads(mark.read_text())["sequence"] == sequence("a") > before
        go_back(A, before)
        Tag.objects.using(A).create(name="other")
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "HIGH_WATER_MARK": mark}
        assert place.check(A)
        assert incarnation(A) != "a"
        assert json.loads(mark.read_text())["incarnation"] == incarnation(A)
        assert not place.check(A)

    def test_it_is_kept_before_a_page_leaves(self, net, mark):
        Tag.objects.using(A).create(name="t")
        message = hello(B, net.peer("b", "a")).to_message()
        net.transport("b", "a").call("pull", message)
        assert json.loads(mark.read_text()) == {"node": "a", "incarnation": "a", "sequence": sequence("a")}

    @pytest.mark.parametrize(
        "text, words",
        [("{", "no high-water mark"), ('{"node": "z", "incarnation": "z", "sequence": 1}', "mark of z")],
    )
    def test_one_that_cannot_be_read_is_said(self, net, mark, text, words):
        mark.write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            place.check(A)

    def test_nor_written(self, net, settings, tmp_path):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "HIGH_WATER_MARK": tmp_path / "none" / "mark"}
        with pytest.raises(ConfigurationError, match="can't be written"):
            place.mark(A)


class TestPlace:
    def test_a_database_elsewhere_is_refused_until_the_operator_says_why(self, net):
        LocalNode.objects.using(A).update(place="somewhere else")
        if not here(A):
            pytest.skip("in memory a database has no place")
        with pytest.raises(PlaceChanged, match="somewhere else"):
            place.check(A)
        assert net.sync("a", "b").reason == net.sync("b", "a").reason == "place-changed"
        lives.moved(A)
        net.ok("a", "b")

    def test_restored_says_it_too(self, net):
        LocalNode.objects.using(A).update(place="somewhere else")
        lives.restored(A)
        assert not place.check(A)
        assert incarnation(A) != "a"

    def test_it_can_be_switched_off(self, net, settings):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "CHECK_PLACE": False}
        LocalNode.objects.using(A).update(place="somewhere else")
        assert not place.check(A)


def here(using):
    LocalNode.objects.using(using).update(place="")
    place.check(using)
    found = local(using).place
    LocalNode.objects.using(using).update(place="somewhere else")
    return found


class TestCopyThatBecomesANode:
    def test_it_has_another_id_and_key_and_nothing_crosses_that_both_have(self, net, settings):
        Item.objects.using(A).create(name="lamp")
        stamp(A)
        key = bytes(local(A).private_key)
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "NODE": "copy"}
        assert lives.become(A) == "a"
        assert local(A).name == incarnation(A) == "copy"
        assert bytes(local(A).private_key) != key
        assert not Peer.objects.using(A).exists()
        Item.objects.using(A).create(name="rope")
        stamp(A)
        stamps = {s.node.name for s in Stamp.objects.using(A).select_related("node")}
        assert stamps == {"a", "copy"}

    @pytest.mark.parametrize("name, words", [("a", "still"), ("b", "another node")])
    def test_an_id_that_is_not_new_is_refused(self, net, settings, name, words):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "NODE": name}
        with pytest.raises(ConfigurationError, match=words):
            lives.become(A)
        assert local(A).name == "a"


class TestRevokedAndForgotten:
    def test_a_revoked_peer_is_not_called(self, net):
        lives.revoke(A, "b")
        assert net.sync("a", "b").reason == "revoked"
        net.ok("a", "c")

    def test_a_forgotten_one_is_gone_and_what_it_wrote_stays(self, net):
        Tag.objects.using(B).create(name="b")
        net.everywhere()
        lives.forget(A, "b")
        assert not Peer.objects.using(A).filter(name="b").exists()
        net.ok("a", "c")
        assert Tag.objects.using(A).count() == 1

    @pytest.mark.parametrize("what", [lives.revoke, lives.forget])
    def test_an_unknown_one_is_said(self, net, what):
        with pytest.raises(ConfigurationError, match="no peer x"):
            what(A, "x")
