"""What is peculiar to MariaDB and MySQL."""

import time

import pytest
from django.core.checks import run_checks
from django.db import connection, connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.registry import replicated
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, parked
from tests.testapp.models import Country, Tag

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=list(ALIASES.values())),
    pytest.mark.skipif("connections['default'].vendor != 'mysql'", reason="MariaDB and MySQL"),
]
A, B, C = ALIASES.values()


def hazards():
    return " ".join(m.msg for m in run_checks(databases=["default"]) if m.id == "handleref_sync.W012")


def test_what_fires_no_trigger_or_changes_values_is_said(node):
    assert hazards() == ""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_tag MODIFY name varchar(50) CHARACTER SET utf8mb3 NOT NULL")
        cursor.execute(
            "ALTER TABLE testapp_airport ADD CONSTRAINT by_hand FOREIGN KEY (country_id) "
            "REFERENCES testapp_country (id) ON DELETE CASCADE"
        )
        cursor.execute("SET sql_mode = ''")
        try:
            said = hazards()
        finally:
            cursor.execute("SET sql_mode = DEFAULT")
            cursor.execute("ALTER TABLE testapp_airport DROP FOREIGN KEY by_hand")
            cursor.execute("ALTER TABLE testapp_tag MODIFY name varchar(50) CHARACTER SET utf8mb4 NOT NULL")
    assert "testapp_tag.name is not utf8mb4" in said
    assert "by_hand of testapp_airport (ON DELETE CASCADE" in said
    assert "sql_mode is not strict" in said
    assert hazards() == ""


def test_a_row_that_truncate_took_is_a_deletion_once_the_feed_meets_it():
    net = Network("ab")
    Tag.objects.using(A).create(name="t")
    net.ok("b", "a")
    with connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("TRUNCATE testapp_tag")
        cursor.execute("SET foreign_key_checks = 1")
    net = Network("abc")
    net.heal([("c", "a"), ("b", "a"), ("b", "c")])
    assert not Tag.objects.using(C).exists() and not Tag.objects.using(B).exists()


def test_the_silence_of_the_triggers_ends_with_an_error(node):
    vendor = vendor_for(connection)
    with pytest.raises(RuntimeError), vendor.applying():
        raise RuntimeError("in the middle of a page")
    Country.objects.create(code="fr", name="France")
    assert [note.op for note in vendor.take_captures(10)] == ["I"]
    assert vendor.rows("SELECT @@foreign_key_checks") == [(1,)]


def test_text_that_a_column_can_not_hold_is_held_back():
    net = Network("ab")
    Tag.objects.using(A).create(name="rocket \N{ROCKET}")
    with connections[B].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_tag MODIFY name varchar(50) CHARACTER SET utf8mb3 NOT NULL")
        try:
            net.ok("b", "a")
            assert [(label, reason) for label, _, reason in parked("b")] == [("testapp.tag", "invalid")]
        finally:
            cursor.execute("ALTER TABLE testapp_tag MODIFY name varchar(50) CHARACTER SET utf8mb4 NOT NULL")
    net.ok("b", "a")
    assert Tag.objects.using(B).get().name == "rocket \N{ROCKET}"


def test_stamping_does_not_wait_for_open_transactions(node):
    holder = connection.copy(alias="holder")
    connections["holder"] = holder
    try:
        with transaction.atomic(using="holder"):
            Country.objects.using("holder").create(code="de", name="not committed")
            Country.objects.create(code="fr", name="France")
            vendor = vendor_for(connection)
            with transaction.atomic():
                assert len(vendor.take_captures(10)) == 1
        with transaction.atomic():
            assert len(vendor.take_captures(10)) == 1
    finally:
        holder.close()
        del connections["holder"]


def test_numbers_go_on_behind_those_of_the_table(node):
    model = replicated("default")["testapp.country"]
    taken = Country.objects.create(code="fr", name="France").pk
    assert vendor_for(connection).allocate_pks(model, 2) == [taken + 1, taken + 2]


def test_stamping_does_not_wait_for_notes_that_are_not_committed(node):
    """Where nearly all notes are taken, the optimizer would rather read the whole table, and wait for the others."""
    other = connection.copy()
    try:
        Tag.objects.bulk_create(Tag(name=f"before {n}") for n in range(100))
        late = other.cursor()
        late.execute("START TRANSACTION")
        late.execute("INSERT INTO testapp_tag (id, name) VALUES (REPLACE(UUID(), '-', ''), 'late')")
        Tag.objects.bulk_create(Tag(name=f"after {n}") for n in range(100))
        with connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            try:
                assert stamp(A) == 200
            finally:
                cursor.execute("SET innodb_lock_wait_timeout = DEFAULT")
        late.execute("COMMIT")
        assert stamp(A) == 1
    finally:
        other.close()


def test_a_unique_value_of_an_open_transaction_is_waited_for_a_second():
    net = Network("ab")
    Country.objects.using(A).create(code="fr", name="France")
    other = connections[B].copy()
    try:
        late = other.cursor()
        late.execute("START TRANSACTION")
        late.execute(
            "INSERT INTO testapp_country (code, name, created, updated, version, status) "
            "VALUES ('fr', 'not yet', NOW(), NOW(), 1, 'ok')"
        )
        before = time.monotonic()
        net.ok("b", "a")
        assert time.monotonic() - before < 20, "unless told otherwise InnoDB waits for 50 s, and each try anew"
        assert [reason for _, _, reason in parked("b")] == ["locked"]
        with connections[B].cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            assert cursor.fetchone()[0] == 50, "the session is as it was"
        late.execute("ROLLBACK")
        net.ok("b", "a")
        assert not parked("b") and net.rows("a") == net.rows("b")
    finally:
        other.close()
