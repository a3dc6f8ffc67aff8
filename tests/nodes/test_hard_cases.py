"""Cases in which something is in the way: each ends in the right state, or is held and shown, and nothing stops."""

from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.core import hlc
from handleref_sync.exceptions import ConfigurationError, NotPermitted
from handleref_sync.models import Conflict, LocalNode, Parked, Peer, Stamp
from handleref_sync.replication import feed
from handleref_sync.replication.applier import retry_parked
from handleref_sync.replication.conflicts import restore
from handleref_sync.replication.ledger import now_ms
from handleref_sync.replication.stamping import stamp
from handleref_sync.signals import changes_applied
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def silently(using, sql):
    """A write that no trigger sees."""
    with transaction.atomic(using=using), vendor_for(connections[using]).applying():
        connections[using].cursor().execute(sql)


def test_unique_values_that_change_places_arrive(net):
    for name in "xy":
        Item.objects.using(A).create(name=name)
    net.ok("b", "a")
    with transaction.atomic(using=A):
        Item.objects.using(A).filter(name="x").update(name="-")
        Item.objects.using(A).filter(name="y").update(name="x")
        Item.objects.using(A).filter(name="-").update(name="y")
    report = net.ok("b", "a")
    assert report.parked == 0 and report.settled
    assert net.rows("a") == net.rows("b")


def test_a_node_that_is_only_called_retries_what_it_parked(net):
    for using in (A, B):
        Item.objects.using(using).create(name="same")
    net.ok("b", "a")
    assert parked("a") and parked("b")
    Item.objects.using(A).filter(name="same").update(name="renamed at the hub")
    net.ok("b", "a")
    report = net.ok("b", "a")
    assert parked("a") == parked("b") == [] and report.settled
    assert net.rows("a") == net.rows("b")


def test_the_report_says_that_the_other_side_is_unsettled(net):
    Item.objects.using(A).create(name="same")
    Item.objects.using(B).create(name="same")
    net.ok("b", "a")
    assert "a is unsettled, with 1 parked" in net.ok("b", "a").notes


def test_a_tombstone_is_not_held_back_by_a_row_that_came_and_went(net, monkeypatch):
    tag = Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    pk = tag.pk
    tag.delete(using=A)
    real = feed.stamp

    def late(using):
        done = real(using)
        if using == A:
            monkeypatch.undo()
            Tag.objects.using(A).create(pk=pk, name="again")
            Tag.objects.using(A).filter(pk=pk).delete()
        return done

    monkeypatch.setattr(feed, "stamp", late)
    net.ok("b", "a")
    net.ok("b", "a")
    assert not Tag.objects.using(B).exists()


def test_a_membership_whose_end_is_changed_is_another_record(net):
    item = Item.objects.using(A).create(name="i")
    one, two = (Tag.objects.using(A).create(name=n) for n in ("one", "two"))
    item.tags.add(one)
    net.ok("b", "a")
    Item.tags.through.objects.using(A).filter(tag=one).update(tag=two)
    net.ok("b", "a")
    item.tags.add(one)
    net.ok("b", "a")
    assert {t.name for t in Item.objects.using(B).get().tags.all()} == {"one", "two"}
    item.tags.remove(two)
    net.ok("b", "a")
    assert {t.name for t in Item.objects.using(B).get().tags.all()} == {"one"}
    assert net.rows("a") == net.rows("b")


def test_a_child_waits_for_its_parent_and_comes_with_it(net, settings):
    country = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).create(country=country, name="Orly")
    stamp(A)
    ahead = (now_ms() + 3_600_000) << hlc.LOGICAL_BITS
    Stamp.objects.using(A).filter(model__label="testapp.country").update(timestamp=ahead)
    report = net.ok("b", "a")
    assert report.parked == 2
    assert {p[2] for p in parked("b")} == {"clock-ahead", "parent-missing"}
    # Parked changes are fed on: who gets them can wait, or write them, as it sees fit.
    assert net.ok("c", "b").parked == 2
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MAX_CLOCK_SKEW": 7200.0}
    outcome = retry_parked(B, "a")
    assert outcome.applied == 2 and not parked("b")
    net.ok("c", "b")
    assert not parked("c")
    assert net.rows("a") == net.rows("b") == net.rows("c")


def test_a_parent_that_is_gone_without_a_trace_does_not_stop_the_page(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    silently(B, "DELETE FROM testapp_country")
    Airport.objects.using(A).create(country=country, name="Orly")
    Tag.objects.using(A).create(name="t")
    report = net.ok("b", "a")
    assert report.parked == 1 and Tag.objects.using(B).exists()
    assert parked("b")[0][2] in ("parent-missing", "parent-deleted")


def test_a_change_without_a_field_that_cannot_be_empty_is_held_and_the_rest_goes_on(net, monkeypatch):
    country = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).create(country=country, name="Orly")
    transport = net.transport("b", "a")
    inner = transport.call

    def newer(action, message):
        answer = inner(action, message)
        for model in answer.get("models", []) if action == "pull" else []:
            if isinstance(model, list) and model[0] == "testapp.airport":
                model[1] = ["land" if name == "country" else name for name in model[1]]
        return answer

    transport.call = newer
    report = net.sync("b", "a", transport=transport)
    assert not report.error and report.parked == 1 and Country.objects.using(B).exists()
    assert "nothing of country" in Parked.objects.using(B).get().detail


@contextmanager
def countries_named(using, condition):
    """The database of one node takes only countries of which this is true."""
    on_sqlite = connections[using].vendor == "sqlite"
    with connections[using].cursor() as cursor:
        if on_sqlite:
            cursor.execute(
                "CREATE TRIGGER named BEFORE INSERT ON testapp_country WHEN NOT (NEW." + condition + ") "
                "BEGIN SELECT RAISE(ABORT, 'named'); END"
            )
        else:
            cursor.execute(f"ALTER TABLE testapp_country ADD CONSTRAINT named CHECK ({condition})")
    try:
        yield
    finally:
        with connections[using].cursor() as cursor:
            cursor.execute("DROP TRIGGER named" if on_sqlite else "ALTER TABLE testapp_country DROP CONSTRAINT named")


def test_what_a_constraint_of_the_table_refuses_is_no_collision(net):
    Country.objects.using(A).create(code="fr", name="France")
    Country.objects.using(A).create(code="xx", name="Nowhere")
    with countries_named(B, "name <> 'Nowhere'"):
        assert net.ok("b", "a").parked == 1
        parked = Parked.objects.using(B).get()
        assert (parked.reason, "named" in parked.detail) == (Parked.Reason.INVALID, True)
    net.ok("b", "a")
    assert not Parked.objects.using(B).exists() and Country.objects.using(B).count() == 2


def test_a_restored_node_takes_a_new_incarnation_and_gets_its_writes_back(net):
    Country.objects.using(A).create(code="fr", name="before the backup")
    net.ok("b", "a")
    sequence, peer = LocalNode.objects.using(A).get().sequence, net.peer("a", "b")
    Tag.objects.using(A).create(name="after the backup")
    net.ok("b", "a")
    # The backup knows nothing of the tag; the number goes back with it.
    silently(A, "DELETE FROM testapp_tag")
    Stamp.objects.using(A).filter(model__label="testapp.tag").delete()
    LocalNode.objects.using(A).update(sequence=sequence)
    peer.save(using=A)
    from handleref_sync.models import Node

    Node.objects.using(A).filter(name="a").update(vector=sequence, seen=sequence)
    Country.objects.using(A).update(name="written after the restore")
    report = net.ok("b", "a")
    incarnation = LocalNode.objects.using(A).get().incarnation.name
    assert incarnation.startswith("a~")
    report = net.ok("a", "b")
    assert Tag.objects.using(A).get().name == "after the backup" and not report.conflicts
    assert Country.objects.using(B).get().name == "written after the restore"
    net.ok("b", "a")
    assert net.rows("a") == net.rows("b")


def test_flags_bind_both_sides(net):
    Tag.objects.using(A).create(name="of a")
    Tag.objects.using(B).create(name="of b")
    Peer.objects.using(B).filter(name="a").update(can_push=False, can_pull=False)
    report = net.ok("b", "a")
    assert (report.pulled, report.pushed, len(report.notes)) == (0, 0, 2)
    Peer.objects.using(B).filter(name="a").update(can_push=True, can_pull=True)
    Peer.objects.using(A).filter(name="b").update(can_push=False)
    report = net.ok("b", "a")
    assert (
        report.pulled == 1 and "mirror" in report.notes[0] and not Tag.objects.using(A).filter(name="of b").exists()
    )
    assert net.sync("b", "a", pull=False).reason == NotPermitted.reason
    Peer.objects.using(A).filter(name="b").update(can_push=True, can_pull=False)
    assert net.sync("b", "a").reason == NotPermitted.reason


def test_a_peer_without_the_relay_flag_brings_only_its_own_writes(net):
    Tag.objects.using(C).create(name="of c")
    Tag.objects.using(B).create(name="of b")
    net.ok("b", "c")
    Peer.objects.using(A).filter(name="b").update(relay=False)
    net.ok("a", "b")
    assert [t.name for t in Tag.objects.using(A).all()] == ["of b"]
    net.ok("a", "c")
    assert Tag.objects.using(A).count() == 2


def test_a_model_that_the_other_side_lacks_is_said_and_stays(net, monkeypatch):
    Tag.objects.using(A).create(name="t")
    Country.objects.using(A).create(code="fr", name="France")
    from dataclasses import replace

    from handleref_sync.replication import responder

    real = responder.hello
    lacks = lambda using, peer: replace(real(using, peer), models=real(using, peer).models - {"testapp.tag"})  # noqa: E731
    monkeypatch.setattr(responder, "hello", lacks)
    report = net.ok("b", "a")
    assert report.notes == ("a does not replicate testapp.tag",)
    assert Country.objects.using(B).exists() and not Tag.objects.using(B).exists()
    monkeypatch.undo()
    net.ok("b", "a")
    assert Tag.objects.using(B).exists()


def test_a_loser_that_cannot_be_restored_says_why(net):
    item = Item.objects.using(A).create(name="mine")
    net.ok("b", "a")
    item.name = "lost"
    item.save()
    tick()
    Item.objects.using(B).update(name="won")
    net.ok("b", "a")
    Item.objects.using(A).create(name="lost")
    with pytest.raises(ConfigurationError, match="can't be written back"):
        restore(A, Conflict.objects.using(A).get().id)
    assert not Conflict.objects.using(A).get().restored


def test_two_people_who_restore_and_dismiss_at_once_both_have_their_way(net):
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    Country.objects.using(A).update(name="x")
    tick()
    Country.objects.using(B).update(name="y")
    net.ok("b", "a")
    Conflict.objects.using(A).update(restored=True)
    Conflict.objects.using(B).update(dismissed=True)
    for _ in range(3):
        net.ok("b", "a")
        net.ok("c", "a")
    for using in (A, B, C):
        entry = Conflict.objects.using(using).get()
        assert entry.restored and entry.dismissed
    assert net.rows("a") == net.rows("b") == net.rows("c")


def test_who_listens_hears_of_each_page_and_model(net):
    heard = []

    def listen(sender, keys, node, using, **kwargs):
        heard.append((sender, len(keys), node, using))

    changes_applied.connect(listen)
    try:
        Country.objects.using(A).bulk_create([Country(code=c, name=c) for c in ("fr", "de")])
        net.ok("b", "a")
    finally:
        changes_applied.disconnect(listen)
    assert heard == [(Country, 2, "a", B)]


def test_what_came_in_part_is_passed_on(net):
    """A vector is a lower bound of what a node holds: covering it is not enough to have all."""
    Tag.objects.using(A).create(name="of a")
    Peer.objects.using(B).filter(name="a").update(relay=False)  # not a whole exchange: no vectors merge
    net.ok("b", "a")
    assert Tag.objects.using(B).exists()
    net.ok("c", "b")
    assert Tag.objects.using(C).exists()


def test_numbers_of_json_are_the_same_whoever_stores_them(net):
    from handleref_sync.replication.values import json_text

    assert json_text({"b": 1e16, "a": -0.0}, None) == json_text({"a": 0.0, "b": 10**16}, None)
    assert json_text(1.5e300, None) == json_text(15 * 10**299, None)
    assert json_text([1.5, 1e-7, "1e+16 in text"], None) == '[1.5,1e-07,"1e+16 in text"]'


def test_the_clock_of_a_parked_change_grows_as_others_unite_it(net):
    Item.objects.using(A).create(name="same")
    Item.objects.using(B).create(name="same")
    net.ok("b", "a")
    before = Parked.objects.using(B).get()
    from handleref_sync.core.version_vector import VersionVector
    from handleref_sync.replication import parking
    from handleref_sync.replication.ledger import locked
    from handleref_sync.replication.plan import Held
    from handleref_sync.replication.versions import change_of

    with locked(B) as ledger:
        change = change_of(ledger, before)
        grown = change.version.clock.unite(VersionVector({"c": 7}))
        wider = change._replace(version=change.version._replace(clock=grown))
        assert not parking.park(ledger, [Held(wider, parking.Reason.UNIQUE)], lambda dot: "a")
    after = Parked.objects.using(B).get()
    assert after.clock == str(grown) and after.sequence > before.sequence


def test_no_row_is_taken_out_where_the_database_would_take_others_with_it(net):
    vendor = vendor_for(connections[A])
    if connections[A].vendor == "mysql":
        return  # where nothing cascades while a page is applied
    assert vendor.deletes_alone("testapp_item") and vendor.deletes_alone("testapp_country")
    with connections[A].cursor() as cursor:
        cursor.execute("CREATE TABLE by_hand (item bigint REFERENCES testapp_item (id) ON DELETE CASCADE)")
        try:
            assert not vendor.deletes_alone("testapp_item")
        finally:
            cursor.execute("DROP TABLE by_hand")


def test_a_row_that_the_application_holds_waits_and_the_rest_goes_on(net):
    if connections[B].vendor == "sqlite":
        return
    country = Country.objects.using(A).create(code="fr", name="old")
    Country.objects.using(A).create(code="de", name="free")
    net.ok("b", "a")
    country.name = "new"
    country.save()
    Tag.objects.using(A).create(name="t")
    holder = connections[B].copy(alias="holder")
    connections["holder"] = holder
    try:
        with transaction.atomic(using="holder"):
            Country.objects.using("holder").select_for_update().get(code="fr")
            report = net.ok("b", "a")
            assert report.parked == 1 and Tag.objects.using(B).exists()
            assert parked("b")[0][2] == "locked"
    finally:
        holder.close()
        del connections["holder"]
    net.ok("b", "a")
    assert Country.objects.using(B).get(code="fr").name == "new" and not parked("b")
