"""What an operator types, and what comes back."""

import json
import re
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.models import Conflict, Invite, LocalNode, Node, Parked, Peer
from handleref_sync.registry import replicated
from tests.nodes.network import tick
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])
A, B = "default", "second"


def refused(manage, *arguments):
    """The one sentence with which a command ends."""
    with pytest.raises(CommandError) as caught:
        manage(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence and "Traceback" not in sentence
    return sentence


def test_pairing_then_syncing(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    Country.objects.using(B).create(code="de", name="Germany")
    line = manage("b", "sync_peer", "a")
    assert line.startswith("a: pulled 1, pushed 1, conflicts 0, parked 0, ") and line.endswith(" s")
    assert Country.objects.using(A).count() == Country.objects.using(B).count() == 2
    assert manage("b", "sync_peer").startswith("a: pulled 0, pushed 0")


def test_one_way(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    Country.objects.using(B).create(code="de", name="Germany")
    assert "pulled 0, pushed 1" in manage("b", "sync_peer", "--push")
    assert "pulled 1, pushed 0" in manage("b", "sync_peer", "--pull")


def test_a_dry_run_and_json(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    assert manage("b", "sync_peer", "--dry-run") == "a: would pull about 1 and push about 0"
    (report,) = json.loads(manage("b", "sync_peer", "--json"))
    assert report["pulled"] == 1 and report["error"] == "" and report["settled"] and report["bytes"] > 0


def test_a_peer_that_cannot_be_reached_is_one_sentence_and_the_others_go_on(joined, manage):
    Peer.objects.using(B).create(name="0-down", url="http://127.0.0.1:9/sync", public_key=b"x" * 32)
    Country.objects.using(A).create(code="fr", name="France")
    assert "1 of 2 failed: 0-down" in refused(manage, "b", "sync_peer")
    assert Country.objects.using(B).exists()
    down = Peer.objects.using(B).get(name="0-down")
    assert "cannot be reached" in down.last_error and down.last_success is None


def test_an_unknown_or_passive_peer(joined, manage):
    assert "There is no peer nobody" in refused(manage, "b", "sync_peer", "nobody")
    assert "has no URL" in refused(manage, "a", "sync_peer", "b")
    said = refused(manage, "a", "sync_peer")
    assert "There is no peer to call: b has no URL, and calls this node. Run sync_peer there instead." in said
    Peer.objects.using(A).all().delete()
    assert "There is no peer to call. Pair with one" in refused(manage, "a", "sync_peer")


def test_two_runs_at_a_time_and_a_lease_of_the_dead(joined, manage):
    import os
    import socket

    later = timezone.now() + timedelta(minutes=5)
    Peer.objects.using(B).update(lease=f"{socket.gethostname()}:{os.getpid()}:x", lease_until=later)
    assert "1 of 1 failed" in refused(manage, "b", "sync_peer")
    Peer.objects.using(B).update(lease="elsewhere:1:x", lease_until=later)
    assert "1 of 1 failed" in refused(manage, "b", "sync_peer")
    Peer.objects.using(B).update(lease=f"{socket.gethostname()}:999999999:x", lease_until=later)
    assert "pulled" in manage("b", "sync_peer")


def test_missing_triggers_stop_a_sync_until_migrate_puts_them_back(joined, manage):
    vendor_for(connections[B]).uninstall("testapp_country")
    assert "testapp.country" in refused(manage, "b", "sync_peer")
    assert "NOT CAPTURED: testapp.country" in manage("b", "sync_status")
    install.install(B, node="b")
    assert "pulled" in manage("b", "sync_peer")


def test_uninstalling_leaves_an_application_that_works(joined, manage):
    printed = manage("b", "sync_uninstall")
    assert "testapp.country" in printed
    Country.objects.using(B).create(code="fr", name="France")
    assert not vendor_for(connections[B]).installed(replicated(B)["testapp.country"], ["code", "name"])


def test_invitations_that_cannot_be(nodes, site, manage):
    assert "not a node ID" in refused(manage, "a", "sync_invite", "No Good")
    assert "has no URL" in refused(manage, "a", "sync_invite", "b")
    assert "'a.example/sync/' is not a URL" in refused(manage, "a", "sync_invite", "b", "--url", "a.example/sync/")
    for ttl in ("-5", "0"):
        assert f"can't live for {ttl} seconds" in refused(manage, "a", "sync_invite", "b", f"--ttl={ttl}")
    assert not Invite.objects.using(A).exists()
    url, token = manage("a", "sync_invite", "b", "--url", site.url).split()[-2:]
    assert refused(manage, "b", "sync_join", url, "rubbish")
    Invite.objects.using(A).update(expires=timezone.now() - timedelta(seconds=1))
    assert "expired" in refused(manage, "b", "sync_join", url, token)
    url, token = manage("a", "sync_invite", "c", "--url", site.url).split()[-2:]
    assert refused(manage, "b", "sync_join", url, token)
    assert not Peer.objects.using(B).exists()


def test_an_invitation_says_how_long_it_lives_and_whom_it_replaces(joined):
    def said(*arguments):
        error = StringIO()
        call_command("sync_invite", *arguments, "--url", joined.url, stdout=StringIO(), stderr=error)
        return error.getvalue()

    assert "on c within 1 day; " in said("c") and "already" not in said("c")
    assert "b is paired already: whoever joins with this token takes its place" in said("b", "--ttl", "120")
    assert "within 2 minutes" in said("b", "--ttl", "120") and "within 90 seconds" in said("b", "--ttl", "90")


def test_what_cannot_be_joined(nodes, site, manage):
    url, token = manage("a", "sync_invite", "b", "--url", site.url).split()[-2:]
    assert refused(manage, "b", "sync_join", token, url).startswith("URL and token have changed places.")
    bare = url.removeprefix("http://")
    assert f"'{bare}' is not a URL" in refused(manage, "b", "sync_join", bare, token)
    down = refused(manage, "b", "sync_join", "http://127.0.0.1:9/sync/", token)
    assert down.startswith("The other node cannot be reached at") and down.endswith("then run sync_join again.")


def test_a_peer_whose_url_is_none(joined, manage):
    Peer.objects.using(B).update(url=joined.url.removeprefix("http://"))
    assert "1 of 1 failed" in refused(manage, "b", "sync_peer")
    assert "that is not a URL of http or https. Set the URL of a to" in Peer.objects.using(B).get().last_error


def test_status(joined, manage):
    assert "(passive)" in manage("a", "sync_status")
    Country.objects.using(B).create(code="fr", name="France")
    found = json.loads(manage("b", "sync_status", "--json"))
    assert found["node"] == "b" and found["dirty"] == 1 and found["settled"]
    (peer,) = found["peers"]
    assert peer["name"] == "a" and peer["to_push"] == 1 and peer["last_success"] is None
    manage("b", "sync_peer")
    (peer,) = json.loads(manage("b", "sync_status", "--json"))["peers"]
    assert peer["to_push"] == peer["to_pull"] == 0 and peer["last_success"] and not peer["last_error"]
    (peer,) = json.loads(manage("a", "sync_status", "--json"))["peers"]
    assert peer["to_pull"] == peer["to_push"] == 0 and peer["last_success"]


def test_status_without_peers_and_with_parked_changes(nodes, site, manage):
    assert "no peers yet" in manage("a", "sync_status")
    url, token = manage("a", "sync_invite", "b", "--url", site.url).split()[-2:]
    manage("b", "sync_join", url, token)
    for using in (A, B):
        Item.objects.using(using).create(name="same")
    line = manage("b", "sync_peer")
    assert "parked 1, unsettled" in line
    assert "UNSETTLED (1 collides with a unique value of another record)" in manage("b", "sync_status")
    assert Parked.objects.using(B).get().detail


def test_what_waits_is_listed_with_the_reason_in_words_and_tried_again(joined, manage, settings):
    Item.objects.using(A).create(name="one")
    Item.objects.using(B).create(name="one")
    manage("b", "sync_peer", "a")
    listed = manage("b", "sync_parked")
    assert "collides with a unique value of another record" in listed and listed.endswith("1 parked")
    assert "content written on a at " in listed and " from a" in listed and "set on_unique" in listed
    mine = Item.objects.using(B).get()
    assert f"    name='one' is taken by the testapp.item with primary key {mine.pk} (b:" in listed
    (entry,) = json.loads(manage("b", "sync_parked", "--json"))
    (clash,) = entry["collides_with"]
    assert (clash["values"], clash["pk"]) == ({"name": "one"}, str(mine.pk)) and clash["key"] != entry["key"]
    assert (entry["model"], entry["reason"], entry["peer"]) == ("testapp.item", "unique", "a")
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PARKED_ALERT": 0.001}
    assert "1 parked for too long" in manage("b", "sync_status")
    assert json.loads(manage("b", "sync_status", "--json"))["parked_overdue"] == 1
    assert manage("b", "sync_parked", "--retry").startswith("written or settled: 0, conflicts: 0")
    Item.objects.using(B).update(name="two")
    assert manage("b", "sync_parked", "--retry") == "written or settled: 1, conflicts: 0\n0 parked"
    assert json.loads(manage("b", "sync_parked", "--retry", "--json")) == []


def test_what_waits_without_a_peer_or_a_detail(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer", "a")
    parked = {"model": "nowhere.at_all", "key": "1", "counter": 1, "clock": "a:1", "timestamp": 1 << 16}
    node = Node.objects.using(B).get(name="b")
    Parked.objects.using(B).create(node=node, reason=Parked.Reason.UNKNOWN_MODEL, sequence=10**9, **parked)
    listed = manage("b", "sync_parked", "--retry")
    assert "deletion written on b at 1970-01-01T00:00:00.001+00:00, here since" in listed and " from " not in listed


def test_conflicts_are_listed_and_restored(joined, manage):
    country = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).create(country=country, name="Orly")
    manage("b", "sync_peer")
    assert manage("b", "sync_conflicts") == "0 conflicts"
    Country.objects.using(A).update(name="of a")
    Airport.objects.using(A).all().delete()
    tick()
    Country.objects.using(B).update(name="of b")
    Airport.objects.using(B).update(name="edited")
    assert "conflicts 2" in manage("b", "sync_peer")
    printed = manage("a", "sync_conflicts")
    assert "name: 'of a' lost against 'of b'" in printed and "lost: written on a" in printed
    assert "deletion" in printed and printed.endswith("2 conflicts")
    assert "updated" not in printed and "version" not in printed and "datetime" not in printed
    found = json.loads(manage("b", "sync_conflicts", "--json"))
    assert {entry["lost"] for entry in found} == {"deletion", "content"}
    entry = next(entry for entry in found if entry["lost"] == "content")
    assert "Restored testapp.country" in manage("b", "sync_conflicts", "--restore", entry["id"][:10])
    manage("b", "sync_peer")
    assert Country.objects.using(A).get().name == "of a"
    assert Conflict.objects.using(A).filter(restored=True).count() == 1
    assert "(restored)" in manage("a", "sync_conflicts", "--all")
    assert manage("a", "sync_conflicts").endswith("1 conflict")
    assert "No conflict" in refused(manage, "a", "sync_conflicts", "--restore", "zz")
    assert "No conflict" in refused(manage, "a", "sync_conflicts", "--restore", "")
    assert "is restored already" in refused(manage, "a", "sync_conflicts", "--restore", entry["id"])


def test_a_conflict_that_a_deletion_won_shows_what_was_lost(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer")
    Country.objects.using(A).update(name="of a")
    tick()
    Country.objects.using(B).all().delete()
    manage("b", "sync_peer")
    for node in "ab":
        printed = manage(node, "sync_conflicts")
        assert re.search(r"won:  written on b at [^ ]+: deletion\n", printed)
        assert "      name: 'of a'\n" in printed and re.search(r"      updated: \d{4}-\d\d-\d\dT", printed)
    (entry,) = json.loads(manage("a", "sync_conflicts", "--json"))
    assert (entry["won"], entry["lost"]) == ("deletion", "content")


def test_bookkeeping_is_shown_where_nothing_else_differs(joined, manage):
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer")
    for using in (A, B):
        Country.objects.using(using).get().save()
        tick()
    manage("b", "sync_peer")
    line = r"updated: \d{4}-\d\d-\d\dT\S+ lost against \d{4}-\d\d-\d\dT\S+\n"
    assert re.search(line, manage("a", "sync_conflicts"))


def test_a_database_that_is_no_node(transactional_db):
    from handleref_sync.models import LocalNode

    LocalNode.objects.using(A).all().delete()
    with pytest.raises(CommandError, match=r"is not a node yet"):
        call_command("sync_status")


def test_init_stamps_what_is_there(joined, manage):
    Country.objects.using(B).create(code="fr", name="France")
    assert manage("b", "sync_init") == "1 record stamped"
    assert manage("b", "sync_init") == "0 records stamped"
    assert json.loads(manage("b", "sync_init", "--json")) == {"stamped": 0}


def test_init_takes_a_baseline_from_a_peer(joined, manage):
    for using in (A, B):
        Tag.objects.using(using).create(pk=UUID(int=1), name="red")
    Item.objects.using(A).create(name="only at a")
    assert manage("b", "sync_init", "--baseline", "a").splitlines() == [
        "testapp.tag: 1 the same, 0 differ",
        "a: fetched 1, conflicts 0, parked 0. Now run: python manage.py sync_peer a",
    ]
    assert manage("b", "sync_peer").startswith("a: pulled 0, pushed 0")
    assert Item.objects.using(B).exists()
    assert "There is no peer x" in refused(manage, "b", "sync_init", "--baseline", "x")
    assert "before the first sync_peer" in refused(manage, "b", "sync_init", "--baseline", "a")


def test_init_says_what_a_baseline_came_to_as_json(joined, manage):
    assert json.loads(manage("b", "sync_init", "--baseline", "a", "--json")) == {
        "peer": "a",
        "same": {},
        "differ": {},
        "fetched": 0,
        "conflicts": 0,
        "parked": 0,
    }


def test_nothing_else_begins_before_the_baseline_is_whole(joined, manage):
    LocalNode.objects.using(B).update(baseline="a")
    assert "sync_init --baseline a on b" in refused(manage, "b", "sync_init")
    assert "1 of 1 failed" in refused(manage, "b", "sync_peer")
    assert "has not taken the whole of its baseline" in Peer.objects.using(B).get().last_error
    assert "BASELINE of a not taken to its end" in manage("b", "sync_status")
