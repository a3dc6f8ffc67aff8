"""What sync_verify prints, how it ends, and the same over real HTTP."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from handleref_sync.capture.base import vendor_for
from handleref_sync.management.commands import sync_verify
from handleref_sync.models import LocalNode, Peer
from handleref_sync.replication.conflicts import describe
from tests.nodes.behind import unseen
from tests.testapp.models import Country, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])
A, B = "default", "second"


def ends(node, *arguments):
    """What the command printed, and the sentence with which it failed; None where it did not."""
    out = StringIO()
    try:
        call_command("sync_verify", *arguments, f"--database={node}", stdout=out, stderr=StringIO())
    except CommandError as error:
        assert "\n" not in str(error)
        return out.getvalue(), str(error)
    return out.getvalue(), None


@pytest.fixture
def equal(joined, manage):
    Tag.objects.using(A).bulk_create(Tag(name=f"tag {number:03}") for number in range(300))
    Country.objects.using(A).create(code="fr", name="France")
    manage("b", "sync_peer")
    return joined


def test_nodes_that_have_the_same(equal):
    printed, error = ends(B, "a")
    assert error is None
    assert (
        "testapp.tag: compared 300, equal 300, differing 0, only here 0, only there 0, behind the triggers'"
        in printed
    )
    assert "b and a have the same." in printed and " bytes, " in printed
    assert ends(B) == ("b is in order.\n", None)


def test_what_differs_is_listed_then_mended(equal):
    wrong = Tag.objects.using(B).order_by("name")[:30]
    with unseen(B):
        Tag.objects.using(B).filter(pk__in=[tag.pk for tag in wrong]).update(name="wrong")
        Country.objects.using(B).create(code="de", name="Germany")
    printed, error = ends(B, "a")
    assert error == "b is not as it should be: differences remain."
    assert "testapp.tag: compared 300, equal 270, differing 30," in printed
    assert printed.count("one version with two contents (a:") == 20 and "… and 10 more" in printed
    assert "b: testapp.country, a row without a stamp: primary key" in printed
    assert "To mend it, run manage.py sync_verify a --repair." in printed
    found = json.loads(ends(B, "a", "--json")[0])
    assert len(found["models"]["testapp.tag"]["differences"]) == 30 and not found["clean"]
    assert len(found["unseen"]["testapp.country"]["unstamped"]) == 1
    printed, error = ends(B, "a", "--repair")
    assert error is None and "Mended: 1 noted as written, 30 kept" in printed and "b and a have the same." in printed
    assert (
        Country.objects.using(A).filter(code="de").exists()
        and Tag.objects.using(A).filter(name="wrong").count() == 30
    )
    assert len(describe(A)) == 30
    assert ends(B, "a")[1] is None


def test_a_node_that_others_call_looks_at_itself(equal):
    with unseen(A):
        Tag.objects.using(A).filter(name="tag 007")._raw_delete(A)
        Tag.objects.using(A).create(name="new")
    assert "run it again" not in ends(B, "a")[0] and "--repair on a." in ends(B, "a", "--repair")[0]
    printed, error = ends(A)
    assert error and "run manage.py sync_verify --repair." in printed
    assert "testapp.tag: behind the triggers' back 2" in printed and "a stamp without its row" in printed
    printed, error = ends(A, "--repair")
    assert error is None and "the next sync brings it" in printed
    call_command("sync_peer", "--database=second", stdout=StringIO())
    assert ends(B, "a")[1] is None and Tag.objects.using(B).filter(name="new").exists()


def test_what_is_on_its_way_is_said(equal):
    Tag.objects.using(B).create(name="new")
    Tag.objects.using(B).filter(name="tag 007").update(name="changed")
    printed, error = ends(B, "a")
    assert error is None and "not compared 2 (2 being written)" in printed and "sync and run it again" in printed


def test_whom_it_can_not_compare_with(equal):
    from django.db import connections

    assert "There is no peer nobody" in ends(B, "nobody")[1]
    assert "has no URL" in ends(A, "b")[1]
    Peer.objects.using(A).update(can_pull=False)
    assert "may not pull from here" in ends(B, "a")[1]
    LocalNode.objects.using(B).update(baseline="a")
    assert "has not taken the whole of its baseline" in ends(B, "a")[1]
    LocalNode.objects.using(B).update(baseline="")
    vendor_for(connections[B]).uninstall("testapp_country")
    assert "triggers are missing" in ends(B, "a")[1]


def test_a_repair_keeps_to_what_each_may(equal):
    with unseen(B):
        Tag.objects.using(B).filter(name="tag 007").update(name="wrong")
    Peer.objects.using(B).update(can_push=False)
    assert "its flag can_push is off here" in ends(B, "a", "--repair")[1]
    assert not describe(B)
    assert set(sync_verify.WHY) >= {"due"}
