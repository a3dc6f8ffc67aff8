"""PostgreSQL: statement-level triggers over transition tables, one set-based insert a statement."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

from django.db import OperationalError, transaction

from handleref_sync.capture.base import CAPTURE, LOCAL, PREFIX, STAMP, Vendor, kind_of
from handleref_sync.capture.first_stamps import FirstStamps, at_once
from handleref_sync.registry import Replicated

SETTING = "handleref_sync.applying"


class PostgreSQL(Vendor):
    now_sql = "((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16)"

    def _name(self, model_table: str, kind: str) -> str:
        # Identifiers are cut at 63 bytes without a word: long table names are told apart by a digest.
        return f"{PREFIX}_{kind}_{hashlib.sha256(model_table.encode()).hexdigest()[:16]}"

    def _schema(self, table: str) -> str:
        found = self.rows(
            "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass(%s)", [table]
        )
        return str(found[0][0]) if found else "public"

    @cached_property
    def _own_schema(self) -> str:
        return self._schema(CAPTURE)

    def columns_of(self, tables: Sequence[str]) -> dict[str, set[str]]:
        # Django's introspection sees only what is in the search path; `db_table` may name another schema.
        found: dict[str, set[str]] = {}
        for number, name in self.rows(
            "SELECT t.n, attname FROM unnest(%s::text[]) WITH ORDINALITY t (name, n) "
            "JOIN pg_attribute ON attrelid = to_regclass(t.name) WHERE attnum > 0 AND NOT attisdropped",
            [[self.quote(table) for table in tables]],
        ):
            found.setdefault(tables[number - 1], set()).add(name)
        return found

    def triggers(self, model: Replicated, columns: Sequence[str]) -> dict[str, str]:
        pk, q = self.quote(model.pk_column), self.quote
        schema = self._own_schema
        # Compared as text in the C collation: byte for byte, and good for types without equality such as json.
        differs = " OR ".join(
            f'o.{q(c)}::text COLLATE "C" IS DISTINCT FROM n.{q(c)}::text COLLATE "C"' for c in columns
        )
        changed = " || ".join(
            f'CASE WHEN o.{q(c)}::text COLLATE "C" IS DISTINCT FROM n.{q(c)}::text COLLATE "C" '
            f"THEN '{name},' ELSE '' END"
            for c, name in model.tracked(columns)
        )
        note = f"INSERT INTO {schema}.{CAPTURE} (model, pk, op, timestamp) SELECT {model.id}"
        update = note.replace("timestamp)", "timestamp, fields)")
        fields = f"CASE WHEN n.{pk} IS NULL OR o.{pk} IS NULL THEN NULL ELSE {changed} END" if changed else "NULL"
        statements = {
            "ins": f"{note}, n.{pk}::text, 'I', {self.now_sql} FROM new_rows n;",
            # A FULL JOIN: SET id = id + 1 makes one row vanish, one appear, and changes those between.
            "upd": (
                f"{update}, coalesce(n.{pk}, o.{pk})::text, CASE WHEN n.{pk} IS NULL THEN 'D' WHEN o.{pk} IS NULL "
                f"THEN 'I' ELSE 'U' END, {self.now_sql}, {fields} "
                f"FROM old_rows o FULL JOIN new_rows n ON o.{pk} = n.{pk} "
                f"WHERE n.{pk} IS NULL OR o.{pk} IS NULL OR {differs or 'false'};"
            ),
            "del": f"{note}, o.{pk}::text, 'D', {self.now_sql} FROM old_rows o;",
            "trn": (
                f"{note}, s.pk, 'D', {self.now_sql} FROM {schema}.{STAMP} s WHERE s.model_id = {model.id} "
                f"AND NOT s.deleted; {note}, c.pk, 'D', {self.now_sql} FROM (SELECT DISTINCT pk FROM "
                f"{schema}.{CAPTURE} WHERE model = {model.id}) c WHERE NOT EXISTS (SELECT 1 FROM {schema}.{STAMP} s "
                f"WHERE s.model_id = {model.id} AND s.pk = c.pk AND NOT s.deleted);"
            ),
        }
        if model.identity == "ends":  # a membership with other ends is another record
            moved = f"old_rows o JOIN new_rows n ON o.{pk} = n.{pk} WHERE {differs or 'false'}"
            statements["upd"] += (
                f" {note}, o.{pk}::text, 'D', {self.now_sql} FROM {moved}; "
                f"{note}, n.{pk}::text, 'I', {self.now_sql} FROM {moved};"
            )
        return {self._name(model.table, kind): f"BEGIN {body} RETURN NULL; END" for kind, body in statements.items()}

    EVENTS: ClassVar[dict[str, str]] = {
        "ins": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows",
        "upd": "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        "del": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows",
        "trn": "BEFORE TRUNCATE ON {table}",
    }

    def present_on(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for number, name, body in self.rows(
            "SELECT n.n, t.tgname, p.prosrc FROM unnest(%s::text[]) WITH ORDINALITY n (name, n) "
            "JOIN pg_trigger t ON t.tgrelid = to_regclass(n.name) JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE t.tgname LIKE %s AND t.tgenabled = 'A'",
            [[self.quote(table) for table in tables], f"{PREFIX}\\_%"],
        ):
            found.setdefault(tables[number - 1], {})[name] = body
        return found

    def create_trigger(self, table: str, name: str, sql: str) -> None:
        schema, table, event = self._own_schema, self.quote(table), self.EVENTS[kind_of(name)]
        # SECURITY DEFINER: a role that may write the table need not be able to write the ledger.
        self.execute(
            f"CREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path = pg_catalog, pg_temp AS $body${sql}$body$"
        )
        self.execute(
            f"CREATE TRIGGER {name} {event.format(table=table)} FOR EACH STATEMENT WHEN "
            f"(current_setting('{SETTING}', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {schema}.{name}()"
        )
        # ALWAYS: also where session_replication_role is 'replica', as in restores and logical replication.
        self.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")

    def uninstall(self, table: str) -> None:
        schema = self._own_schema
        for kind in self.EVENTS:
            name = self._name(table, kind)
            if self.rows("SELECT 1 FROM pg_trigger WHERE tgname = %s", [name]):
                self.execute(f"DROP TRIGGER {name} ON {self.quote(table)}")
            self.execute(f"DROP FUNCTION IF EXISTS {schema}.{name}()")

    def place(self) -> str:
        # The number of the database too: one that was dropped and made again from a dump has another. The timeline
        # changes when a standby takes over, which may lack what was committed last.
        found = self.rows(
            "SELECT system_identifier, timeline_id, d.oid, d.datname FROM pg_control_system(),"
            " pg_control_checkpoint(), pg_database d WHERE d.datname = current_database()"
        )
        return ":".join(map(str, found[0]))

    def sequence_lock(self) -> None:
        self.rows(f"SELECT id FROM {LOCAL} FOR UPDATE")

    @contextmanager
    def applying(self) -> Iterator[None]:
        self.execute(f"SET LOCAL {SETTING} = 'on'")
        yield
        self.execute(f"SET LOCAL {SETTING} = 'off'")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with super().snapshot():
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    def updated_timestamp(self, column: str) -> str:
        ms = f"(extract(epoch FROM {column}) * 1000)::bigint"
        return f"greatest(0, least(coalesce({ms}, 0) << 16, {self.now_sql}))"

    def stamp_first(self, wanted: FirstStamps) -> int:
        return at_once(self, wanted)

    def allocate_pks(self, model: Replicated, count: int) -> list[int]:
        # A sequence knows nothing of keys that the application gave itself: those are passed over, ever more at once.
        table, pk = self.quote(model.table), self.quote(model.pk_column)
        free: list[int] = []
        size = count
        while len(free) < count:
            found = self.rows(
                "WITH taken AS MATERIALIZED (SELECT nextval(pg_get_serial_sequence(%s, %s)::regclass) AS n "
                f"FROM generate_series(1, %s)) SELECT n FROM taken WHERE NOT EXISTS (SELECT 1 FROM {table} t "
                f"WHERE t.{pk} = n) AND NOT EXISTS (SELECT 1 FROM {STAMP} s WHERE s.model_id = {model.id} AND "
                f"s.pk = n::text) AND NOT EXISTS (SELECT 1 FROM {CAPTURE} c WHERE c.model = {model.id} AND "
                "c.pk = n::text) ORDER BY n",
                [table, model.pk_column, size],
            )
            free += [row[0] for row in found]
            size = min(2 * size, 100_000)
        return free[:count]

    def move_on(self, model: Replicated) -> None:
        table, pk = self.quote(model.table), self.quote(model.pk_column)
        # In one statement and never backwards. What others take from the sequence meanwhile only moves it further.
        self.rows(
            f"WITH s AS (SELECT pg_get_serial_sequence(%s, %s)::regclass AS seq), "
            f"m AS (SELECT max({pk}) AS n FROM {table}) "
            "SELECT setval(seq, n) FROM s, m WHERE seq IS NOT NULL AND n > coalesce(pg_sequence_last_value(seq), 0)",
            [table, model.pk_column],
        )

    def bound_waits(self) -> None:
        # Below deadlock_timeout (1 s unless set otherwise): in a deadlock it is the applier that gives way, not the
        # application.
        self.execute("SET LOCAL lock_timeout = '800ms'")

    def hurry(self) -> None:
        self.execute("SET LOCAL lock_timeout = '5ms'")

    def bound_turn(self) -> None:
        self.execute("SET LOCAL lock_timeout = '30s'")

    def read_committed(self) -> None:
        self.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return f"{column} = ANY(%s)", [list(values)]

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        names = ", ".join(self.quote(c) for c in columns)
        with self.connection.cursor() as cursor, self.connection.wrap_database_errors:
            if not hasattr(cursor, "copy"):  # psycopg2
                return super().insert_rows(table, columns, rows)
            # Several times as fast as INSERT, and the triggers see it like any other statement.
            with cursor.copy(f"COPY {self.quote(table)} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def update_rows(self, table: str, pk_column: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        q, names = self.quote, [*columns, pk_column]
        # No length in the type: an explicit cast to varchar(5) would cut a longer text without a word.
        types = dict(
            self.rows(
                "SELECT attname, format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = to_regclass(%s)",
                [q(table)],
            )
        )
        marks = f"({', '.join(f'%s::{types[name]}' for name in names)})"
        assignments = ", ".join(f"{q(name)} = v.{q(name)}" for name in columns)
        done = 0
        for start in range(0, len(rows), 500):
            chunk = rows[start : start + 500]
            with self.connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {q(table)} t SET {assignments} FROM (VALUES {', '.join([marks] * len(chunk))}) "
                    f"v ({', '.join(map(q, names))}) WHERE t.{q(pk_column)} = v.{q(pk_column)}",
                    [value for row in chunk for value in row],
                )
                done += cursor.rowcount
        return done

    def deletes_alone(self, table: str) -> bool:
        return not self.rows(
            "SELECT 1 FROM pg_constraint WHERE confrelid = to_regclass(%s) AND contype = 'f' "
            "AND (confdeltype NOT IN ('a', 'r') OR NOT condeferrable)",
            [self.quote(table)],
        )

    def lock_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> list[Any]:
        table, pk = self.quote(table), self.quote(pk_column)
        busy: list[Any] = []
        for start in range(0, len(pks), 2000):
            chunk = list(pks[start : start + 2000])
            select = f"SELECT {pk} FROM {table} WHERE {pk} IN ({', '.join(['%s'] * len(chunk))})"
            try:
                with transaction.atomic(using=self.connection.alias):
                    self.rows(f"{select} ORDER BY {pk} FOR UPDATE", chunk)
            except OperationalError as error:
                if not self.waited_too_long(error):
                    raise
                free = {row[0] for row in self.rows(f"{select} FOR UPDATE SKIP LOCKED", chunk)}
                busy += [row[0] for row in self.rows(select, chunk) if row[0] not in free]
        return busy

    def defer_constraints(self) -> None:
        self.execute("SET CONSTRAINTS ALL DEFERRED")

    def check_constraints(self) -> None:
        self.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def dangling(self, error: Exception) -> bool:
        return _state(error) == "23503"

    def taken(self, error: Exception) -> bool:
        return _state(error) in ("23505", "23P01")  # unique_violation, exclusion_violation

    def waited_too_long(self, error: Exception) -> bool:
        # lock_not_available, deadlock_detected, serialization_failure
        return _state(error) in ("55P03", "40P01", "40001")

    def lost_transaction(self, error: Exception) -> bool:
        return self.waited_too_long(error)

    def trouble(self, error: Exception) -> str:
        state = _state(error)
        if state == "53100":
            return "has no room left"
        # No state: the connection broke, or there was none. 08, 57P: the server says so itself.
        gone = not state or state.startswith(("08", "57P", "53300", "55000"))
        return "does not answer" if gone else super().trouble(error)


def _state(error: Exception) -> str:
    """SQLSTATE; empty where the server has said nothing."""
    return getattr(error.__cause__, "sqlstate", None) or ""
