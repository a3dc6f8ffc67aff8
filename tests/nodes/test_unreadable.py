"""Values that are none of their field's type: SQLite holds them, and any program may write them."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from handleref_sync.models import Parked, Stamp
from handleref_sync.replication.stamping import stamp
from handleref_sync.status import status
from tests.identityapp.models import Remark
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Country, Item, Tag

A, B, C = ALIASES.values()
pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
only_sqlite = pytest.mark.skipif(
    "any(c.vendor != 'sqlite' for c in connections.all())", reason="other databases refuse such values"
)


def spoil(using, pk):
    connections[using].cursor().execute(
        "UPDATE testapp_country SET created = '2024-13-45 00:00:00' WHERE id = %s", [pk]
    )


@only_sqlite
def test_one_does_not_stop_the_rest_and_comes_when_it_is_mended():
    net = Network("ab")
    bad = Country.objects.using(A).create(code="x", name="bad")
    Country.objects.using(A).create(code="y", name="good")
    spoil(A, bad.pk)
    net.ok("b", "a")
    assert [c.name for c in Country.objects.using(B).all()] == ["good"]
    assert Country.objects.using(A).values("pk").count() == 2
    assert list(status(A)["unreadable"]) == ["testapp.country"]
    assert list(status(A)["unreadable"]["testapp.country"]) == [str(bad.pk)]
    bad.save(using=A)
    net.ok("b", "a")
    assert status(A)["unreadable"] == {}
    assert net.rows("a") == net.rows("b")


@only_sqlite
def test_one_that_was_deleted_is_not_shown_any_more():
    net = Network("ab")
    bad = Country.objects.using(A).create(code="x", name="bad")
    spoil(A, bad.pk)
    net.ok("b", "a")
    assert status(A)["unreadable"]
    connections[A].cursor().execute("DELETE FROM testapp_country")
    Country.objects.using(A).create(code="y", name="good")
    net.ok("b", "a")
    assert status(A)["unreadable"] == {}


@only_sqlite
def test_one_that_is_here_is_not_written_over_unseen():
    net = Network("ab")
    Country.objects.using(A).create(code="x", name="one")
    net.ok("b", "a")
    theirs = Country.objects.using(B).get()
    spoil(B, theirs.pk)
    stamp(B)
    tick()
    Country.objects.using(A).update(name="two")
    Tag.objects.using(A).create(name="the rest")
    net.ok("b", "a")
    assert Tag.objects.using(B).exists()
    assert Country.objects.using(B).values_list("name", flat=True).get() == "one"
    assert "can't be read" in Parked.objects.using(B).get().detail
    theirs.save(using=B)
    net.heal([("b", "a")])
    assert not Parked.objects.using(B).exists()
    assert net.rows("a") == net.rows("b")


def unreadable(name="a"):
    return {label: list(rows) for label, rows in status(ALIASES[name])["unreadable"].items()}


def execute(using, sql, *params):
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)


def test_a_generic_reference_that_no_row_can_have():
    net = Network("ab")
    kind = ContentType.objects.db_manager(A).get_for_model(Country)
    junk = Remark.objects.using(A).create(content_type_id=kind.pk, object_id="abc", text="junk")
    Tag.objects.using(A).create(name="the rest")
    for _ in range(2):
        net.ok("b", "a")
        assert unreadable() == {"identityapp.remark": [str(junk.pk)]}
    assert Tag.objects.using(B).exists()
    Remark.objects.using(A).update(object_id=str(Country.objects.using(A).create(code="x").pk))
    net.ok("b", "a")
    assert Remark.objects.using(B).get().about.code == "x" and not unreadable()


@only_sqlite
def test_a_generic_reference_to_no_model():
    net = Network("ab")
    execute(A, "PRAGMA foreign_keys = OFF")
    try:
        execute(A, "INSERT INTO identityapp_remark (content_type_id, object_id, text) VALUES (9999, '1', 't')")
        Tag.objects.using(A).create(name="the rest")
        net.ok("b", "a")
        assert Tag.objects.using(B).exists() and list(unreadable()) == ["identityapp.remark"]
    finally:
        execute(A, "DELETE FROM identityapp_remark")
        execute(A, "PRAGMA foreign_keys = ON")


@only_sqlite
def test_a_text_that_is_none():
    net = Network("ab")
    bad = Country.objects.using(A).create(code="x", name="bad")
    execute(A, "UPDATE testapp_country SET name = CAST(x'e9' AS TEXT)")
    Country.objects.using(A).create(code="y", name="good")
    for _ in range(2):
        net.ok("b", "a")
        assert unreadable() == {"testapp.country": [str(bad.pk)]}
    assert [c.name for c in Country.objects.using(B).all()] == ["good"]
    bad.save(using=A)
    net.ok("b", "a")
    assert net.rows("a") == net.rows("b") and not unreadable()


@only_sqlite
@pytest.mark.parametrize("value", ["'2024-13-45 00:00:00'", "CAST(x'e9' AS TEXT)"])
def test_one_whose_key_would_be_made_of_it(settings, value):
    named = {label: {} for label in settings.HANDLEREF_SYNC["MODELS"]}
    named["testapp.country"] = {"identity": ("code", "created")}
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MODELS": named}
    net = Network("ab")
    columns = "code, name, status, version, updated, created"
    execute(A, f"INSERT INTO testapp_country ({columns}) VALUES ('zz', 'n', '', 0, '2024-01-01 00:00:00', {value})")
    Country.objects.using(A).create(code="y", name="good")
    Tag.objects.using(A).create(name="the rest")
    net.ok("b", "a")
    assert Tag.objects.using(B).exists() and list(unreadable()) == ["testapp.country"]
    assert [c.name for c in Country.objects.using(B).all()] == ["good"]
    execute(A, "UPDATE testapp_country SET created = '2024-01-01 00:00:00' WHERE code = 'zz'")
    net.ok("b", "a")
    assert Country.objects.using(B).filter(code="zz").exists() and not unreadable()
    assert net.rows("a") == net.rows("b")


@only_sqlite
def test_one_whose_primary_key_is_none():
    net = Network("ab")
    execute(A, "INSERT INTO testapp_tag (id, name) VALUES ('junk', 'bad')")
    Tag.objects.using(A).create(name="good")
    for _ in range(2):
        net.ok("b", "a")
        assert unreadable() == {"testapp.tag": ["junk"]}
    execute(A, "DELETE FROM testapp_tag WHERE id = 'junk'")
    for name in ("better", "best"):
        Tag.objects.using(A).update(name=name)
        net.ok("b", "a")
    assert [t.name for t in Tag.objects.using(B).all()] == ["best"] and not unreadable()
    assert Stamp.objects.using(A).get(pk_text="junk").deleted


@only_sqlite
def test_a_membership_of_one_whose_primary_key_is_none():
    net = Network("ab")
    item = Item.objects.using(A).create(name="i")
    execute(A, "INSERT INTO testapp_tag (id, name) VALUES ('junk', 'bad')")
    execute(A, "INSERT INTO testapp_item_tags (item_id, tag_id) VALUES (%s, 'junk')", item.pk)
    item.tags.add(Tag.objects.using(A).create(name="good"))
    net.ok("b", "a")
    assert [t.name for t in Item.objects.using(B).get().tags.all()] == ["good"]
    assert sorted(unreadable()) == ["testapp.item_tags", "testapp.tag"]
