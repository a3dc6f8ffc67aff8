"""Databases in memory: one that is migrated and installed, and copies of it by SQLite's backup."""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

from django.core.management import call_command
from django.db import connections

from handleref_sync.capture import install

PREFIX = "simulated-"
WATCHED = "simulated_stamped"
"""What the oracle reads: each change of a stamp's dot, noted by triggers of the test's own."""
_truth = sqlite3.connect(":memory:")


def open_alias(alias: str) -> Any:
    """A new database alias, whose database is in memory and empty."""
    mine = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    connections.settings[alias] = connections.configure_settings({"default": mine, alias: dict(mine)})[alias]
    return renew(alias)


def renew(alias: str, source: sqlite3.Connection | None = None) -> Any:
    """A new Django connection for the alias, as a new process has; its database is `source`'s."""
    fresh = connections.create_connection(alias)
    connections[alias] = fresh
    fresh.ensure_connection()
    if source is not None:
        source.backup(fresh.connection)
    return fresh


def close_alias(alias: str) -> None:
    """Forget the alias and its database."""
    raw = connections[alias].connection
    if raw is not None:
        raw.close()
    connections[alias].connection = None
    del connections[alias]
    del connections.settings[alias]


@cache
def template() -> sqlite3.Connection:
    """A database that is a node, named "template", with everything on it."""
    alias = f"{PREFIX}template"
    open_alias(alias)
    call_command("migrate", database=alias, verbosity=0, run_syncdb=True)
    install.install(alias, node="template")
    kept = sqlite3.connect(":memory:")
    connections[alias].connection.backup(kept)
    close_alias(alias)
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
    """A copy, as a file that is copied while nobody writes."""
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
