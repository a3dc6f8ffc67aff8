"""One dot, two contents: after a copy, or a restore without a new incarnation; and where it only looks so."""

import json
import logging

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from handleref_sync.core.change import Change, Mark, Record, Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models import Conflict, Node, Parked, Peer, Stamp
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.conflicts import describe
from handleref_sync.replication.content import Content
from handleref_sync.replication.joining import joined
from handleref_sync.replication.ledger import Ledger, locked
from handleref_sync.replication.page import Page
from handleref_sync.replication.versions import change_of
from handleref_sync.status import status
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.nodes.test_hard_cases import silently
from tests.resolverapp.models import Report
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def from_the_beginning():
    """b asks a for all that there is, as if it had none of it."""
    Peer.objects.using(A).update(given=[])
    Peer.objects.using(B).update(pull_sequence=0)
    Node.objects.using(B).update(vector=0)


def test_it_waits_and_is_shown_and_the_rest_goes_on(caplog, capsys):
    net = Network("ab")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    silently(A, "UPDATE testapp_tag SET name = 'a copy of the node wrote this'")
    from_the_beginning()
    Tag.objects.using(A).create(name="innocent")
    with caplog.at_level(logging.ERROR, "handleref_sync.replication"):
        report = net.ok("b", "a")
        assert not report.settled
        net.ok("b", "a")
    assert sorted(Tag.objects.using(B).values_list("name", flat=True)) == ["innocent", "t"]
    (waiting,) = Parked.objects.using(B).all()
    assert waiting.reason == Parked.Reason.INVALID and waiting.detail.startswith("one dot, two contents: name ")
    assert len([r for r in caplog.records if "one dot, two contents" in r.getMessage()]) == 1
    assert status(B)["dots_reused"] == 1 and not status(B)["settled"]
    call_command("sync_status", database=B)
    assert "1 parked with two contents under one dot" in capsys.readouterr().out
    call_command("sync_parked", "--json", database=B)
    assert "copied or restored" in json.loads(capsys.readouterr().out)[0]["advice"]


def test_writing_it_anew_settles_it():
    net = Network("ab", [Tag])
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    silently(A, "UPDATE testapp_tag SET name = 'a copy of the node wrote this'")
    from_the_beginning()
    net.ok("b", "a")
    Tag.objects.using(B).update(name="right")
    net.ok("b", "a")
    assert Tag.objects.using(A).get().name == "right"
    assert net.ok("b", "a").settled and net.rows("a") == net.rows("b")
    assert [lost["values"]["name"] for lost in describe(A)] == ["a copy of the node wrote this"]


def test_it_stays_while_what_is_known_here_comes_with_a_greater_clock():
    net = Network("abc", [Tag])
    row = Tag.objects.using(A).create(name="t")
    net.everywhere()
    silently(A, "UPDATE testapp_tag SET name = 'a copy of the node wrote this'")
    from_the_beginning()
    net.ok("b", "a")
    with locked(B) as ledger:
        known = change_of(ledger, Parked.objects.using(B).get())._replace(values=("t",))
    greater = known.version._replace(clock=known.version.clock.with_dot(Dot("c", 7)))
    page = Page([known._replace(version=greater)], (0, ""), True, True, VersionVector())
    apply_page(B, net.peer("b", "c"), page, whole=False, scope="")
    assert parked("b") == [("testapp.tag", str(row.pk), "invalid")]
    silently(A, "UPDATE testapp_tag SET name = 't'")
    silently(B, "UPDATE testapp_tag SET name = 'a copy of the node wrote this'")
    assert net.ok("b", "c").settled and not Conflict.objects.using(B).exists()  # made equal by hand: over


def test_a_deletion_and_a_row_under_one_dot():
    net = Network("ab")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    silently(A, "DELETE FROM testapp_tag")
    Stamp.objects.using(A).filter(model__label="testapp.tag").update(deleted=True)
    Tag.objects.using(A).create(name="innocent")
    from_the_beginning()
    net.ok("b", "a")
    assert Tag.objects.using(B).count() == 2 and Parked.objects.using(B).get().data is None
    assert Parked.objects.using(B).get().detail.startswith("one dot, two contents: it is not deleted here")


def test_one_field_with_two_values_of_one_write_waits_and_the_rest_goes_on():
    net = Network("ab")
    Report.objects.using(A).create(title="first", body="text")
    net.ok("b", "a")
    silently(A, "UPDATE resolverapp_report SET title = 'a copy of the node wrote this'")
    Report.objects.using(A).update(body="new")
    Tag.objects.using(A).create(name="innocent")
    net.ok("b", "a")
    assert Tag.objects.using(B).exists() and Report.objects.using(B).get().body == "text"
    assert Parked.objects.using(B).get().detail.startswith("one dot, two contents: title ")


def test_a_group_that_was_renamed_here_makes_no_second_content_of_a_membership():
    """Groups are not replicated, and memberships name them by their natural key."""
    net = Network("abc")
    for using in (A, B, C):
        Group.objects.using(using).create(name="editors")
    user = User.objects.using(A).create(username="u")
    net.ok("b", "a")
    net.ok("c", "a")
    tick()
    User.objects.using(C).get().groups.add(Group.objects.using(C).get())
    tick()
    user.groups.add(Group.objects.using(A).get())
    net.ok("b", "a")
    Group.objects.using(B).update(name="staff")
    net.ok("c", "a")  # made alike on a and c: their clocks unite, and a's dot stays
    Tag.objects.using(A).create(name="innocent")
    net.ok("b", "a")
    assert Tag.objects.using(B).exists() and not parked("b")
    assert User.objects.using(B).get().groups.get().name == "staff"
    assert not Conflict.objects.using(B).exists()


def test_joining_by_fields_leaves_such_a_reference_as_it_is_here():
    Network("ab")
    ledger = Ledger(A)
    content = Content(ledger, ledger.models["auth.user_groups"])
    record, old = Record("auth.user_groups", "k"), Mark(5, Dot("a", 1))
    version = Version(old.dot, VersionVector.of(old.dot), old.timestamp)
    mine = Change(record, version, ("user", "group"), ("u", ["staff"]))
    newer = Version(Dot("b", 7), VersionVector({"a": 1, "b": 7}), 9)
    incoming = Change(record, newer, ("user",), ("v",), {"group": (old, ["editors"])})
    after = joined(content, mine, incoming).change
    assert after.version == newer
    assert after.content == {"user": (Mark(9, newer.dot), "v"), "group": (old, ["staff"])}
