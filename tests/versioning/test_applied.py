"""What a peer brings is in the history."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import reversion
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from reversion.models import Revision, Version

from handleref_sync import versioning
from handleref_sync.core import hlc
from handleref_sync.models import Capture, Parked, RevisionSource, Stamp
from handleref_sync.replication.applier import apply_page
from handleref_sync.replication.page import from_message
from handleref_sync.replication.stamping import stamp
from handleref_sync.versioning import pages
from tests.nodes.network import ALIASES, Network, parked, sequence, tick
from tests.testapp.models import Airport, Country, Item, Tag
from tests.versioning.history import comments, count, entries, names

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def keep_pages(net, here, there):
    """A transport that keeps the pages which it brings."""
    transport, pages = net.transport(here, there), []
    call = transport.call

    def keeping(action, message):
        answer = call(action, message)
        if action == "pull":
            pages.append(answer)
        return answer

    transport.call = keeping
    return transport, pages


def test_a_change_makes_a_revision_with_node_time_and_peer(net, register):
    register(Country)
    Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    net.ok("c", "b")
    there = Country.objects.using(C).get()
    assert names(there) == [("a", False, "France")]
    revision = Revision.objects.using(C).get()
    written = Stamp.objects.using(A).get(model__label="testapp.country")
    moment = datetime.fromtimestamp(hlc.milliseconds(written.timestamp) / 1000, UTC)
    assert revision.date_created == moment and revision.user is None
    text = f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    assert revision.comment == f"Written by a at {text} UTC, received from b."
    source = RevisionSource.objects.using(C).get()
    assert (source.node, source.dot, source.peer, source.timestamp) == ("a", "a:1", "b", written.timestamp)
    assert count(A) == (0, 0, 0)


def test_receiving_is_no_write(net, register):
    register(Country)
    register(Airport, follow=["country"])
    fr = Country.objects.using(A).create(code="fr", name="France", version=3)
    Airport.objects.using(A).create(country=fr, name="Orly")
    Country.objects.using(A).filter(pk=fr.pk).update(updated=timezone.now() - timedelta(days=3))
    net.ok("b", "a")
    here, there = (Country.objects.using(using).get() for using in (A, B))
    assert (there.version, there.updated) == (3, here.updated)
    assert not Capture.objects.using(B).exists()
    before = [net.rows(name) for name in "ab"], sequence("a"), sequence("b"), count(B)
    assert count(B) == (2, 3, 2)
    report = net.ok("b", "a")
    assert report.pulled == report.pushed == 0
    assert before == ([net.rows(name) for name in "ab"], sequence("a"), sequence("b"), count(B))


def test_a_repeated_delivery_makes_no_second_revision(net, register):
    register(Country)
    fr = Country.objects.using(A).create(code="fr", name="France")
    transport, pages = keep_pages(net, "b", "a")
    assert not net.sync("b", "a", transport=transport).error
    Country.objects.using(A).filter(pk=fr.pk).update(name="x")
    assert not net.sync("b", "a", transport=transport).error
    assert count(B) == (2, 2, 2)
    for message in [*pages, *pages]:
        apply_page(B, net.peer("b", "a"), from_message(message, 1000), whole=False, scope="")
    net.heal([("b", "a"), ("c", "b"), ("c", "a")])
    assert count(B) == (2, 2, 2) and count(C) == (1, 1, 1)


def test_the_queries_do_not_grow_with_the_rows(net, register):
    register(Airport)
    register(Item)
    register(Country)

    def pull(rows):
        fr = Country.objects.using(A).create(code=f"{rows:02}", name="x")
        airports = Airport.objects.using(A).bulk_create([Airport(country=fr, name=str(n)) for n in range(rows)])
        items = Item.objects.using(A).bulk_create([Item(name=f"{rows}-{n}") for n in range(rows)])
        tag = Tag.objects.using(A).create(name="t")
        for item in items:
            item.tags.add(tag)
        stamp(A)
        with CaptureQueriesContext(connections[B]) as queries:
            net.ok("b", "a", push=False)
        assert len(airports) == rows
        return len(queries)

    pull(2)
    assert pull(4) == pull(15)
    assert Revision.objects.using(B).count() == 2 * 21 + 3


def test_nothing_is_asked_where_nothing_is_registered(net, register):
    register(reversion.models.Revision)  # something, but nothing that is replicated
    Country.objects.using(A).create(code="fr", name="France")
    stamp(A)
    with CaptureQueriesContext(connections[B]) as queries:
        net.ok("b", "a", push=False)
    assert not [q for q in queries.captured_queries if re.search(r"reversion|revisionsource", q["sql"])]


def test_it_can_be_reverted_to_and_that_replicates(net, register):
    register(Country)
    fr = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    tick()
    Country.objects.using(A).filter(pk=fr.pk).update(name="République")
    net.ok("b", "a")
    there = Country.objects.using(B).get()
    assert names(there) == [("a", False, "France"), ("a", False, "République")]
    tick()
    with reversion.create_revision(using=B):
        Version.objects.using(B).get_for_object(there, model_db=B).last().revert()
    net.ok("b", "a")
    here = Country.objects.using(A).get()
    assert here.name == "France" and here.node == "b"
    assert names(here) == [("b", False, "France")]
    assert [fields["version"] for _, _, fields in entries(there)] == [0, 0, 1]
    assert here.version == 1


def test_what_is_followed_is_there_so_that_reverting_does_not_delete_it(net, register):
    register(Country, follow=["airport_set"])
    register(Airport, follow=["country"])
    fr = Country.objects.using(A).create(code="fr", name="France")
    for name in ("Orly", "Nice"):
        Airport.objects.using(A).create(country=fr, name=name)
    net.ok("b", "a")
    Country.objects.using(A).update(name="of a")
    tick()
    Country.objects.using(B).update(name="of b")
    net.ok("b", "a")
    there = Country.objects.using(B).get()
    assert names(there)[-1] == ("a", True, "of a")
    for revision in Revision.objects.using(B).order_by("pk"):
        assert revision.version_set.count() == 3
        with reversion.create_revision(using=B):
            revision.revert(delete=True)  # as reversion's own admin does
        assert Country.objects.using(B).count() == 1 and Airport.objects.using(B).count() == 2
    assert Country.objects.using(B).get().name == "of a"


def test_what_is_followed_takes_no_query_a_row(net, register):
    register(Country, follow=["airport_set"])
    register(Airport)

    def pull(rows):
        for n in range(rows):
            fr = Country.objects.using(A).create(code=f"{rows}{n}", name="x")
            Airport.objects.using(A).bulk_create([Airport(country=fr, name=str(n)) for n in range(rows)])
        stamp(A)
        with CaptureQueriesContext(connections[B]) as queries:
            net.ok("b", "a", push=False)
        return len(queries)

    pull(2)
    assert pull(3) == pull(6)


def test_what_cannot_be_followed_is_written_without_a_revision(net, register, monkeypatch, caplog):
    monkeypatch.setattr(Country, "broken", property(lambda self: 1 / 0), raising=False)
    register(Country, follow=["broken"])
    register(Tag)
    Country.objects.using(A).create(code="fr", name="France")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    assert Country.objects.using(B).get().name == "France"
    assert count(B) == (1, 1, 1) and "What testapp.Country follows can't be read" in caplog.text


@pytest.mark.parametrize("options", [{"format": "xml"}, {"fields": ["name"]}, {"use_natural_foreign_keys": True}])
def test_the_options_of_the_registration_count(net, register, options):
    register(Airport, **options)
    fr = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).create(country=fr, name="Orly", extra={"runways": [1, 2]})
    Country.objects.using(B).create(code="de", name="so that primary keys differ")
    net.ok("b", "a")
    there = Airport.objects.using(B).get()
    version = Version.objects.using(B).get_for_object(there, model_db=B).get()
    assert version.format == options.get("format", "json")
    expected = {"name": "Orly"}
    if "fields" not in options:
        expected |= {"country_id": there.country_id, "extra": {"runways": [1, 2]}}
    assert {name: version.field_dict[name] for name in expected} == expected
    Airport.objects.using(B).update(name="x", extra={})
    if "fields" not in options:
        version.revert()
        assert Airport.objects.using(B).get().extra == {"runways": [1, 2]}


def test_duplicates_are_left_out_where_the_model_says_so(net, register):
    register(Tag, ignore_duplicates=True)
    register(Country)
    for model, values in ((Tag, {"name": "t"}), (Country, {"code": "fr", "name": "t"})):
        row = model.objects.using(A).create(**values)
        net.ok("b", "a")
        for name in ("other", "t"):
            model.objects.using(A).filter(pk=row.pk).update(name=name)
        net.ok("b", "a")
        assert Version.objects.using(B).get_for_model(model, model_db=B).count() == (1 if model is Tag else 2)
    tag = Tag.objects.using(A).get()
    Tag.objects.using(A).update(name="other")
    net.ok("b", "a")
    assert names(Tag.objects.using(B).get(pk=tag.pk)) == [("a", False, "t"), ("a", False, "other")]


def test_memberships_belong_to_the_history_of_their_owner(net, register):
    register(Item)
    one, two = (Tag.objects.using(A).create(name=n) for n in ("one", "two"))
    item = Item.objects.using(A).create(name="i")
    item.tags.add(one)
    net.ok("b", "a")
    there = Item.objects.using(B).get()
    assert [fields["tags"] for _, _, fields in entries(there)] == [[one.pk]] or [
        fields["tags"] for _, _, fields in entries(there)
    ] == [[str(one.pk)]]
    item.tags.add(two)
    net.ok("b", "a")
    item.tags.remove(one, two)
    net.ok("b", "a")
    assert [len(fields["tags"]) for _, _, fields in entries(there)] == [1, 2, 0]
    dots = RevisionSource.objects.using(B).values_list("dot", flat=True)
    assert len(set(dots)) == len(dots) == 3


def test_a_membership_that_was_never_here_makes_no_revision(net, register):
    register(Item)
    tag = Tag.objects.using(A).create(name="one")
    item = Item.objects.using(A).create(name="i")
    net.ok("b", "a")
    item.tags.add(tag)
    stamp(A)
    item.tags.remove(tag)
    net.ok("b", "a")
    assert count(B) == (1, 1, 1)


def test_a_deletion_makes_none(net, register):
    register(Country)
    fr = Country.objects.using(A).create(code="fr", name="France")
    net.ok("b", "a")
    fr.delete(hard=True, using=A)
    net.ok("b", "a")
    assert not Country.objects.using(B).exists() and count(B) == (1, 1, 1)
    assert Version.objects.using(B).get_deleted(Country, model_db=B).count() == 1


def test_a_parked_change_has_its_revision_when_it_is_applied(net, register):
    register(Item)
    for using in (A, B):
        Item.objects.using(using).create(name="same")
    net.ok("b", "a")
    assert parked("b") and count(B) == (0, 0, 0)
    assert {p.peer for p in Parked.objects.using(B).all()} == {"a"}
    Item.objects.using(B).update(name="other")
    net.ok("b", "c")  # in whose round the parked change is tried again
    assert not parked("b")
    assert names(Item.objects.using(B).get(name="same")) == [("a", False, "same")]
    assert "received from a." in comments(B)[0]


def test_a_batch_that_is_rolled_back_leaves_none(net, register):
    register(Item)
    Item.objects.using(B).create(name="3")
    for n in range(6):
        Item.objects.using(A).create(name=str(n))
    report = net.ok("b", "a", push=False)
    assert report.parked == 1
    assert count(B) == (5, 5, 5)
    assert sorted(v.field_dict["name"] for v in Version.objects.using(B).all()) == ["0", "1", "2", "4", "5"]


def test_a_row_that_cannot_be_shown_is_written_all_the_same(net, register, monkeypatch, caplog):
    register(Country)
    register(Tag)
    monkeypatch.setattr(Country, "__str__", lambda self: self.name.no_such_thing)

    def fails(instance, options, real=pages.serialize):
        if isinstance(instance, Tag):
            raise TypeError("no")
        return real(instance, options)

    monkeypatch.setattr(pages, "serialize", fails)
    Country.objects.using(A).create(code="fr", name="France")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    assert Tag.objects.using(B).get().name == "t"
    assert Version.objects.using(B).get().object_repr.startswith("country ")
    assert "testapp.Tag can't be serialized" in caplog.text


def test_rows_older_than_the_ledger(net, register):
    register(Tag)
    Tag.objects.using(A).create(name="t")
    stamp(A)
    Stamp.objects.using(A).filter(model__label="testapp.tag").update(timestamp=0)
    before = timezone.now()
    net.ok("b", "a")
    assert comments(B) == ["Written by a at an unknown time, received from a."]
    assert Revision.objects.using(B).get().date_created >= before


def test_naive_times_where_the_project_has_them(net, register, settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    register(Tag)
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    moment = Revision.objects.using(B).get().date_created
    said = datetime.fromisoformat(re.search(r"at (.*) UTC", comments(B)[0])[1])
    assert moment - said == timedelta(hours=9)


def test_sources_go_with_their_revisions(net, register):
    register(Tag)
    for n in range(4):
        Tag.objects.using(A).create(name=str(n))
        net.ok("b", "a")
    ids = list(Revision.objects.using(B).order_by("pk").values_list("pk", flat=True))
    Revision.objects.using(B).filter(pk__in=[ids[0], ids[2]]).delete()
    Tag.objects.using(A).create(name="next")
    net.ok("b", "a")
    left = set(RevisionSource.objects.using(B).values_list("pk", flat=True))
    assert ids[0] not in left and ids[2] in left  # the oldest go at once
    versioning.after_migrate(B)
    left = set(RevisionSource.objects.using(B).values_list("pk", flat=True))
    assert left == set(Revision.objects.using(B).values_list("pk", flat=True))
