"""What must hold in a node's database at any instant, read past the library: with SQL on a connection of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter

import psycopg
import pymysql

from tests.e2e.conftest import MARIADB, SERVER

TABLES = {
    "inspections.country": "inspections_country",
    "inspections.airport": "inspections_airport",
    "inspections.inspector": "inspections_inspector",
    "inspections.inspection": "inspections_inspection",
    "auth.user": "auth_user",
}
CONTENT = (
    "SELECT code, name, status, version FROM inspections_country",
    "SELECT a.icao, c.code, a.iata, a.name, a.city, a.elevation, a.latitude, a.longitude, a.tz, a.status, a.version "
    "FROM inspections_airport a JOIN inspections_country c ON c.id = a.country_id",
    "SELECT i.badge, u.username FROM inspections_inspector i JOIN auth_user u ON u.id = i.user_id",
    "SELECT a.icao, i.badge, CAST(n.date AS CHAR(10)), n.grade, n.remarks, n.status, n.version "
    "FROM inspections_inspection n JOIN inspections_airport a ON a.id = n.airport_id "
    "JOIN inspections_inspector i ON i.id = n.inspector_id",
)


def connect(site, patience=30.0):
    """An application's own connection to the site's database, in no transaction."""
    if site.kind == "p":
        return psycopg.connect(**SERVER, dbname=site.database, autocommit=True)
    if site.kind == "m":
        return pymysql.connect(**MARIADB, database=site.database, autocommit=True)
    return sqlite3.connect(site.file, timeout=patience, isolation_level=None, check_same_thread=False)


def run(connection, sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@contextlib.contextmanager
def snapshot(site):
    """A function that gives the rows of a query; all of them as of one instant."""
    begin = {"s": "BEGIN", "p": "BEGIN ISOLATION LEVEL REPEATABLE READ", "m": "START TRANSACTION"}[site.kind]
    with contextlib.closing(connect(site)) as connection:
        run(connection, begin)
        yield lambda sql: run(connection, sql)


def one(site, sql):
    with contextlib.closing(connect(site)) as connection:
        return run(connection, sql)[0][0]


def write(site, *statements):
    """In one transaction, as an application does."""
    with contextlib.closing(connect(site)) as connection:
        for sql in ("BEGIN", *statements, "COMMIT"):
            run(connection, sql)


def check(site):
    """Raises AssertionError unless the site's books are sound; returns (last sequence, cursor)."""
    with snapshot(site) as rows:
        if site.kind == "s":
            assert rows("PRAGMA integrity_check") == [("ok",)]
            assert rows("PRAGMA foreign_key_check") == []
        ((last,),) = rows("SELECT sequence FROM handleref_sync_localnode")
        taken = rows("SELECT sequence FROM handleref_sync_stamp UNION ALL SELECT sequence FROM handleref_sync_parked")
        twice = [number for (number,), times in Counter(taken).items() if times > 1]
        assert not twice, f"{site.name}: sequences given twice: {twice[:5]}"
        assert max((number for (number,) in taken), default=0) <= last, site.name
        dots = Counter(rows("SELECT node_id, counter FROM handleref_sync_stamp"))
        assert max(dots.values(), default=1) == 1, f"{site.name}: dots given twice: {dots.most_common(3)}"
        assert rows("SELECT * FROM handleref_sync_applying") == []
        for label, table in TABLES.items():
            ((number,),) = rows(f"SELECT id FROM handleref_sync_replicatedmodel WHERE label = '{label}'")
            there = {str(pk) for (pk,) in rows(f"SELECT id FROM {table}")}
            live = {
                pk for (pk,) in rows(f"SELECT pk FROM handleref_sync_stamp WHERE model_id = {number} AND NOT deleted")
            }
            noted = {pk for (pk,) in rows(f"SELECT pk FROM handleref_sync_capture WHERE model = {number}")}
            assert not there - live - noted, f"{site.name}: {label} without stamp: {sorted(there - live - noted)[:5]}"
            assert not live - there - noted, f"{site.name}: {label} without row: {sorted(live - there - noted)[:5]}"
        ((cursor,),) = rows("SELECT coalesce(sum(pull_sequence), 0) FROM handleref_sync_peer")
        return last, int(cursor)


def books(site):
    """All rows by what they are on every node, and all stamps: what two nodes that are in sync have in common."""
    with snapshot(site) as rows:
        content = [sorted(map(str, rows(sql))) for sql in CONTENT]
        stamps = rows(
            "SELECT m.label, coalesce(s.key, s.pk), n.name, s.counter, s.timestamp, s.deleted FROM "
            "handleref_sync_stamp s JOIN handleref_sync_node n ON n.id = s.node_id "
            "JOIN handleref_sync_replicatedmodel m ON m.id = s.model_id"
        )
        return content, sorted((*stamp[:5], bool(stamp[5])) for stamp in stamps)


def assert_equal(*sites):
    first, *others = map(books, sites)
    for other, site in zip(others, sites[1:], strict=True):
        for here, there in zip((*first[0], first[1]), (*other[0], other[1]), strict=True):
            differ = set(map(str, here)) ^ set(map(str, there))
            assert here == there, f"{sites[0].name} and {site.name} differ by {len(differ)}: {sorted(differ)[:4]}"
    return sum(map(len, first[0]))
