"""MariaDB and MySQL: row-level triggers of built-in functions only.

Foreign keys are checked row by row there, and can't be deferred. So they are not checked while a page is applied: the
applier writes no reference to a row that is not there, takes no row to which another one refers, and holds those on
which it relies.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction

from handleref_sync.capture.base import CAPTURE, LOCAL, PREFIX, STAMP, Captured, Vendor, kind_of
from handleref_sync.models.fields import binary_collation
from handleref_sync.registry import Replicated

VARIABLE = "@handleref_sync_applying"
BY_PK = "FORCE INDEX (PRIMARY)"
"""Where most of a table is asked for, the optimizer would else read all of it, and wait for rows that others hold."""
LOCK_TIMEOUT, DEADLOCK, NOWAIT, CHANGED, NO_NUMBER = 1205, 1213, 3572, 1020, 1467
REFUSED = {1054, 1264, 1265, 1292, 1366, 1406, 3140, 4025}
"""A number out of range, a text too long or not of the character set, NaN, what is no JSON, a CHECK that fails."""


class MySQL(Vendor):
    # Not NOW(): it is in the session's time zone, in which an hour of the year comes twice.
    patience = 1
    """Seconds that a statement of the applier waits for a row which the application holds."""
    now_sql = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000 << 16)"

    def columns_of(self, tables: Sequence[str]) -> dict[str, set[str]]:
        where, params = self.among("table_name", tables)
        asked = _as_asked(tables)
        found: dict[str, set[str]] = {}
        for table, name in self.rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
            f"AND {where}",
            params,
        ):
            found.setdefault(asked(table), set()).add(name)
        return found

    def triggers(self, model: Replicated, columns: Sequence[str]) -> dict[str, str]:
        q, pk = self.quote, self.quote(model.pk_column)

        def other(column: str) -> str:
            # BINARY: by its collation a column would call 'bob' and 'BOB' the same, and the change would be lost.
            return f"NOT (BINARY OLD.{column} <=> BINARY NEW.{column})"

        differs = " OR ".join(other(q(c)) for c in columns) or "FALSE"
        moved = other(pk)
        if model.identity == "ends":
            moved = f"{moved} OR {differs}"  # a membership with other ends is another record
        changed = ", ".join(f"IF({other(q(c))}, '{name},', '')" for c, name in model.tracked(columns))

        def note(op: str, row: str) -> str:
            fields = f"CONCAT({changed})" if op == "U" and changed else "NULL"
            return (
                f"INSERT INTO {CAPTURE} (model, pk, op, timestamp, fields) "
                f"VALUES ({model.id}, {self.text_pk(f'{row}.{pk}')}, '{op}', {self.now_sql}, {fields});"
            )

        bodies = {
            "ins": note("I", "NEW"),
            "upd": (
                f"IF {moved} THEN {note('D', 'OLD')} {note('I', 'NEW')} "
                f"ELSEIF {differs} THEN {note('U', 'NEW')} END IF;"
            ),
            "del": note("D", "OLD"),
        }
        return {
            self._name(model.table, kind): f"IF {VARIABLE} IS NULL THEN {body} END IF"
            for kind, body in bodies.items()
        }

    EVENTS = {"ins": "INSERT", "upd": "UPDATE", "del": "DELETE"}  # noqa: RUF012

    @staticmethod
    def _name(table: str, kind: str) -> str:
        # Names have at most 64 characters: long ones are told apart by a digest.
        return f"{PREFIX}_{kind}_{hashlib.sha256(table.encode()).hexdigest()[:16]}"

    def present_on(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        where, params = self.among("event_object_table", tables)
        asked = _as_asked(tables)
        found: dict[str, dict[str, str]] = {}
        for table, name, body in self.rows(
            "SELECT event_object_table, trigger_name, action_statement FROM information_schema.triggers "
            f"WHERE event_object_schema = DATABASE() AND {where} AND trigger_name LIKE %s",
            [*params, f"{PREFIX}\\_%"],
        ):
            found.setdefault(asked(table), {})[str(name)] = _text(body)
        return found

    def create_trigger(self, table: str, name: str, sql: str) -> None:
        event = self.EVENTS[kind_of(name)]
        self.execute(f"CREATE TRIGGER {self.quote(name)} AFTER {event} ON {self.quote(table)} FOR EACH ROW {sql}")

    def place(self) -> str:
        return ":".join(map(_text, self.rows("SELECT @@hostname, @@port, @@datadir, DATABASE()")[0]))

    def sequence_lock(self) -> None:
        self.rows(f"SELECT id FROM {LOCAL} FOR UPDATE")

    @contextmanager
    def applying(self) -> Iterator[None]:
        # All of it belongs to the session and outlives a rollback, so it is taken back whatever happens.
        # The wait is for a unique value that an open transaction has inserted, say: unless set otherwise it is 50 s.
        wait = "innodb_lock_wait_timeout"
        self.execute(
            f"SET {VARIABLE} = 1, foreign_key_checks = 0, {VARIABLE}_wait = @@{wait}, {wait} = {self.patience}"
        )
        try:
            yield
        finally:
            self.execute(f"SET {VARIABLE} = NULL, foreign_key_checks = 1, {wait} = {VARIABLE}_wait")

    def hurry(self) -> None:
        self.patience = 0 if self.connection.mysql_is_mariadb else 1

    def read_committed(self) -> None:
        self.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        # Before the transaction begins, which is with its first statement.
        connection = self.connection
        if not connection.in_atomic_block:
            connection.ensure_connection()
        with super().snapshot():
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    def text_pk(self, column: str) -> str:
        return f"CAST({column} AS CHAR CHARACTER SET utf8mb4) COLLATE {binary_collation(self.connection)}"

    def updated_timestamp(self, column: str) -> str:
        ms = f"GREATEST(0, COALESCE(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) DIV 1000, 0))"
        return f"LEAST({ms} << 16, {self.now_sql})"

    def hazards(self, models: Sequence[Replicated]) -> list[str]:
        found, tables = [], [model.table for model in models]
        among, names = self.among("table_name", tables)
        (mode,) = self.rows("SELECT @@sql_mode")[0]
        if not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"} & set(str(mode).split(",")):
            found.append("sql_mode is not strict, so that a value that does not fit is cut instead of refused")
        narrow = self.rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND "
            f"{among} AND character_set_name IS NOT NULL AND character_set_name NOT IN ('utf8mb4', 'binary') "
            "ORDER BY 1, 2",
            names,
        )
        found += [f"{table}.{column} is not utf8mb4, and can't hold every character" for table, column in narrow]
        cascades = self.rows(
            "SELECT constraint_name, table_name, delete_rule, update_rule FROM "
            f"information_schema.referential_constraints WHERE constraint_schema = DATABASE() AND {among} AND "
            "(delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', 'NO ACTION'))",
            names,
        )
        found += [
            f"the constraint {name} of {table} (ON DELETE {deletion}, ON UPDATE {change}) changes rows, "
            "and no trigger sees it"
            for name, table, deletion, change in cascades
        ]
        return found

    def allocate_pks(self, model: Replicated, count: int) -> list[int]:
        # Nobody else has them yet. Should the application get one all the same before it is used here, its row is
        # there first, and the change is tried again with another.
        table, pk = self.quote(model.table), self.quote(model.pk_column)
        highest = self.rows(
            f"SELECT GREATEST(COALESCE((SELECT MAX({pk}) FROM {table}), 0), COALESCE((SELECT MAX(CAST(pk AS SIGNED)) "
            f"FROM {CAPTURE} WHERE model = {model.id}), 0), COALESCE((SELECT MAX(CAST(pk AS SIGNED)) FROM {STAMP} "
            f"WHERE model_id = {model.id}), 0), COALESCE((SELECT auto_increment - 1 FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = %s), 0))",
            [model.table],
        )[0][0]
        return list(range(int(highest) + 1, int(highest) + 1 + count))

    def keeps(self, value: Any) -> bool:
        if isinstance(value, float):
            return math.isfinite(value)
        return value.is_finite() if isinstance(value, Decimal) else True

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        if not values:
            return "FALSE", []
        return f"{column} IN ({', '.join(['%s'] * len(values))})", [_plain(value) for value in values]

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        super().insert_rows(table, columns, [tuple(map(_plain, row)) for row in rows])

    def update_rows(self, table: str, pk_column: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        return super().update_rows(table, pk_column, columns, [tuple(map(_plain, row)) for row in rows])

    def take_captures(
        self, limit: int, models: Sequence[int] | None = None, pks: Sequence[str] | None = None
    ) -> list[Captured]:
        # In two steps: a DELETE by anything but the primary key waits for what open transactions have inserted. So
        # does one by a list of keys that are most of the table: it is read as a whole then, whatever a hint says.
        where, params = ("TRUE", list[Any]()) if models is None else self.among("model", models)
        if pks is not None:
            rows, texts = self.among("pk", pks)
            where, params = f"{where} AND {rows}", [*params, *texts]
        names = ", ".join(Captured._fields)
        last = "" if pks is not None else f" LIMIT {int(limit)}"
        found = self.rows(
            f"SELECT {names} FROM {CAPTURE} WHERE {where} ORDER BY id{last} FOR UPDATE SKIP LOCKED", params
        )
        for start in range(0, len(found), 1000):
            ids = [row[0] for row in found[start : start + 1000]]
            self.execute(
                f"DELETE c FROM JSON_TABLE(%s, '$[*]' COLUMNS (id BIGINT PATH '$')) d "
                f"STRAIGHT_JOIN {CAPTURE} c ON c.id = d.id",
                [json.dumps(ids)],
            )
        return [Captured(*row) for row in found]

    def deletes_alone(self, table: str) -> bool:
        return True  # nothing cascades while foreign keys are not checked

    def lock_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> list[Any]:
        busy: list[Any] = []
        table, pk = self.quote(table), self.quote(pk_column)
        for start in range(0, len(pks), 2000):
            chunk = list(pks[start : start + 2000])
            where, params = self.among(pk, chunk)
            select = f"SELECT {pk} FROM {table} {BY_PK} WHERE {where}"
            patience = f"WAIT {self.patience}" if self.connection.mysql_is_mariadb else "NOWAIT"
            try:
                with transaction.atomic(using=self.connection.alias):
                    self.rows(f"{select} ORDER BY {pk} FOR UPDATE {patience}", params)
            except OperationalError as error:
                if not self.waited_too_long(error):
                    raise
                free = {row[0] for row in self.rows(f"{select} FOR UPDATE SKIP LOCKED", params)}
                there = {row[0] for row in self.rows(select, params)}
                texts = {str(value) for value in there - free}
                busy += [value for value in chunk if str(value) in texts]
        return busy

    def hold_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> None:
        for start in range(0, len(pks), 2000):
            where, params = self.among(self.quote(pk_column), pks[start : start + 2000])
            # `applying` bounds the wait.
            self.rows(f"SELECT 1 FROM {self.quote(table)} {BY_PK} WHERE {where} LOCK IN SHARE MODE", params)

    def waited_too_long(self, error: Exception) -> bool:
        return _number(error) in (LOCK_TIMEOUT, NOWAIT)

    def lost_transaction(self, error: Exception) -> bool:
        return _number(error) in (DEADLOCK, LOCK_TIMEOUT, NOWAIT, CHANGED, NO_NUMBER)

    def trouble(self, error: Exception) -> str:
        number = _number(error)
        if number in (1021, 1114):
            return "has no room left"
        # 0 is what a driver says of a connection that is closed.
        gone = number in (0, 1040, 1053, 1927) or 2000 <= number < 3000
        return "does not answer" if gone else super().trouble(error)

    def lacks_column(self, error: Exception) -> bool:
        return _number(error) == 1054  # in a write it is a NaN, which has no literal here

    def refused(self, error: Exception) -> bool:
        return _number(error) in REFUSED

    def dangling(self, error: Exception) -> bool:
        return _number(error) in (1216, 1452)

    def taken(self, error: Exception) -> bool:
        return _number(error) in (1062, 1169, 1586)


def _number(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _as_asked(tables: Sequence[str]) -> Callable[[str], str]:
    """The name under which a table was asked for; the server may have it in lower case."""
    known = {table.lower(): table for table in tables} | {table: table for table in tables}
    return lambda name: known.get(name) or known[name.lower()]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
