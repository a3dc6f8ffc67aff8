"""The same histories on a real server: a database for each node, filled anew for each history, dropped at the end.

Slower, and not to the byte the same twice: a server gives rows in an order of its own where nobody asks for one.
A backup is what the tables hold, and comes back by emptying and filling them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

from django.core.management import call_command
from django.db import connections, transaction

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.capture.mysql import MySQL
from handleref_sync.capture.postgresql import PostgreSQL
from tests import settings
from tests.simulation.database import WATCHED, add_alias, remove_alias

FIXED = {"django_migrations", "django_content_type", "auth_permission"}
"""Tables that `migrate` fills, and no history changes."""
NOTES = ("handleref_sync_capture", WATCHED)
Dump = dict[str, Any]
"""By table, its rows in the form in which the database takes them back."""


class Server:
    """Where the nodes of a world have their databases: on a server."""

    vendor: ClassVar[type[Any]]
    clock: ClassVar[str]
    """SQL for the wall clock of the node that acts, in milliseconds."""
    make: ClassVar[Callable[[str], dict[str, Any]]]
    watching: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self._free: list[str] = []
        self._made: list[str] = []
        self._used: dict[str, str] = {}
        self._born: Dump | None = None
        with self._server() as cursor:  # what a run that was killed has left
            for name in self._leftover(cursor):
                cursor.execute(f"DROP DATABASE {name}")

    # -- databases ------------------------------------------------------------------------------------------------

    def open(self, alias: str) -> None:
        """A database that is a node without anything; one that an earlier history has used."""
        if not self._free:
            self._create()
        self._used[alias] = self._free.pop()
        add_alias(alias, type(self).make(self._used[alias]))

    def close(self, alias: str) -> None:
        """Another node may have the database."""
        connections[alias].close()
        remove_alias(alias)
        self._free.append(self._used.pop(alias))

    def _create(self) -> None:
        name = f"simulated{len(self._made)}"
        database = type(self).make(name)
        with self._server() as cursor:
            cursor.execute(f"CREATE DATABASE {database['NAME']}{self.options}")
        self._made.append(database["NAME"])
        self._free.append(name)
        add_alias("simulated-setup", database)
        with patch.object(self.vendor, "now_sql", f"({self.clock} << 16)"):
            self.tell_time("simulated-setup", 1)
            call_command("migrate", database="simulated-setup", verbosity=0, run_syncdb=True)
            install.install("simulated-setup", node="template")
        with connections["simulated-setup"].cursor() as cursor:
            for sql in self.watching:
                cursor.execute(sql)
        if self._born is None:
            self._born = self.copy("simulated-setup")
        connections["simulated-setup"].close()
        remove_alias("simulated-setup")
        registry.forget("simulated-setup")

    def end(self) -> None:
        """Drop what was made."""
        with self._server() as cursor:
            for name in self._made:
                cursor.execute(f"DROP DATABASE {name}")
        self._made.clear()
        self._free.clear()

    @contextmanager
    def _server(self) -> Iterator[Any]:
        add_alias("simulated-server", {**type(self).make("x"), "NAME": self.anywhere})
        try:
            with connections["simulated-server"].cursor() as cursor:
                yield cursor
        finally:
            connections["simulated-server"].close()
            remove_alias("simulated-server")

    def _leftover(self, cursor: Any) -> list[str]:
        prefix = type(self).make("simulated")["NAME"]
        cursor.execute(self.databases)
        return [name for (name,) in cursor.fetchall() if name.startswith(prefix)]

    # -- what is in them ------------------------------------------------------------------------------------------

    def start(self, alias: str, source: Dump | None, now: Callable[[], int]) -> Any:
        """A new connection, as a new process has; the tables hold what `source` has, or what was committed."""
        connections[alias].close()
        fresh = connections.create_connection(alias)
        connections[alias] = fresh
        fresh.ensure_connection()
        if source is not None:
            self.tell_time(alias, now())
            self._fill(alias, source)
            registry.forget(alias)
        return fresh

    def copy(self, alias: str) -> Dump:
        """What the tables hold."""
        return {table: self._read(alias, table) for table in self._full(alias)}

    def discard(self, backup: Dump) -> None:
        """It is gone by itself."""

    def born(self) -> Dump:
        """What a node has when it is made."""
        if self._born is None:
            self._create()
        assert self._born is not None
        return self._born

    def rows(self, alias: str, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What is asked here is no statement of the node."""
        with connections[alias].connection.cursor() as cursor:
            cursor.execute(self._in_words(sql), parameters or None)
            return [tuple(map(_plain, row)) for row in cursor.fetchall()]

    def execute(self, alias: str, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """Likewise."""
        with connections[alias].connection.cursor() as cursor:
            cursor.execute(self._in_words(sql), parameters or None)

    def dangling(self, alias: str) -> list[Any]:
        """Foreign keys that refer to nothing."""
        models = registry.replicated(alias)
        found = []
        for model in models.values():
            for column in model.columns:
                if column.target is None or column.to is not None or column.generic is not None:
                    continue
                target = models[column.target]
                there = f'SELECT 1 FROM "{target.table}" t WHERE t."{target.pk_column}" = c."{column.column}"'
                sql = f'SELECT c."{model.pk_column}" FROM "{model.table}" c WHERE c."{column.column}" IS NOT NULL'
                rows = self.rows(alias, f"{sql} AND NOT EXISTS ({there})", ())
                found += [(model.label, column.name, *row) for row in rows]
        return found

    def _full(self, alias: str) -> list[str]:
        """The tables that have rows."""
        connection = connections[alias]
        tables = sorted({*connection.introspection.django_table_names(only_existing=True), WATCHED} - FIXED)
        sql = " UNION ALL ".join(
            f"SELECT {n} FROM (SELECT 1 AS one) x WHERE EXISTS (SELECT 1 FROM {table})"
            for n, table in enumerate(tables)
        )
        return [tables[n] for (n,) in self.rows(alias, sql, ())]

    def _fill(self, alias: str, dump: Dump) -> None:
        self._empty(alias, self._full(alias))
        with transaction.atomic(using=alias), vendor_for(connections[alias]).applying():
            for table, rows in dump.items():
                if table not in NOTES:
                    self._write(alias, table, rows)
            for table in NOTES:  # what triggers have noted now, nobody wrote
                self.execute(alias, f"DELETE FROM {table}")
                if table in dump:
                    self._write(alias, table, dump[table])
        self._number(alias, dump)

    # -- what differs between servers -----------------------------------------------------------------------------

    anywhere: ClassVar[str]
    databases: ClassVar[str]
    options: ClassVar[str] = ""

    def tell_time(self, alias: str, now: int) -> None:
        """The wall clock that the triggers look at."""
        raise NotImplementedError

    def _in_words(self, sql: str) -> str:
        return sql.replace("?", "%s")

    def _read(self, alias: str, table: str) -> Any:
        raise NotImplementedError

    def _write(self, alias: str, table: str, rows: Any) -> None:
        raise NotImplementedError

    def _empty(self, alias: str, tables: list[str]) -> None:
        raise NotImplementedError

    def _number(self, alias: str, dump: Dump) -> None:
        """Let the next primary keys follow those that are there."""


class OnPostgreSQL(Server):
    """One database a node on PostgreSQL."""

    vendor, make = PostgreSQL, settings._postgresql
    clock = "current_setting('simulated.now')::bigint"
    anywhere = "postgres"
    databases = "SELECT datname FROM pg_database"
    watching = (
        f"CREATE TABLE {WATCHED} (id bigserial PRIMARY KEY, stamp bigint, old_node bigint, old_counter bigint,"
        " node bigint, counter bigint)",
        f"""CREATE FUNCTION simulated_watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO {WATCHED} (stamp, node, counter) VALUES (NEW.id, NEW.node_id, NEW.counter);
        ELSIF OLD.node_id <> NEW.node_id OR OLD.counter <> NEW.counter THEN
            INSERT INTO {WATCHED} (stamp, old_node, old_counter, node, counter)
            VALUES (NEW.id, OLD.node_id, OLD.counter, NEW.node_id, NEW.counter);
        END IF; RETURN NULL; END $$""",
        "CREATE TRIGGER simulated_watch AFTER INSERT OR UPDATE ON handleref_sync_stamp FOR EACH ROW"
        " EXECUTE FUNCTION simulated_watch()",
    )

    def tell_time(self, alias: str, now: int) -> None:
        connections[alias].ensure_connection()
        self.rows(alias, "SELECT set_config('simulated.now', ?, false)", (str(now),))

    def _read(self, alias: str, table: str) -> Any:
        cursor = connections[alias].connection.cursor()
        with cursor, cursor.copy(f"COPY {table} TO STDOUT") as out:
            return b"".join(map(bytes, out))

    def _write(self, alias: str, table: str, rows: Any) -> None:
        cursor = connections[alias].connection.cursor()
        with cursor, cursor.copy(f"COPY {table} FROM STDIN") as into:
            into.write(rows)

    def _empty(self, alias: str, tables: list[str]) -> None:
        if tables:
            self.execute(alias, f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")

    def _number(self, alias: str, dump: Dump) -> None:
        for table in dump:
            named = f"SELECT 1 FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'id'"
            found = f"SELECT pg_get_serial_sequence('{table}', 'id') WHERE EXISTS ({named})"
            sequence = self.rows(alias, found, ())
            if sequence and sequence[0][0]:
                self.rows(alias, f"SELECT setval('{sequence[0][0]}', (SELECT max(id) FROM {table}))", ())


class OnMariaDB(Server):
    """One database a node on MariaDB."""

    vendor, make = MySQL, settings._mariadb
    clock = "@simulated_now"
    anywhere = "mysql"
    databases = "SELECT schema_name FROM information_schema.schemata"
    options = " CHARACTER SET utf8mb4"
    watching = (
        f"CREATE TABLE {WATCHED} (id bigint PRIMARY KEY AUTO_INCREMENT, stamp bigint, old_node bigint,"
        " old_counter bigint, node bigint, counter bigint)",
        f"CREATE TRIGGER simulated_new AFTER INSERT ON handleref_sync_stamp FOR EACH ROW"
        f" INSERT INTO {WATCHED} (stamp, node, counter) VALUES (NEW.id, NEW.node_id, NEW.counter)",
        f"""CREATE TRIGGER simulated_changed AFTER UPDATE ON handleref_sync_stamp FOR EACH ROW
        IF OLD.node_id <> NEW.node_id OR OLD.counter <> NEW.counter THEN
            INSERT INTO {WATCHED} (stamp, old_node, old_counter, node, counter)
            VALUES (NEW.id, OLD.node_id, OLD.counter, NEW.node_id, NEW.counter);
        END IF""",
    )

    def tell_time(self, alias: str, now: int) -> None:
        connections[alias].ensure_connection()
        self.execute(alias, "SET @simulated_now = ?", (now,))

    def _in_words(self, sql: str) -> str:
        return super()._in_words(sql).replace('"', "`").replace(" AS TEXT)", " AS CHAR)")

    def _read(self, alias: str, table: str) -> Any:
        return self.rows(alias, f"SELECT * FROM {table}", ())

    def _write(self, alias: str, table: str, rows: Any) -> None:
        if rows:
            marks = ", ".join(["%s"] * len(rows[0]))
            with connections[alias].connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def _empty(self, alias: str, tables: list[str]) -> None:
        self.execute(alias, "SET foreign_key_checks = 0")
        for table in tables:
            self.execute(alias, f"TRUNCATE {table}")
        self.execute(alias, "SET foreign_key_checks = 1")


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


STORES: dict[str, type[Server]] = {"postgresql": OnPostgreSQL, "mariadb": OnMariaDB}
