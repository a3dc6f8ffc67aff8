"""Two nodes: what one writes, the other has."""

from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import connections

from handleref_sync.exceptions import PeerUnreachable
from handleref_sync.models import Conflict, Node, Peer
from handleref_sync.replication import feed
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.conflicts import restore
from handleref_sync.replication.page import from_message
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, parked, sequence, tick
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B = ALIASES["a"], ALIASES["b"]


@pytest.fixture
def net():
    return Network("ab")


def test_rows_with_foreign_keys_arrive_under_their_own_local_ids(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    taken = 0
    while taken <= country.pk:  # so that the next id differs
        other = Country.objects.using(B).create(code="xx", name="xx")
        taken = other.pk
        other.delete(hard=True, using=B)
    Airport.objects.using(A).create(country=country, name="Orly", elevation=89, extra={"b": 1, "a": [None, 1.5]})
    report = net.ok("b", "a")
    assert report.pulled == 2 and report.pushed == 0 and not report.parked
    airport = Airport.objects.using(B).get()
    assert airport.country.code == "fr" and airport.extra == {"b": 1, "a": [None, 1.5]}
    assert airport.country_id != country.pk
    assert net.rows("a") == net.rows("b")


def test_a_second_round_moves_nothing_in_one_round_trip(net):
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    before = sequence("a"), sequence("b")
    calls = []
    transport = net.transport("b", "a")
    inner = transport.call
    transport.call = lambda action, message: (calls.append(action), inner(action, message))[1]
    report = net.ok("b", "a", transport=transport)
    assert calls == ["hello"] and report.pulled == report.pushed == 0
    assert (sequence("a"), sequence("b")) == before


def test_both_directions_in_one_round(net):
    Country.objects.using(A).create(code="fr", name="France")
    User.objects.using(B).create(username="anna")
    report = net.ok("b", "a")
    assert (report.pulled, report.pushed) == (1, 1)
    assert User.objects.using(A).get().username == "anna"


def test_memberships_travel(net):
    item = Item.objects.using(A).create(name="i")
    tags = [Tag.objects.using(A).create(name=n) for n in "xyz"]
    item.tags.set(tags)
    net.ok("b", "a")
    there = Item.objects.using(B).get()
    assert {t.name for t in there.tags.all()} == set("xyz")
    there.tags.remove(Tag.objects.using(B).get(name="x"))
    item.tags.remove(tags[1])
    net.ok("b", "a")
    assert {t.name for t in item.tags.all()} == {t.name for t in there.tags.all()} == {"z"}
    assert net.rows("a") == net.rows("b")


def test_the_same_record_on_both_sides_the_later_wins_and_the_loser_is_logged(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    country.name = "first"
    country.save()
    tick()
    Country.objects.using(B).update(name="second")
    report = net.ok("b", "a")
    assert report.conflicts == 1
    assert Country.objects.using(A).get().name == Country.objects.using(B).get().name == "second"
    assert net.rows("a") == net.rows("b")
    for using in (A, B):
        assert Conflict.objects.using(using).get().node == "a"
    restore(A, Conflict.objects.using(A).get().id)
    net.ok("b", "a")
    assert Country.objects.using(A).get().name == Country.objects.using(B).get().name == "first"
    assert Conflict.objects.using(B).get().restored
    assert net.rows("a") == net.rows("b")


def test_equal_writes_are_no_conflict(net):
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    for using in (A, B):
        Country.objects.using(using).update(name="same")
    assert net.ok("b", "a").conflicts == 0
    net.ok("b", "a")
    assert net.rows("a") == net.rows("b")


def test_a_hard_deletion_travels_and_a_restored_loser_of_one_comes_back(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    Country.objects.using(B).update(name="edited")
    tick()
    country.delete(hard=True)
    net.ok("b", "a")
    assert not Country.objects.using(A).exists() and not Country.objects.using(B).exists()
    restore(B, Conflict.objects.using(B).get().id)
    net.ok("b", "a")
    assert Country.objects.using(A).get().name == "edited"
    assert net.rows("a") == net.rows("b")


def test_a_deletion_that_loses_is_in_the_log(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    country.delete(hard=True)
    tick()
    Country.objects.using(B).update(name="later")
    net.ok("b", "a")
    assert Country.objects.using(A).get().name == "later"
    entry = Conflict.objects.using(A).get()
    assert entry.data is None
    assert net.rows("a") == net.rows("b")
    restore(A, entry.id)
    net.ok("b", "a")
    assert not Country.objects.using(B).exists()


def test_a_soft_deletion_is_an_ordinary_write(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).create(country=country, name="Orly")
    net.ok("b", "a")
    country.delete()
    net.ok("b", "a")
    assert Country.objects.using(B).get().status == Airport.objects.using(B).get().status == "deleted"


def test_a_cascade_travels_in_an_order_that_holds(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    for n in range(5):
        Airport.objects.using(A).create(country=country, name=str(n))
    net.ok("b", "a")
    country.delete(hard=True)
    net.ok("b", "a")
    assert not Airport.objects.using(B).exists() and not Country.objects.using(B).exists() and not parked("b")


def test_pages_are_small_and_an_interrupted_round_goes_on(net, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 3}
    country = Country.objects.using(A).create(code="fr", name="France")
    for n in range(10):
        Airport.objects.using(A).create(country=country, name=str(n))
    transport = net.transport("b", "a")
    inner, calls = transport.call, []

    def cut(action, message):
        calls.append(action)
        if len(calls) == 4:
            raise PeerUnreachable("a does not answer.", hint="Try later.")
        return inner(action, message)

    transport.call = cut
    report = net.sync("b", "a", transport=transport)
    assert report.reason == "unreachable" and report.pulled == 6
    assert net.ok("b", "a").pulled == 5
    assert net.rows("a") == net.rows("b")


@pytest.mark.parametrize("lost", [2, 3, 4])
def test_an_answer_that_is_lost_costs_no_more_than_itself(net, settings, lost):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 3}
    for n in range(11):
        Country.objects.using(A).create(code=str(n), name=str(n))
    transport = net.transport("b", "a")
    inner, calls = transport.call, []

    def cut(action, message):
        calls.append(action)
        answer = inner(action, message)
        if len(calls) == lost:  # it was given, and nobody got it
            raise PeerUnreachable("The connection broke.", hint="Try later.")
        return answer

    transport.call = cut
    done = net.sync("b", "a", transport=transport).pulled
    assert done == 3 * (lost - 2)
    transport, sent = net.transport("b", "a"), []
    inner = transport.call
    transport.call = lambda action, message: (
        answer := inner(action, message),
        sent.extend(from_message(answer, 9).changes if "rows" in answer else ()),
    )[0]
    assert net.sync("b", "a", transport=transport).pulled == len(sent) == 11 - done
    assert net.rows("a") == net.rows("b")


def test_a_reader_that_dies_again_and_again_goes_on_from_its_place(net, settings, monkeypatch):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 3}
    for n in range(20):
        Country.objects.using(A).create(code=str(n), name=str(n))
    pages = [2, 0, 0, 0, 0, 1, 0, 0, 0, 99]  # that are applied before it dies
    for number, applied in enumerate(pages):
        Country.objects.using(A).create(code=f"x{number}", name="another one, so that pages end elsewhere")
        transport, sent, left = net.transport("b", "a"), [], iter(range(applied))
        inner = transport.call

        def begin(action, message, inner=inner, sent=sent):  # as over HTTP: the next one comes before this is applied
            answer = inner(action, message)
            sent.append(answer)
            return lambda: answer

        def apply(*args, left=left, **options):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return apply_page(*args, **options)

        transport.begin = begin
        monkeypatch.setattr("handleref_sync.session.apply_page", apply)
        stood = net.peer("b", "a").pull_sequence
        with suppress(KeyboardInterrupt):
            net.sync("b", "a", transport=transport)
        assert sent[0]["cursor"][0] > stood and len(sent[0]["rows"]) <= 3
        assert [row for row in sent[0]["rows"] if row[3] <= stood] == [], "what was applied is not sent again"
    assert net.rows("a") == net.rows("b")


def test_a_cursor_that_was_never_given_counts_as_none(net):
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    peer = net.peer("b", "a")
    Country.objects.using(A).create(code="de", name="Germany")
    for _ in range(2):  # to name it once does not make it known
        Peer.objects.using(B).filter(pk=peer.pk).update(pull_sequence=99, pull_token="invented")
        Node.objects.using(B).filter(name="a").update(vector=0)
        transport, sent = net.transport("b", "a"), []
        inner = transport.call
        transport.call = lambda action, message, inner=inner, sent=sent: (
            answer := inner(action, message),
            sent.extend(from_message(answer, 9).changes if "rows" in answer else ()),
        )[0]
        net.sync("b", "a", transport=transport)
        assert len(sent) == 2
    assert net.rows("a") == net.rows("b")


def test_a_pushed_page_whose_answer_was_lost_is_not_applied_twice(net):
    Country.objects.using(B).create(code="fr", name="France")
    transport = net.transport("b", "a")
    inner = transport.call
    transport.call = lambda action, message: (inner(action, message), inner(action, message))[1]
    assert not net.sync("b", "a", transport=transport).error
    assert Country.objects.using(A).count() == 1
    assert net.rows("a") == net.rows("b")


def test_a_dry_run_says_what_would_move_and_moves_nothing(net):
    Country.objects.using(A).create(code="fr", name="France")
    Country.objects.using(B).create(code="de", name="Germany")
    report = net.ok("b", "a", dry_run=True)
    assert (report.to_pull, report.to_push, report.pulled, report.pushed) == (1, 1, 0, 0)
    assert Country.objects.using(B).count() == 1


def test_a_unique_collision_is_parked_shown_and_resolved_by_a_rename(net):
    Item.objects.using(A).create(name="same")
    Item.objects.using(B).create(name="same")
    Item.objects.using(A).create(name="other")
    report = net.ok("b", "a")
    assert report.parked == 1 and not report.settled
    assert parked("b")[0][2] == "unique" == parked("a")[0][2]
    assert Item.objects.using(B).filter(name="other").exists()
    Item.objects.using(B).filter(name="same").update(name="renamed")
    for _ in range(2):
        report = net.ok("b", "a")
    assert report.settled and parked("a") == parked("b") == []
    assert net.rows("a") == net.rows("b")


def test_a_write_between_stamping_and_reading_is_left_for_its_own_stamp(net, monkeypatch):
    country = Country.objects.using(A).create(code="fr", name="old")
    real = feed.stamp

    def late(using):
        done = real(using)
        if using == A and Country.objects.using(A).filter(name="old").exists():
            Country.objects.using(A).update(name="new")
        return done

    monkeypatch.setattr(feed, "stamp", late)
    net.ok("b", "a")
    monkeypatch.undo()
    net.ok("b", "a")
    assert Country.objects.using(B).get().name == "new"
    stamp(A)
    assert net.rows("a") == net.rows("b") and country.pk


def test_a_row_that_vanished_without_a_trigger_becomes_a_deletion(net):
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    with connections[A].cursor() as cursor:
        from django.db import transaction

        from handleref_sync.capture.base import vendor_for

        Country.objects.using(A).update(name="x")
        stamp(A)
        with transaction.atomic(using=A), vendor_for(connections[A]).applying():
            cursor.execute("DELETE FROM testapp_country")
    net.ok("b", "a")
    net.ok("b", "a")
    assert not Country.objects.using(B).exists()
    assert net.rows("a") == net.rows("b")


def test_a_last_page_that_begins_at_the_end_of_the_feed_says_that_all_is_there(net, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1}
    for number in range(feed.SCAN_PAGES - 1):
        Tag.objects.using(A).create(name=str(number))
    net.ok("b", "a")
    Tag.objects.using(B).create(name="last")  # the one before the last page ends with it, and knows of no end
    transport, heads = net.transport("b", "a"), []
    inner = transport.call
    transport.call = lambda action, message: (heads.append(message.get("head")), inner(action, message))[1]
    assert net.sync("b", "a", transport=transport).pushed == 1
    assert heads[-2:] == [False, True]
    assert Node.objects.using(A).get(name="b").vector == feed.SCAN_PAGES
    assert net.ok("b", "a").pushed == 0
