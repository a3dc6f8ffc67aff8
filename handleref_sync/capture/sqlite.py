"""SQLite: row-level triggers of built-in functions only, so that the ``sqlite3`` shell can still write."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from types import MappingProxyType
from typing import Any

from handleref_sync.capture.base import APPLYING, CAPTURE, LOCAL, PREFIX, Vendor, kind_of
from handleref_sync.capture.first_stamps import FirstStamps, in_steps
from handleref_sync.capture.sqlite_indexes import Unique, unique_values
from handleref_sync.models.ledger import REPLACED
from handleref_sync.registry import Replicated

TOGETHER = 50
"""Rows of one INSERT."""


class SQLite(Vendor):
    now_sql = "(CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) << 16)"

    _uniques: Mapping[str, list[Unique]] = MappingProxyType({})

    def look(self, tables: Sequence[str]) -> None:
        super().look(tables)
        self._uniques = {table: list[Unique]() for table in tables} | unique_values(self, tables)

    def forget(self, table: str) -> None:
        super().forget(table)
        self._uniques = {name: found for name, found in self._uniques.items() if name != table}

    def columns_of(self, tables: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for table, name in self.rows(
            "SELECT t.value, x.name FROM json_each(%s) t JOIN pragma_table_xinfo(t.value) x",
            [json.dumps(list(tables))],
        ):
            found.setdefault(table, set()).add(name)
        return found

    def triggers(self, model: Replicated, columns: Sequence[str]) -> dict[str, str]:
        table, pk, q = self.quote(model.table), self.quote(model.pk_column), self.quote
        silent = f"NOT EXISTS (SELECT 1 FROM {APPLYING})"
        # COLLATE BINARY: a NOCASE column would call 'bob' and 'BOB' the same, and the change would be lost.
        differs = " OR ".join(f"OLD.{q(c)} IS NOT NEW.{q(c)} COLLATE BINARY" for c in columns) or "0"
        moved = f"OLD.{pk} IS NOT NEW.{pk} COLLATE BINARY"
        if model.identity == "ends":
            moved = f"{moved} OR {differs}"  # a membership with other ends is another record

        changed = " || ".join(
            f"CASE WHEN OLD.{q(c)} IS NOT NEW.{q(c)} COLLATE BINARY THEN '{name},' ELSE '' END"
            for c, name in model.tracked(columns)
        )

        def note(op: str, row: str, where: str = "") -> str:
            fields = changed if op == "U" and changed else "NULL"
            return (
                f"INSERT INTO {CAPTURE} (model, pk, op, timestamp, fields) "
                f"SELECT {model.id}, CAST({row}.{pk} AS TEXT), '{op}', {self.now_sql}, {fields}{where};"
            )

        bodies = {
            "ins": f"AFTER INSERT ON {table} WHEN {silent} BEGIN {note('I', 'NEW')} END",
            "upd": (
                f"AFTER UPDATE ON {table} WHEN {silent} AND ({moved} OR {differs}) BEGIN "
                f"{note('D', 'OLD', f' WHERE {moved}')} {note('I', 'NEW', f' WHERE {moved}')} "
                f"{note('U', 'NEW', f' WHERE NOT ({moved})')} END"
            ),
            "del": f"AFTER DELETE ON {table} WHEN {silent} BEGIN {note('D', 'OLD')} END",
        }
        bodies |= self._replacing(model, silent)
        names = {kind: f"{PREFIX}_{kind}_{model.table}" for kind in bodies}
        return {names[kind]: f"CREATE TRIGGER {q(names[kind])} {body}" for kind, body in bodies.items()}

    def _replacing(self, model: Replicated, silent: str) -> dict[str, str]:
        """REPLACE takes rows out that have a unique value of the new one, and fires no trigger for them.

        Before it does, they are there. They are noted as perhaps removed, for other statements spare such rows.
        """
        table, pk, q = self.quote(model.table), self.quote(model.pk_column), self.quote
        uniques = self._uniques.get(model.table)
        if uniques is None:
            uniques = unique_values(self, [model.table]).get(model.table)
        if not uniques:
            return {}

        def notes(row: str) -> str:
            return " ".join(
                f"INSERT INTO {CAPTURE} (model, pk, op, timestamp, fields) SELECT {model.id}, CAST(t.{pk} AS TEXT), "
                f"'{REPLACED}', {self.now_sql}, NULL FROM {table} t WHERE {same} AND t.{pk} IS NOT {row}.{pk};"
                for same, _ in uniques
            )

        named = sorted({column for _, columns in uniques for column in columns})
        other = " OR ".join(f"OLD.{q(c)} IS NOT NEW.{q(c)} COLLATE BINARY" for c in named)
        return {
            "rin": f"BEFORE INSERT ON {table} WHEN {silent} BEGIN {notes('NEW')} END",
            "rup": f"BEFORE UPDATE ON {table} WHEN {silent} AND ({other}) BEGIN {notes('OLD')} END",
        }

    def watched(self, model: Replicated, columns: Sequence[str]) -> bool:
        # Without those that an earlier version did not have: what they alone see is looked for by `capture_gone`.
        wanted = {name for name in self.triggers(model, columns) if kind_of(name) not in ("rin", "rup")}
        return wanted <= set(self.present(model.table))

    def present_on(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        where, params = self.among("tbl_name", tables)
        found: dict[str, dict[str, str]] = {}
        for table, name, sql in self.rows(
            f"SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger' AND {where} "
            "AND substr(name, 1, 15) = 'handleref_sync_'",
            params,
        ):
            found.setdefault(table, {})[name] = sql
        return found

    def create_trigger(self, table: str, name: str, sql: str) -> None:
        self.execute(sql)

    def place(self) -> str:
        name = str(self.connection.settings_dict["NAME"])
        if self.connection.is_in_memory_db():
            return ""
        return f"{_machine()}:{os.path.realpath(name)}"

    def sequence_lock(self) -> None:
        # A write, so that even a deferred transaction holds SQLite's one write lock from here on.
        self.execute(f"UPDATE {LOCAL} SET sequence = sequence")

    @contextmanager
    def applying(self) -> Iterator[None]:
        # Others can't see the row: it is inserted and deleted within one uncommitted transaction.
        self.execute(f"INSERT INTO {APPLYING} (id) VALUES (1)")
        yield
        self.execute(f"DELETE FROM {APPLYING}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        # Where transactions are IMMEDIATE, a mere reader would wait for the write lock, and hold it.
        mode = self.connection.transaction_mode
        self.connection.transaction_mode = "DEFERRED"
        try:
            with super().snapshot():
                yield
        finally:
            self.connection.transaction_mode = mode

    def updated_timestamp(self, column: str) -> str:
        ms = f"CAST((julianday({column}) - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)"
        return f"max(0, min(coalesce({ms}, 0) << 16, {self.now_sql}))"

    def allocate_pks(self, model: Replicated, count: int) -> list[int]:
        # The write lock is ours, so nobody else can take them. An insert with a pk moves AUTOINCREMENT's own mark.
        table = model.table
        highest = self.rows(
            f"SELECT max(coalesce((SELECT max({self.quote(model.pk_column)}) FROM {self.quote(table)}), 0), "
            f"coalesce((SELECT max(CAST(pk AS INTEGER)) FROM {CAPTURE} WHERE model = {model.id}), 0))"
        )[0][0]
        if self.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            mark = self.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = %s", [table])[0][0]
            highest = max(highest, mark)
        return list(range(highest + 1, highest + 1 + count))

    def keeps(self, value: Any) -> bool:
        # NaN becomes NULL. A decimal becomes a REAL, of which Django reads back as many digits as surely hold.
        if isinstance(value, float):
            return value == value
        if isinstance(value, Decimal):
            digits = "".join(map(str, value.as_tuple().digits)).strip("0")
            return value.is_finite() and len(digits) <= sys.float_info.dig
        return True

    def stamp_first(self, wanted: FirstStamps) -> int:
        return in_steps(self, wanted)  # the write lock is ours

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        # A statement that fires a trigger keeps copies of the pages that it changes, so that it can be undone alone.
        # Within a savepoint they stay until its end, and with a row at a time there are thousands: so many at once.
        many = max(1, min(TOGETHER, (self.connection.features.max_query_params or 999) // len(columns)))
        names = ", ".join(self.quote(c) for c in columns)
        row = f"({', '.join(['%s'] * len(columns))})"
        whole = len(rows) - len(rows) % many
        chunks = [list(chain.from_iterable(rows[start : start + many])) for start in range(0, whole, many)]
        with self.connection.cursor() as cursor:
            for count, params in ((many, chunks), (1, rows[whole:])):
                if params:
                    values = ", ".join([row] * count)
                    cursor.executemany(f"INSERT INTO {self.quote(table)} ({names}) VALUES {values}", params)

    def moments(self, values: Sequence[datetime]) -> Sequence[Any]:
        if self.connection.timezone is not UTC:
            return super().moments(values)
        adapt = self.connection.ops.adapt_datetimefield_value  # which asks three times whether it is aware
        return [str(value.replace(tzinfo=None)) if value.tzinfo is UTC else adapt(value) for value in values]

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        # As one JSON text, for parameters are limited. A NUL would end a text that comes out of JSON.
        others = [v for v in values if type(v) is not int and not (type(v) is str and "\0" not in v)]
        plain = json.dumps([v for v in values if v not in others] if others else list(values))
        sql = f"{column} IN (SELECT value FROM json_each(%s))"
        if others:
            sql = f"({sql} OR {column} IN ({', '.join(['%s'] * len(others))}))"
        return sql, [plain, *others]

    def lost_transaction(self, error: Exception) -> bool:
        return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def trouble(self, error: Exception) -> str:
        words = {
            sqlite3.SQLITE_FULL: "has no room left",
            sqlite3.SQLITE_READONLY: "can't be written",
            sqlite3.SQLITE_CANTOPEN: "can't be opened",
        }
        return words.get(_code(error)) or super().trouble(error)

    def taken(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlite_errorcode", 0) in (
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
            sqlite3.SQLITE_CONSTRAINT_ROWID,
        )

    def refused(self, error: Exception) -> bool:
        return "Could not decode to UTF-8" in str(error)

    def deletes_alone(self, table: str) -> bool:
        return not self.rows(
            "SELECT 1 FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' "
            "AND lower(f.\"table\") = lower(%s) AND f.on_delete NOT IN ('NO ACTION', 'RESTRICT')",
            [table],
        )


def _machine() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip() or socket.gethostname()
    except (OSError, UnicodeDecodeError):
        return socket.gethostname()


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 where the error is none of its."""
    return getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
