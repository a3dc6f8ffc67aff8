"""Databases in memory: one that is migrated and installed, and copies of it by SQLite's backup."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

from django.core.management import call_command
from django.db import connections

from handleref_sync.capture import install

PREFIX = "simulated-"
WATCHED = "simulated_stamped"
"""What the oracle reads: each change of a stamp's dot, noted by triggers of the test's own."""
_truth = sqlite3.connect(":memory:")


class Memory:
    """Where the nodes of a world have their databases: in this process."""

    def open(self, alias: str) -> None:
        """A new database alias, whose database is in memory and empty."""
        add_alias(alias, {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})

    def close(self, alias: str) -> None:
        """Forget the alias and its database."""
        raw = connections[alias].connection
        if raw is not None:
            raw.close()
        connections[alias].connection = None
        remove_alias(alias)

    def start(self, alias: str, source: sqlite3.Connection | None, now: Callable[[], int]) -> Any:
        """A new Django connection, as a new process has. Its database is `source`'s, or what was committed here."""
        old = connections[alias].connection
        if source is None:
            old.rollback()
        fresh = renew(alias, source or old)
        if old is not None:
            old.close()
        fresh.connection.create_function("julianday", -1, julianday(now))
        return fresh

    def copy(self, alias: str) -> sqlite3.Connection:
        """A copy, as a file that is copied while nobody writes."""
        return copy(connections[alias].connection)

    def discard(self, backup: sqlite3.Connection) -> None:
        """A copy is not needed any more."""
        backup.close()

    def born(self) -> sqlite3.Connection:
        """A copy of a node named "template", which has nothing yet."""
        return template()

    def rows(self, alias: str, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What is asked here is no statement of the node."""
        return connections[alias].connection.execute(sql, parameters).fetchall()

    def execute(self, alias: str, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """Likewise. Within the node's transaction, if there is one."""
        raw = connections[alias].connection
        inside = raw.in_transaction
        raw.execute(sql, parameters)
        if not inside:
            raw.commit()

    def tell_time(self, alias: str, now: int) -> None:
        """The database asks for it by itself."""

    def dangling(self, alias: str) -> list[Any]:
        """Foreign keys that refer to nothing."""
        return self.rows(alias, "PRAGMA foreign_key_check", ())

    def end(self) -> None:
        """Take away what was made for a history."""


def add_alias(alias: str, database: dict[str, Any]) -> None:
    """A database alias beside those of the settings."""
    default = connections.settings["default"]
    connections.settings[alias] = connections.configure_settings({"default": default, alias: database})[alias]
    connections[alias] = connections.create_connection(alias)


def remove_alias(alias: str) -> None:
    """Forget it."""
    del connections[alias]
    del connections.settings[alias]


def renew(alias: str, source: sqlite3.Connection | None = None) -> Any:
    """A new Django connection for the alias; its database is `source`'s."""
    fresh = connections.create_connection(alias)
    connections[alias] = fresh
    fresh.ensure_connection()
    if source is not None:
        source.backup(fresh.connection)
    return fresh


@cache
def template() -> sqlite3.Connection:
    """A database that is a node, named "template", with everything on it."""
    alias, store = f"{PREFIX}template", Memory()
    store.open(alias)
    renew(alias)
    call_command("migrate", database=alias, verbosity=0, run_syncdb=True)
    install.install(alias, node="template")
    kept = store.copy(alias)
    store.close(alias)
    old = "OLD.node_id, OLD.counter"
    kept.executescript(
        f"""
        CREATE TABLE {WATCHED} (id INTEGER PRIMARY KEY, stamp, old_node, old_counter, node, counter);
        CREATE TRIGGER simulated_new AFTER INSERT ON handleref_sync_stamp BEGIN
            INSERT INTO {WATCHED} (stamp, node, counter) VALUES (NEW.id, NEW.node_id, NEW.counter); END;
        CREATE TRIGGER simulated_changed AFTER UPDATE ON handleref_sync_stamp
            WHEN OLD.node_id <> NEW.node_id OR OLD.counter <> NEW.counter BEGIN
            INSERT INTO {WATCHED} (stamp, old_node, old_counter, node, counter)
            VALUES (NEW.id, {old}, NEW.node_id, NEW.counter); END;
        VACUUM;
        """
    )
    return kept


def copy(source: sqlite3.Connection) -> sqlite3.Connection:
    """A copy of a database in memory."""
    target = sqlite3.connect(":memory:")
    source.backup(target)
    return target


def julianday(now_ms: Any) -> Any:
    """What replaces SQLite's function: its "now" is the virtual clock of the node."""

    def function(*arguments: Any) -> Any:
        if arguments == ("now",):
            return now_ms() / 86_400_000 + 2_440_587.5
        marks = ", ".join("?" * len(arguments))
        return _truth.execute(f"SELECT julianday({marks})", arguments).fetchone()[0]

    return function
