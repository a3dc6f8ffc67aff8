"""How the databases of a test become again what they were before it, and how they become nodes.

In memory both are done by a copy. A server's tables are emptied where they have rows.
"""

from __future__ import annotations

import random
import sqlite3
from typing import Any

from django.core.management import call_command
from django.db import connections, transaction

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings

MADE = ("django_content_type", "auth_permission")
"""Tables that `migrate` fills, and few tests touch."""
_first: dict[str, Any] = {}
"""What was there before the first test: of a database in memory a copy, of another how many rows `migrate` made."""
_nodes: list[tuple[Any, sqlite3.Connection]] = []
_untouched: dict[str, tuple[int, int]] = {}
_tables: dict[str, list[str]] = {}


def begin(using: str) -> None:
    """Remember what the database is before the first test that commits."""
    if using not in _first:
        _first[using] = _copy(using) if _in_memory(using) else _made(using)
        if _in_memory(using):
            reset(using)


def reset(using: str) -> None:
    """Make it that again."""
    if not _in_memory(using):
        _flush(using)
        return
    _restore(using, _first[using])
    # Other primary keys in each database, most of the time: a node must not take one for that of another node.
    by = random.choice((0, random.randrange(1, 1000)))
    connections[using].connection.execute("UPDATE sqlite_sequence SET seq = seq + ?", [by])
    connections[using].connection.commit()
    _untouched[using] = _state(using)


def node(using: str, name: str) -> None:
    """`install`; where nothing was written since `reset`, from a copy of what it did before."""
    if _untouched.get(using) != (_state(using) if _in_memory(using) else ()):
        install.install(using, node=name)
        return
    key = using, name, settings.current, registry.model_classes()
    copies = [copy for known, copy in _nodes if known == key]
    if copies:
        _restore(using, copies[0])
    else:
        install.install(using, node=name)
        _nodes.append((key, _copy(using)))


def _in_memory(using: str) -> bool:
    connection = connections[using]
    return connection.vendor == "sqlite" and connection.is_in_memory_db()


def _state(using: str) -> tuple[int, int]:
    connection = connections[using]
    connection.ensure_connection()
    (schema,) = connection.connection.execute("PRAGMA schema_version").fetchone()
    return connection.connection.total_changes, schema


def _copy(using: str) -> sqlite3.Connection:
    connections[using].ensure_connection()
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    connections[using].connection.backup(copy)
    copy.execute(
        "INSERT INTO sqlite_sequence SELECT name, 0 FROM sqlite_master WHERE type = 'table' AND "
        "sql LIKE '%AUTOINCREMENT%' AND name NOT IN (SELECT name FROM sqlite_sequence)"
    )
    copy.commit()
    return copy


def _restore(using: str, copy: sqlite3.Connection) -> None:
    connection = connections[using]
    connection.ensure_connection()
    tries = iter(range(100))

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and next(tries, None) is None:
            raise AssertionError(f"{using} is locked by what a test has left behind")  # it would be tried for ever

    copy.backup(connection.connection, progress=progress, sleep=0.05)
    registry.forget(using)


def _flush(using: str) -> None:
    """Empty only the tables that have rows, and leave content types and permissions where they are.

    Django's own flush empties all and makes those anew. With three databases it takes longer than most tests.
    """
    connection = connections[using]
    if _made(using) != _first[using]:
        call_command("flush", verbosity=0, interactive=False, database=using, allow_cascade=True)
        _first[using] = _made(using)
        return
    vendor = vendor_for(connection)
    if using not in _tables:
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        _tables[using] = [name for name in names if name not in MADE]
    full = vendor.filled(_tables[using])
    # Not TRUNCATE: PostgreSQL makes new files for each table, and waits for the disk. Without triggers of any kind.
    deletions = [f"DELETE FROM {vendor.quote(name)}" for name in full]
    with transaction.atomic(using=using):
        if connection.vendor == "postgresql":
            deletions.insert(0, "SET LOCAL session_replication_role = 'replica'")
        with vendor.applying():
            for deletion in deletions:
                vendor.execute(deletion)
    if using == settings.database:
        install.install(using)  # as post_migrate does after Django's flush


def _made(using: str) -> tuple[int, ...]:
    counts = ", ".join(f"(SELECT count(*) FROM {name}), (SELECT max(id) FROM {name})" for name in MADE)
    return vendor_for(connections[using]).rows(f"SELECT {counts}")[0]
