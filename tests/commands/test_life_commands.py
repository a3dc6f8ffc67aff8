"""What an operator says of peers and of a database, and what comes back."""

import json

import pytest

from handleref_sync.models import LocalNode, Peer, Stamp
from tests.commands.test_commands import refused
from tests.nodes.network import tick
from tests.testapp.models import Country, Item

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])
A, B = "default", "second"


def incarnation(using):
    return LocalNode.objects.using(using).select_related("incarnation").get().incarnation.name


class TestPermit:
    def test_it_shows_what_a_peer_may_do(self, joined, manage):
        shown = manage("a", "sync_permit", "b").splitlines()
        assert "pull: yes" in shown and "models: all" in shown and "revoked: no" in shown
        assert any(line.startswith("read only: auth.user.is_superuser, ") for line in shown)
        assert "read only: nothing" in manage("b", "sync_permit", "a"), "who joins trusts the node that it joins"

    def test_it_sets_what_is_named_and_leaves_the_rest(self, joined, manage):
        manage(
            "a", "sync_permit", "b", "--no-relay", "--models", "testapp.Country", "--url", "http://x.example/sync/"
        )
        found = json.loads(manage("a", "sync_permit", "b", "--read-only", "testapp.country.name", "--json"))
        assert (found["relay"], found["pull"], found["models"]) == (False, True, ["testapp.country"])
        assert (found["read_only"], found["url"]) == (["testapp.country.name"], "http://x.example/sync/")
        Country.objects.using(A).create(code="fr", name="France")
        Item.objects.using(A).create(name="lamp")
        manage("b", "sync_peer")
        Country.objects.using(B).update(name="?")
        manage("b", "sync_peer")
        assert Country.objects.using(A).get().name == "France"
        assert not Item.objects.using(B).exists()
        back = manage("a", "sync_permit", "b", "--all-models", "--relay", "--writes-everything").splitlines()
        assert {"models: all", "relay: yes", "read only: nothing"} <= set(back)
        manage("a", "sync_permit", "b", "--read-only-default")
        assert Peer.objects.using(A).get().read_only is None

    @pytest.mark.parametrize(
        "arguments, words",
        [
            (["x"], "There is no peer x. Known are: b."),
            (["b", "--models", "testapp.nothing"], "testapp.nothing is not replicated here."),
            (["b", "--read-only", "testapp.country.nothing"], "testapp.country has no field nothing."),
            (["b", "--read-only", "country"], "country is not replicated here."),
        ],
    )
    def test_what_there_is_not_is_said(self, joined, manage, arguments, words):
        assert words in refused(manage, "a", "sync_permit", *arguments)
        assert Peer.objects.using(A).get().only_models is None


class TestRevoke:
    def test_neither_side_gets_anywhere_and_pairing_again_makes_it_good(self, joined, manage):
        Country.objects.using(B).create(code="fr", name="France")
        assert "a refuses b from now on." in manage("a", "sync_revoke", "b")
        assert "failed: b" not in manage("a", "sync_status")
        assert "1 of 1 failed: a" in refused(manage, "b", "sync_peer")
        assert "does not believe b any more" in Peer.objects.using(B).get().last_error
        assert "not signed" not in Peer.objects.using(B).get().last_error
        assert not Country.objects.using(A).exists()
        assert "revoked: 20" in manage("a", "sync_permit", "b")
        url, token = manage("a", "sync_invite", "b", "--url", joined.url).split()[-2:]
        manage("b", "sync_join", url, token)
        manage("b", "sync_peer")
        assert Country.objects.using(A).exists()

    def test_what_it_revoked_is_not_called(self, joined, manage):
        manage("b", "sync_revoke", "a")
        assert "There is no peer to call." in refused(manage, "b", "sync_peer")
        assert "a (revoked)" in manage("b", "sync_status")
        refused(manage, "b", "sync_peer", "a")
        assert "The key of a was revoked here." in Peer.objects.using(B).get().last_error


def test_forgetting(joined, manage):
    assert "a does not know b any more." in manage("a", "sync_forget", "b")
    refused(manage, "b", "sync_peer")
    assert "a does not know a node 'b'" in Peer.objects.using(B).get().last_error
    assert "There is no peer b." in refused(manage, "a", "sync_forget", "b")


class TestInit:
    def test_restored(self, joined, manage):
        said = manage("a", "sync_init", "--restored")
        assert said.startswith(f"a goes on as {incarnation(A)}. ") and incarnation(A).startswith("a~")
        assert json.loads(manage("a", "sync_init", "--restored", "--json"))["incarnation"] == incarnation(A)
        Country.objects.using(A).create(code="fr", name="France")
        manage("b", "sync_peer")
        assert Stamp.objects.using(B).select_related("node").get().node.name == incarnation(A)

    def test_moved(self, joined, manage):
        LocalNode.objects.using(A).update(place="elsewhere", vouched_by="b")
        assert manage("a", "sync_init", "--moved").startswith("a is at ")
        assert LocalNode.objects.using(A).get().place != "elsewhere"
        assert incarnation(A) == "a"

    def test_new_node(self, joined, manage, settings):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "NODE": "c"}
        assert manage("a", "sync_init", "--new-node").startswith("This copy of a is c now")
        assert incarnation(A) == "c" and not Peer.objects.using(A).exists()

    def test_one_thing_at_a_time(self, joined, manage):
        assert "not allowed with" in refused(manage, "a", "sync_init", "--moved", "--restored")


def test_tombstones_go_when_the_peer_has_them(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer")
    Country.objects.using(A).get().delete(hard=True)
    manage("b", "sync_peer", "--push")
    tick()
    assert manage("a", "sync_gc", "--keep", "0").splitlines() == [
        "b has not acknowledged 1",
        "0 of 1 tombstones dropped",
    ]
    manage("b", "sync_peer")
    manage("b", "sync_peer")
    assert manage("a", "sync_gc").splitlines()[-1] == "0 of 1 tombstones dropped"
    assert manage("a", "sync_gc", "--keep", "0", "--dry-run") == "1 of 1 tombstones would go"
    assert json.loads(manage("a", "sync_gc", "--keep", "0", "--json"))["purged"] == 1
    assert manage("a", "sync_gc", "--keep", "0") == "0 of 0 tombstones dropped"


def test_who_is_late_is_forgotten_if_that_is_asked(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer")
    Country.objects.using(A).get().delete(hard=True)
    manage("b", "sync_peer", "--push")
    tick()
    said = manage("a", "sync_gc", "--keep", "0", "--older-than", "0").splitlines()
    assert said == ["forgotten, to be paired again: b", "1 of 1 tombstones dropped"]
    url, token = manage("a", "sync_invite", "b", "--url", joined.url).split()[-2:]
    manage("b", "sync_join", url, token)
    manage("b", "sync_peer")
    manage("b", "sync_peer")
    assert not Country.objects.using(B).exists()
    assert not Country.objects.using(A).exists()
