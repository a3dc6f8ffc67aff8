"""A revision counts up the version of what is in it."""

import gc
import json
import threading
import weakref
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import reversion
from django.db import connections, models
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps
from reversion.models import Revision, Version
from reversion.signals import post_revision_commit

from handleref_sync.models import HandleRefModel, RevisionSource, handle_version
from handleref_sync.versioning import bump, connect
from tests.nodes.network import ALIASES
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))


def save(instance, using=None, **options):
    with reversion.create_revision(**options):
        instance.save(using=using)


def country(code="fr", **values):
    return Country(code=code, name=code, **values)


def number(instance):
    return (
        type(instance)._base_manager.using(instance._state.db).values_list("version", flat=True).get(pk=instance.pk)
    )


def snapshots(instance, using="default"):
    found = Version.objects.using(using).get_for_object(instance, model_db=instance._state.db).order_by("pk")
    return [v.field_dict["version"] for v in found]


def test_once_for_each_revision_and_object_whatever_was_saved_in_it(register):
    register(Country)
    fr, de = country("fr"), country("de")
    with reversion.create_revision():
        fr.save()
        fr.save()
        de.save()
    assert number(fr) == number(de) == 1
    assert fr.version == de.version == 1
    save(fr)
    assert (number(fr), fr.version, number(de)) == (2, 2, 1)
    assert snapshots(fr) == [1, 2] and snapshots(de) == [1]


def test_one_increment_for_a_model_and_not_one_for_a_row(register):
    register(Country)
    rows = [country(f"{n:02}") for n in range(60)]

    def queries(some):
        with CaptureQueriesContext(connections["default"]) as captured, reversion.create_revision(atomic=False):
            for row in some:
                row.save()
            captured_before = len(captured)
        return [q["sql"] for q in captured.captured_queries[captured_before:]]

    queries(rows)
    few, many = queries(rows[:5]), queries(rows)
    table = connections["default"].ops.quote_name("testapp_country")
    assert [len([q for q in some if "UPDATE" in q and table in q]) for some in (few, many)] == [1, 1]
    assert {number(row) for row in rows[:5]} == {3} and {number(row) for row in rows[5:]} == {2}
    assert len(few) == len(many)


def test_stale_instances_never_set_the_number_back(register):
    register(Country)
    fr = country()
    save(fr)
    stale = [Country.objects.get() for _ in range(4)]
    assert [(save(row), number(row), row.version)[1:] for row in stale] == [(n, n) for n in (2, 3, 4, 5)]
    assert snapshots(fr) == [1, 2, 3, 4, 5]


def test_writers_at_the_same_time_each_get_a_number_of_their_own(register):
    if connections["default"].vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    register(Country)
    fr = country()
    save(fr)
    stale = [Country.objects.get() for _ in range(4)]
    start, errors = threading.Barrier(len(stale)), []

    def write(row):
        try:
            start.wait()
            for _ in range(5):
                save(row)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(row,)) for row in stale]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert number(fr) == 21 and sorted(snapshots(fr)) == list(range(1, 22))


def test_a_loser_in_the_history_does_not_count(register):
    register(Country)
    fr = country()
    save(fr)
    save(fr)
    newest = Revision.objects.latest("pk")
    version = newest.version_set.get()
    version.serialized_data = version.serialized_data.replace('"version": 2', '"version": 40')
    version.save()
    RevisionSource.objects.create(revision_id=newest.pk, node="b", dot="b:1", timestamp=1, peer="b", lost=True)
    save(fr)
    assert number(fr) == 3


def test_only_the_number_is_written(register):
    register(Country)
    fr = country()
    save(fr)
    sent = []

    def count(instance, **kwargs):
        sent.append(instance)

    post_save.connect(count, sender=Country)
    try:
        with reversion.create_revision():
            fr.save()
            # What another process, or another query, writes after the save is not the revision's to undo.
            Country.objects.filter(pk=fr.pk).update(name="changed since")
            updated = Country.objects.get().updated
    finally:
        post_save.disconnect(count, sender=Country)
    row = Country.objects.get()
    assert (row.name, row.version, row.updated) == ("changed since", 2, updated)
    assert sent == [fr]


def test_others_and_deleted_rows_are_passed_over(register):
    register(Tag)
    register(Country)
    with reversion.create_revision():
        Tag.objects.create(name="t")
        gone, kept = country("xx"), country("yy")
        gone.save()
        kept.save()
        gone.delete(hard=True)
    assert number(kept) == 1 and Country.objects.count() == 1
    handle_version(revision=Revision.objects.get(), versions=[])


def test_the_number_goes_to_the_database_that_has_the_row(register):
    register(Country)
    for using in ("default", "second"):
        Country.objects.using(using).bulk_create([Country(pk=7, code="fr", name="fr")])
    there = Country.objects.using("second").get()
    save(there, using="second")  # its history is in the default database
    assert (number(there), there.version) == (1, 1)
    assert Country.objects.using("default").get().version == 0
    with reversion.create_revision(using="second"):
        there.save(using="second")
    assert (number(there), there.version) == (2, 2)
    assert snapshots(there) == [1] and snapshots(there, "second") == [2]
    with reversion.create_revision(using="default"):
        there.save(using="second")
        with reversion.create_revision(using="second"):
            Country(code="de", name="de").save(using="second")
    assert (number(there), there.version) == (3, 3)


@pytest.mark.parametrize("form", ["json", "jsonl", "xml"])
def test_the_snapshot_holds_the_number_in_every_format(register, form):
    register(Item, format=form)
    tag = Tag.objects.create(name="t")
    with reversion.create_revision():
        item = Item.objects.create(name="ü")
        item.tags.add(tag)
    with reversion.create_revision():
        item.save()
    assert snapshots(item) == [1, 2]
    newest = Version.objects.get_for_object(item).first()
    assert newest.field_dict["tags"] == [str(tag.pk)] or newest.field_dict["tags"] == [tag.pk]
    assert newest.field_dict["name"] == "ü"


def test_snapshots_without_the_number_stay_as_they_are(register):
    register(Country, fields=["name"])
    fr = country()
    save(fr)
    save(fr)
    assert number(fr) == 2
    assert json.loads(Version.objects.first().serialized_data)[0]["fields"] == {"name": "fr"}


def test_another_object_id_than_the_primary_key(register):
    register(Country, object_id_field="code")
    fr = country()
    save(fr)
    save(Country.objects.get())
    save(fr)
    assert (number(fr), fr.version) == (3, 3)


def test_parent_and_child_of_one_row_have_one_number(transactional_db, register):
    with isolate_apps("tests.testapp"):

        class Place(HandleRefModel):
            name = models.CharField(max_length=10)

            class Meta:
                app_label = "testapp"

        class Port(Place):
            depth = models.IntegerField(default=0)

            class Meta:
                app_label = "testapp"

        with connections["default"].schema_editor() as editor:
            editor.create_model(Place)
            editor.create_model(Port)
        try:
            register(Place)
            register(Port, follow=["place_ptr"])
            port = Port.objects.create(name="Brest")
            # As reversion has them, but for the content type, which knows nothing of these two classes.
            versions = [
                SimpleNamespace(
                    _model=model,
                    object_id=str(port.pk),
                    db="default",
                    content_type_id=0,
                    format="json",
                    serialized_data="[]",
                    _local_field_dict={},
                )
                for model in (Place, Port)
            ]
            handle_version(revision=Revision.objects.create(date_created=datetime.now(UTC)), versions=versions)
            assert Place.objects.get().version == 1
        finally:
            with connections["default"].schema_editor() as editor:
                editor.delete_model(Port)
                editor.delete_model(Place)


def test_instances_are_remembered_weakly_and_only_in_a_revision(register):
    register(Country)
    fr = country()
    with reversion.create_revision():
        fr.save()
        assert len(bump._saved.get()) == 1
    assert not bump._saved.get()
    with pytest.raises(ZeroDivisionError), reversion.create_revision():
        fr.save()
        raise ZeroDivisionError
    gone = weakref.ref(fr)
    del fr
    gc.collect()
    assert gone() is None and not bump._saved.get()
    kept = Country.objects.get()
    with pytest.raises(ZeroDivisionError), reversion.create_revision():
        kept.save()
        raise ZeroDivisionError
    kept.save()  # outside of any revision
    assert not bump._saved.get()


def test_an_instance_of_another_thread_is_not_touched(register):
    register(Country)
    seen = []
    fr = country()

    def other():
        seen.append(bump._saved.get())

    with reversion.create_revision():
        fr.save()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [None]


def test_it_is_connected_once():
    before = len(post_revision_commit.receivers)
    connect()
    assert len(post_revision_commit.receivers) == before
    assert handle_version is bump.handle_version


def test_a_row_that_was_added_without_a_save(register):
    register(Airport, follow=["country"])
    register(Country)
    fr = country()
    fr.save()
    with reversion.create_revision():
        orly = Airport.objects.create(country=fr, name="Orly")
    assert (orly.version, number(orly), number(fr)) == (1, 1, 1)
