"""Stamping gives each committed write its dot, once, in the feed's order."""

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from handleref_sync.capture.base import vendor_for
from handleref_sync.core import hlc
from handleref_sync.models import Capture, LocalNode, Node, Stamp
from handleref_sync.replication.ledger import now_ms
from handleref_sync.replication.stamping import stamp
from tests.testapp.models import Country, Item, Tag


@pytest.fixture
def stamped(node):
    stamp(node)
    return node


def test_a_new_row_gets_a_dot_that_is_its_key(stamped):
    country = Country.objects.create(code="fr", name="France")
    assert country.stamp is None and country.node is None
    assert stamp(stamped) == 1
    found = country.stamp
    assert (country.node, found.counter) == ("a", found.sequence)
    assert found.key == f"a:{found.counter}" and found.clock is None and not found.deleted
    assert Node.objects.get(name="a").vector == LocalNode.objects.get().sequence == found.sequence


def test_a_second_write_takes_a_higher_dot_and_keeps_the_key(stamped):
    country = Country.objects.create(code="fr", name="France")
    stamp(stamped)
    first = country.stamp
    country.save()
    stamp(stamped)
    second = country.stamp
    assert second.counter > first.counter and second.timestamp > first.timestamp and second.key == first.key


def test_stamping_when_nothing_was_written_writes_nothing(stamped):
    before = LocalNode.objects.get().sequence
    assert stamp(stamped) == 0
    assert LocalNode.objects.get().sequence == before


def test_created_and_deleted_before_stamping_disappears(stamped):
    Country.objects.create(code="fr", name="France").delete(hard=True)
    assert stamp(stamped) == 0 and not Stamp.objects.filter(model__label="testapp.country").exists()


def test_a_tombstone_gives_up_its_pk_and_a_row_that_takes_it_is_another_record(stamped):
    country = Country.objects.create(code="fr", name="France")
    stamp(stamped)
    pk, key = country.pk, country.stamp.key
    country.delete(hard=True)
    stamp(stamped)
    other = Country.objects.create(pk=pk, code="de", name="Germany")
    stamp(stamped)
    tombstone = Stamp.objects.get(key=key)
    assert tombstone.deleted and tombstone.pk_text is None
    assert other.stamp.key != key and not other.stamp.deleted


def test_a_row_that_is_there_again_before_anybody_heard_of_its_deletion_is_the_same_record(stamped):
    country = Country.objects.create(code="fr", name="France")
    stamp(stamped)
    pk, before = country.pk, country.stamp
    country.delete(hard=True)
    other = Country.objects.create(pk=pk, code="de", name="Germany")
    assert stamp(stamped) == 1
    assert Stamp.objects.filter(model__label="testapp.country").count() == 1
    assert other.stamp.key == before.key and other.stamp.counter > before.counter


def test_a_record_known_by_its_pk_comes_back_as_itself(stamped):
    tag = Tag.objects.create(name="t")
    stamp(stamped)
    pk = tag.pk
    tag.delete()
    stamp(stamped)
    tombstone = Stamp.objects.get(model__label="testapp.tag")
    assert tombstone.deleted and tombstone.pk_text is not None
    Tag.objects.create(pk=pk, name="again")
    stamp(stamped)
    revived = Stamp.objects.get(model__label="testapp.tag")
    assert not revived.deleted and revived.counter > tombstone.counter


def test_a_membership_is_known_by_its_two_ends(stamped):
    item, tag = Item.objects.create(name="i"), Tag.objects.create(name="t")
    item.tags.add(tag)
    stamp(stamped)
    membership = Stamp.objects.get(model__label="testapp.item_tags")
    assert item.stamp.key in membership.key and (tag.pk.hex in membership.key or str(tag.pk) in membership.key)


def test_a_membership_that_is_removed_and_added_again_is_the_same_record(stamped):
    item, tag = Item.objects.create(name="i"), Tag.objects.create(name="t")
    item.tags.add(tag)
    stamp(stamped)
    first = Stamp.objects.get(model__label="testapp.item_tags")
    item.tags.clear()
    item.tags.add(tag)
    stamp(stamped)
    second = Stamp.objects.get(model__label="testapp.item_tags")
    item.tags.clear()
    stamp(stamped)
    assert Stamp.objects.get(model__label="testapp.item_tags").deleted
    item.tags.add(tag)
    stamp(stamped)
    last = Stamp.objects.get(model__label="testapp.item_tags")
    assert first.key == second.key == last.key and not last.deleted
    assert first.counter < second.counter < last.counter


def test_an_unpublished_timestamp_of_a_wild_clock_is_lowered(stamped):
    country = Country.objects.create(code="fr", name="France")
    Capture.objects.update(timestamp=hlc.pack(4_070_908_800_000))  # the year 2099
    stamp(stamped)
    assert hlc.milliseconds(country.stamp.timestamp) <= now_ms()


def test_a_clock_set_back_does_not_make_a_later_write_older(stamped):
    country = Country.objects.create(code="fr", name="France")
    stamp(stamped)
    before = country.stamp.timestamp
    country.save()
    Capture.objects.update(timestamp=0)
    stamp(stamped)
    assert country.stamp.timestamp == before + 1


def test_since_a_vector_finds_what_it_has_not_incorporated(stamped):
    old = Country.objects.create(code="fr", name="France")
    stamp(stamped)
    vector = dict(Node.objects.values_list("name", "vector"))
    assert list(Country.handleref.since(vector=vector)) == []
    new = Country.objects.create(code="de", name="Germany")
    assert list(Country.handleref.since(vector=vector)) == [new]
    stamp(stamped)
    assert list(Country.handleref.since(vector=vector)) == [new]
    assert set(Country.handleref.since(vector={})) == {old, new}


def test_a_transaction_that_commits_late_is_not_passed_over(stamped):
    """Guarantee G4, on a database where a reader and an open writer can meet."""
    if connection.vendor != "postgresql":
        return
    late = connection.copy(alias="late")
    connections["late"] = late
    try:
        with transaction.atomic(using="late"):
            Country.objects.using("late").create(code="fr", name="late")
            Country.objects.create(code="de", name="early")
            assert stamp(stamped) == 1
            head = LocalNode.objects.get().sequence
        assert stamp(stamped) == 1
        assert Country.objects.get(code="fr").stamp.sequence > head
    finally:
        late.close()
        del connections["late"]


def test_an_application_in_repeatable_read_does_not_collide_with_the_stamper(stamped):
    if connection.vendor != "postgresql":
        return
    country = Country.objects.create(code="fr", name="France")
    late = connection.copy(alias="late")
    connections["late"] = late
    try:
        with vendor_for(late).snapshot():
            assert Country.objects.using("late").get().name == "France"
            assert stamp(stamped) == 1
            Country.objects.using("late").update(name="written in the old snapshot")
        assert stamp(stamped) == 1
        assert country.stamp.counter > 1
    finally:
        late.close()
        del connections["late"]


@pytest.mark.parametrize("model", [Tag, Item], ids=["by the primary key", "by the first dot"])
def test_rows_are_stamped_by_the_thousand_not_one_by_one(node, model):
    def statements(count):
        model.objects.bulk_create([model(name=f"{count} {number}") for number in range(count)])
        with CaptureQueriesContext(connection) as queries:
            assert stamp("default") == count
        return len(queries)

    assert statements(2000) <= statements(20) + 4  # SQLite and MariaDB insert and look up in a few portions
