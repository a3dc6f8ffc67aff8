"""Rows that were changed behind the triggers' back: found, and mended with nothing lost."""

import pytest

from handleref_sync.exceptions import PeerUnreachable, SyncError
from handleref_sync.replication.conflicts import describe, restore
from handleref_sync.verify import check
from tests.nodes.behind import AIRPORT, TAG, airport, alike, compare, forget, kinds, mended, pk_text, unseen
from tests.nodes.network import ALIASES
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return alike()


@pytest.mark.parametrize("where", [A, B])
def test_a_row_that_was_changed_behind_the_triggers_back(net, where):
    with unseen(where):
        Airport.objects.using(where).filter(name="airport 1").update(elevation=99)
    report = compare(net)
    assert kinds(report) == [(AIRPORT, "content")] and not report.unseen
    found = report.models[AIRPORT]
    assert (found.compared, found.equal) == (3, 2)
    elsewhere = B if where == A else A
    lost = airport(elsewhere if where == B else where).elevation
    report = mended(net)
    assert report.kept == 1 and airport(A).elevation == airport(B).elevation == (99 if where == B else 1)
    (entry,) = describe(A)
    assert entry["values"]["elevation"] == lost
    restore(A, entry["id"])
    net.heal([("b", "a")])
    assert airport(B).elevation == lost


def test_both_sides_repair_at_a_time(net):
    with unseen(A):
        Airport.objects.using(A).filter(name="airport 1").update(elevation=99)
    transport = net.transport("b", "a")
    inner = transport.call

    def call(action, message):
        if action == "records":
            transport.call = inner
            compare(net, "a", "b", repair=True)
        return inner(action, message)

    transport.call = call
    compare(net, transport=transport, repair=True)
    mended(net)
    seen = {airport(A).elevation} | {entry["values"]["elevation"] for entry in describe(A, everything=True)}
    assert seen == {1, 99}


@pytest.mark.parametrize("model", [Airport, Tag])
def test_a_row_that_was_deleted_behind_the_triggers_back(net, model):
    row = model._base_manager.using(B).exclude(name="red").order_by("name").first()
    with unseen(B):
        model._base_manager.using(B).filter(pk=row.pk)._raw_delete(B)
    report = compare(net)
    assert report.unseen[model._meta.label_lower].vanished == [pk_text(B, row)] and not report.differences
    assert mended(net).noted == {model._meta.label_lower: 1}
    assert not model._base_manager.using(A).filter(name=row.name).exists()


def test_rows_that_were_made_behind_the_triggers_back(net):
    with unseen(B):
        Airport.objects.using(B).create(country=Country.objects.using(B).get(), name="new")
        Tag.objects.using(B).create(name="new")
    report = compare(net)
    assert {label: len(found.unstamped) for label, found in report.unseen.items()} == {AIRPORT: 1, TAG: 1}
    mended(net)
    assert Airport.objects.using(A).filter(name="new").exists() and Tag.objects.using(A).filter(name="new").exists()


def test_a_row_that_a_tombstone_speaks_of(net):
    tag = Tag.objects.using(B).get(name="blue")
    pk = tag.pk
    tag.delete()
    net.heal([("b", "a")])
    with unseen(B):
        Tag.objects.using(B).create(pk=pk, name="blue again")
    report = compare(net)
    assert len(report.unseen[TAG].undead) == 1 and not report.unseen[TAG].unstamped
    mended(net)
    assert Tag.objects.using(A).get(pk=pk).name == "blue again"


def test_what_happened_behind_the_back_of_the_other_side_is_said(net):
    with unseen(A):
        Tag.objects.using(A).create(name="new")
        Tag.objects.using(A).filter(name="blue")._raw_delete(A)
    for repair in (False, True):
        report = compare(net, repair=repair)
        assert report.unseen_there == {TAG: [1, 1, 0]} and not report.clean and not report.differences
        assert report.models[TAG].not_compared == {"vanished": 1} and report.models[TAG].equal == 1
    assert check(A).unseen[TAG].unstamped and check(A, repair=True).clean
    mended(net)
    assert sorted(Tag.objects.using(B).values_list("name", flat=True)) == ["new", "red"]


@pytest.mark.parametrize("where", [A, B])
def test_a_membership_that_was_made_behind_the_triggers_back(net, where):
    item, tag = Item.objects.using(where).get(), Tag.objects.using(where).get(name="blue")
    with unseen(where):
        Item.tags.through.objects.using(where).create(item=item, tag=tag)
    report = compare(net)
    assert list(report.unseen or report.unseen_there) == ["testapp.item_tags"]
    mended(net, *("ba" if where == B else "ab"))
    assert Item.objects.using(A if where == B else B).get().tags.count() == 2


@pytest.mark.parametrize("calls", range(1, 11))
def test_a_repair_that_is_broken_off_loses_nothing(net, calls):
    with unseen(A):
        Airport.objects.using(A).filter(name="airport 0").update(elevation=70)
    with unseen(B):
        Airport.objects.using(B).filter(name="airport 1").update(elevation=80)
        Tag.objects.using(B).create(name="new")
    forget(A, airport(A, 2))
    transport = net.transport("b", "a")
    inner, left = transport.call, calls

    def cut(action, message):
        nonlocal left
        left -= 1
        if left < 0:
            raise PeerUnreachable("cut")
        return inner(action, message)

    transport.call = cut
    with pytest.raises(SyncError):
        compare(net, transport=transport, repair=True)
    net.heal([("b", "a")])  # whatever is done in between
    mended(net)
    assert {airport(A, n).elevation for n in (0, 1, 2)} | {
        entry["values"]["elevation"] for entry in describe(A, everything=True)
    } == {0, 70, 1, 80, 2}
    assert Tag.objects.using(A).filter(name="new").exists()
