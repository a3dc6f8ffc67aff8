"""Every way to write is captured, whoever writes (guarantee G3); a write that changes nothing is not."""

import json
import time

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, transaction

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.models import Capture, Node
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.replaced import looked_up
from handleref_sync.replication.stamping import stamp
from tests.refapp.models import Account, Label
from tests.testapp.models import Airport, Country, Item, Tag


@pytest.fixture
def taken(node):
    """What has been captured since the last call: a list of (label, op, pk)."""
    labels = {m.id: label for label, m in registry.replicated("default").items()}
    vendor = vendor_for(connection)

    def take():
        # What SQLite notes of rows that a statement might have replaced, and did not, comes to nothing.
        notes = looked_up(Ledger("default"), vendor.take_captures(10_000))
        return [(labels[c.model], c.op, c.pk) for c in notes]

    take()
    return take


@pytest.fixture
def country(taken):
    country = Country.objects.create(code="fr", name="France")
    assert taken() == [("testapp.country", "I", str(country.pk))]
    return country


def ops(captured):
    return sorted((label.rpartition(".")[2], op) for label, op, _ in captured)


def test_save(country, taken):
    country.name = "FRANCE"
    country.save()
    assert ops(taken()) == [("country", "U")]


def test_queryset_update_and_nothing_changed(country, taken):
    Country.objects.update(name="Frankreich")
    assert ops(taken()) == [("country", "U")]
    Country.objects.update(name="Frankreich")
    assert taken() == []


def test_letter_case_is_a_change(country, taken):
    Country.objects.update(name="france")
    assert ops(taken()) == [("country", "U")]


def test_bulk_create(country, taken):
    Airport.objects.bulk_create(Airport(country=country, name=f"a{i}") for i in range(5))
    assert ops(taken()) == [("airport", "I")] * 5


def test_bulk_create_that_ignores_conflicts(country, taken):
    new = [Country(code="fr", name="other"), Country(code="de", name="Germany")]
    Country.objects.bulk_create(new, ignore_conflicts=True)
    assert ops(taken()) == [("country", "I")]


def test_bulk_create_that_updates_conflicts(country, taken):
    new = [Country(code="fr", name="other"), Country(code="de", name="Germany")]
    unique = None if connection.vendor == "mysql" else ["code"]
    Country.objects.bulk_create(new, update_conflicts=True, unique_fields=unique, update_fields=["name"])
    assert ops(taken()) == [("country", "I"), ("country", "U")]


def test_bulk_update(country, taken):
    country.name = "x"
    Country.objects.bulk_update([country], ["name"])
    assert ops(taken()) == [("country", "U")]


def test_deletes_and_cascades(country, taken):
    Airport.objects.create(country=country, name="a")
    country.delete()
    taken()
    country.delete(hard=True)
    assert ops(taken()) == [("airport", "D"), ("country", "D")]


def test_soft_delete_cascades_as_updates(country, taken):
    Airport.objects.create(country=country, name="a")
    taken()
    country.delete()
    assert ops(taken()) == [("airport", "U"), ("country", "U")]


def test_many_to_many(taken):
    item, one, two = Item.objects.create(name="i"), Tag.objects.create(name="1"), Tag.objects.create(name="2")
    taken()
    item.tags.add(one, two)
    assert ops(taken()) == [("item_tags", "I")] * 2
    item.tags.remove(one)
    assert ops(taken()) == [("item_tags", "D")]
    item.tags.set([one])
    assert ops(taken()) == [("item_tags", "D"), ("item_tags", "I")]
    item.tags.clear()
    assert ops(taken()) == [("item_tags", "D")]


def test_loaddata(tmp_path, taken):
    fixture = tmp_path / "f.json"
    fixture.write_text(
        json.dumps(
            [
                {
                    "model": "testapp.country",
                    "pk": 7,
                    "fields": {
                        "code": "it",
                        "name": "Italy",
                        "status": "ok",
                        "version": 1,
                        "created": "2020-01-01T00:00:00Z",
                        "updated": "2020-01-01T00:00:00Z",
                    },
                }
            ]
        )
    )
    call_command("loaddata", str(fixture), verbosity=0)
    assert taken() == [("testapp.country", "I", "7")]


def test_raw_sql_and_a_change_of_primary_keys(country, taken):
    Country.objects.create(pk=country.pk + 1, code="de", name="Germany")
    taken()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_country SET name = upper(name)")
    assert ops(taken()) == [("country", "U")] * 2
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_country SET id = id + 10 WHERE code = 'fr'")
    assert sorted(taken()) == [
        ("testapp.country", "D", str(country.pk)),
        ("testapp.country", "I", str(country.pk + 10)),
    ]


def test_an_excluded_field_is_not_a_write(taken):
    user = User.objects.create(username="ann")
    taken()
    User.objects.update(last_login="2026-01-01T00:00:00Z")
    assert taken() == []
    user.first_name = "Ann"
    user.save()
    assert ops(taken()) == [("user", "U")]


def test_json_is_compared_by_its_text(country, taken):
    Airport.objects.create(country=country, name="a", extra={"k": 1})
    taken()
    Airport.objects.update(extra={"k": 2})
    assert ops(taken()) == [("airport", "U")]


def test_a_rolled_back_write_leaves_nothing(country, taken):
    with pytest.raises(RuntimeError), transaction.atomic():
        Country.objects.update(name="x")
        raise RuntimeError("roll back")
    assert taken() == []


def test_the_applier_is_not_captured_and_capture_comes_back(country, taken):
    vendor = vendor_for(connection)
    with transaction.atomic():
        with vendor.applying():
            Country.objects.update(name="x")
        Country.objects.update(name="y")
    assert ops(taken()) == [("country", "U")]


def test_timestamps_are_the_wall_clock(country):
    before = time.time() * 1000
    Country.objects.update(name="x")
    stamped = Capture.objects.get().timestamp >> 16
    assert before - 50 <= stamped <= time.time() * 1000 + 50


def test_sqlite_conflict_clauses_do_not_reach_the_triggers(country, taken):
    if connection.vendor != "sqlite":
        return
    columns = "id, status, created, updated, version, code, name"
    row = f"{country.pk}, '', '2020-01-01', '2020-01-01', 0, 'fr'"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT OR REPLACE INTO testapp_country ({columns}) VALUES ({row}, 'new')")
        cursor.execute(f"INSERT OR IGNORE INTO testapp_country ({columns}) VALUES ({row}, 'newer')")
    assert taken() == [("testapp.country", "I", str(country.pk))]


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


@pytest.fixture
def only_sqlite():
    if connection.vendor != "sqlite":
        pytest.skip("elsewhere REPLACE is a deletion that triggers see, or there is none")


def test_rows_that_replace_takes_out(only_sqlite, taken):
    one, two = (Label.objects.create(name=name) for name in "xy")
    taken()
    execute("INSERT OR REPLACE INTO refapp_label (id, name) VALUES (%s, 'x')", two.pk)
    assert taken() == [("refapp.label", "D", str(one.pk)), ("refapp.label", "I", str(two.pk))]
    execute("REPLACE INTO refapp_label (name) VALUES ('x')")
    three = Label.objects.get()
    assert taken() == [("refapp.label", "D", str(two.pk)), ("refapp.label", "I", str(three.pk))]
    four = Label.objects.create(name="z")
    taken()
    execute("UPDATE OR REPLACE refapp_label SET name = 'x' WHERE id = %s", four.pk)
    assert taken() == [("refapp.label", "D", str(three.pk)), ("refapp.label", "U", str(four.pk))]


def test_rows_that_are_spared(only_sqlite, taken):
    one = Label.objects.create(name="x")
    taken()
    execute("INSERT OR IGNORE INTO refapp_label (name) VALUES ('x')")
    execute("UPDATE OR IGNORE refapp_label SET name = 'x'")
    with pytest.raises(IntegrityError):
        Label.objects.create(name="x")
    assert taken() == []
    stamp("default")
    execute("INSERT INTO refapp_label (name) VALUES ('x') ON CONFLICT (name) DO UPDATE SET name = 'y'")
    assert taken() == [("refapp.label", "U", str(one.pk))]


def test_rows_that_are_spared_are_not_shown_as_written(only_sqlite, country, taken):
    stamp("default")
    vector = dict(Node.objects.values_list("name", "vector"))
    Country.objects.bulk_create([Country(code="fr")], ignore_conflicts=True)
    assert Capture.objects.filter(pk_text=country.pk).exists()
    assert list(Country.handleref.since(vector=vector)) == []


@pytest.mark.parametrize(
    ("changed", "unchanged"),
    [
        ({"login": "ANN"}, {"login": "bob"}),  # Lower("login")
        ({"email": "a@x"}, {"email": "b@x"}),  # where active
        ({"email": "a@x", "active": True}, {"email": "a@x", "active": False}),
        ({"room": 1, "desk": "d"}, {"room": 1, "desk": "e"}),
        ({"number": 7}, {"number": None}),
    ],
)
def test_rows_that_replace_takes_out_for_whatever_index(only_sqlite, taken, changed, unchanged):
    row = {"login": "ann", "email": "a@x", "number": 7, "active": True, "room": 1, "desk": "d"}
    other = {"login": "c", "email": "c@x", "number": 8, "active": True, "room": 2, "desk": "f"}
    first = Account.objects.create(**row)
    taken()
    for values, gone in ((unchanged, False), (changed, True)):
        into = {**other, **values}
        execute(f"REPLACE INTO refapp_account ({', '.join(into)}) VALUES ({', '.join(['%s'] * 6)})", *into.values())
        assert (("refapp.account", "D", str(first.pk)) in taken()) is gone
        assert Account.objects.filter(pk=first.pk).exists() is not gone


def test_rows_that_went_under_the_triggers_of_an_earlier_version(only_sqlite, taken):
    """They are noted when the triggers are renewed; those that are there are not written anew."""
    one, two = (Label.objects.create(name=name) for name in "xy")
    stamp("default")
    for kind in ("rin", "rup"):
        execute(f"DROP TRIGGER handleref_sync_{kind}_refapp_label")
    execute("INSERT OR REPLACE INTO refapp_label (id, name) VALUES (%s, 'x')", two.pk)
    stamp("default")
    assert install.missing("default") == ["refapp.label"]
    install.install("default")
    assert install.missing("default") == []
    assert taken() == [("refapp.label", "D", str(one.pk))]


def test_mariadb_conflict_clauses(country, taken):
    if connection.vendor != "mysql":
        return
    row = f"{country.pk}, '', '2020-01-01', '2020-01-01', 0, 'fr'"
    into = "INTO testapp_country (id, status, created, updated, version, code, name) VALUES"
    with connection.cursor() as cursor:
        cursor.execute(f"REPLACE {into} ({row}, 'new')")
        assert [op for _, op, _ in taken()] in (["D", "I"], ["U"])
        cursor.execute(f"INSERT IGNORE {into} ({row}, 'newer')")
        assert taken() == []
        cursor.execute(f"INSERT {into} ({row}, 'newest') ON DUPLICATE KEY UPDATE name = 'NEW'")
        assert taken() == [("testapp.country", "U", str(country.pk))]  # by its collation it would be the same


def test_postgresql_truncate_and_foreign_roles(country, taken):
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS handleref_writer")
        cursor.execute("CREATE ROLE handleref_writer")
        cursor.execute("GRANT UPDATE, SELECT ON testapp_country TO handleref_writer")
        cursor.execute("SET ROLE handleref_writer")
        try:
            cursor.execute("UPDATE testapp_country SET name = 'by another'")
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY handleref_writer")
            cursor.execute("DROP ROLE handleref_writer")
    assert ops(taken()) == [("country", "U")]
    Country.objects.create(code="de", name="Germany")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE testapp_country CASCADE")
    assert ("country", "D") in ops(taken())


def test_a_migration_that_remakes_the_table_is_captured_throughout(country, taken):
    install.before_migrate(using="default")
    try:
        from django.db import models

        field = models.CharField(max_length=120)
        field.set_attributes_from_name("name")
        with connection.schema_editor() as editor:
            editor.alter_field(Country, Country._meta.get_field("name"), field)
        Country.objects.update(name="written by a data migration")
        assert ops(taken()) == [("country", "U")]
        Country.objects.filter(code="fr").delete()
        assert ops(taken()) == [("country", "D")]
    finally:
        install.after_migrate(using="default")
    with connection.schema_editor() as editor:
        editor.alter_field(Country, field, Country._meta.get_field("name"))
    install.install("default")
    assert install.missing("default") == []


def test_missing_triggers_are_noticed_and_mended(country, taken):
    assert install.missing("default") == []
    vendor_for(connections["default"]).uninstall("testapp_country")
    assert install.missing("default") == ["testapp.country"]
    silent = Country.objects.create(code="es", name="Spain")
    assert taken() == []
    install.install("default")
    assert install.missing("default") == []
    assert {pk for _, _, pk in taken()} == {str(country.pk), str(silent.pk)}


def test_what_was_deleted_without_triggers_is_noticed_when_they_are_back(country, taken):
    Country.objects.update(name="x")
    stamp("default")
    pk = str(country.pk)
    vendor_for(connections["default"]).uninstall("testapp_country")
    Country.objects.all().delete()
    assert taken() == []
    install.install("default")
    assert [(op, key) for _, op, key in taken()] == [("D", pk)]


def test_uninstall_leaves_the_application_working(country, taken):
    install.uninstall("default")
    try:
        Country.objects.update(name="x")
        assert taken() == []
    finally:
        install.install("default")


def test_existing_rows_are_stamped_by_their_updated_time(country, taken):
    Country.objects.update(updated="2020-01-01T00:00:00Z")
    vendor = vendor_for(connection)
    taken()
    vendor.capture_existing(registry.replicated("default")["testapp.country"])
    assert Capture.objects.get().timestamp >> 16 == 1577836800000
