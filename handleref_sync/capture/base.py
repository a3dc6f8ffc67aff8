"""What a database vendor must be able to do for us. Nothing outside this package knows which vendor it is.

The invariant: every committed write of a replicated column has a row in the capture table that was committed in
the same transaction, unless the applier made it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.registry import Replicated

CAPTURE = "handleref_sync_capture"
APPLYING = "handleref_sync_applying"
STAMP = "handleref_sync_stamp"
LOCAL = "handleref_sync_localnode"
PREFIX = "handleref_sync"


class Captured(NamedTuple):
    """One write that a trigger saw: `op` is I, U or D, `pk` the primary key as the database's text."""

    id: int
    model: int
    pk: str
    op: str
    timestamp: int


class Vendor(ABC):
    """SQL of one database vendor, over one Django connection."""

    now_sql: str
    """The wall clock as a timestamp: milliseconds since 1970, shifted by 16 bits."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)

    def rows(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return [tuple(row) for row in cursor.fetchall()]

    @abstractmethod
    def triggers(self, model: Replicated, columns: Sequence[str]) -> dict[str, str]:
        """Trigger name to the exact SQL that makes it, for the `columns` (of the table) to watch."""

    @abstractmethod
    def install(self, model: Replicated, columns: Sequence[str]) -> bool:
        """Make the triggers what they should be; returns whether they were not."""

    @abstractmethod
    def uninstall(self, table: str) -> None:
        """Take our triggers off `table`. No error if there are none."""

    @abstractmethod
    def installed(self, model: Replicated, columns: Sequence[str]) -> bool:
        """Whether the triggers in the database are exactly those that this version of the library makes."""

    @abstractmethod
    def sequence_lock(self) -> None:
        """Take the database's one sequence lock until the end of the transaction."""

    @abstractmethod
    def applying(self) -> AbstractContextManager[None]:
        """Silence the triggers for this transaction's own writes."""

    @abstractmethod
    def updated_timestamp(self, column: str) -> str:
        """SQL for the timestamp that an existing row gets from its ``updated`` column."""

    def text_pk(self, column: str) -> str:
        """SQL for a primary key as the capture table holds it."""
        return f"CAST({column} AS TEXT)"

    @abstractmethod
    def allocate_pks(self, table: str, pk_column: str, count: int) -> list[int]:
        """`count` primary keys that no row has and no other writer will get. Needs the sequence lock."""

    def bound_waits(self) -> None:  # noqa: B027 - not every database has something to do
        """Bound the time that this transaction waits for rows which the application holds."""

    def hurry(self) -> None:  # noqa: B027
        """Wait for locks hardly at all from here on: one was waited for in vain, and the sequence lock is held."""

    def read_committed(self) -> None:  # noqa: B027
        """At the very start of a transaction: see what is committed at each statement.

        With the snapshot of REPEATABLE READ, taken before the sequence lock is granted, it would be of no use.
        """

    def deletes_alone(self, table: str) -> bool:
        """Whether deleting a row of `table` leaves all other rows as they are, for the database's own part."""
        return False

    def lock_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> list[Any]:
        """Lock rows against writers until the end of the transaction; returns the pks that can't be had in time."""
        return []

    def defer_constraints(self) -> None:  # noqa: B027 - not every database has something to do
        """Check foreign keys not before `check_constraints`."""

    def check_constraints(self) -> None:  # noqa: B027 - not every database has something to do
        """Check now what was deferred: an error at COMMIT would take the whole page with it."""

    def waited_too_long(self, error: Exception) -> bool:
        """Whether `error` says that somebody else held a lock, or that there was a deadlock."""
        return False

    def dangling(self, error: Exception) -> bool:
        """Whether `error` says that a foreign key has no target."""
        return "FOREIGN KEY" in str(error)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert `rows`, each with a value for every column."""
        names = ", ".join(self.quote(c) for c in columns)
        marks = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self.quote(table)} ({names}) VALUES ({marks})", rows)

    def update_rows(self, table: str, pk_column: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        """Update rows by primary key, the last value of each; returns how many there were."""
        assignments = ", ".join(f"{self.quote(c)} = %s" for c in columns)
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.quote(table)} SET {assignments} WHERE {self.quote(pk_column)} = %s", rows
            )
            return int(cursor.rowcount)

    def select_rows(
        self, table: str, pk_column: str, columns: Sequence[str], pks: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        """Rows as the database has them, by primary key."""
        names = ", ".join(self.quote(c) for c in columns)
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(pks), 500):
            chunk = pks[start : start + 500]
            marks = ", ".join(["%s"] * len(chunk))
            found += self.rows(
                f"SELECT {names} FROM {self.quote(table)} WHERE {self.quote(pk_column)} IN ({marks})", chunk
            )
        return found

    def delete_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> None:
        """Delete rows by primary key."""
        for start in range(0, len(pks), 500):
            chunk = pks[start : start + 500]
            marks = ", ".join(["%s"] * len(chunk))
            self.execute(f"DELETE FROM {self.quote(table)} WHERE {self.quote(pk_column)} IN ({marks})", chunk)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One consistent view for all reads inside."""
        from django.db import transaction

        with transaction.atomic(using=self.connection.alias):
            yield

    def take_captures(self, limit: int, model: int | None = None, pks: Sequence[str] = ()) -> list[Captured]:
        """Remove and return the oldest `limit` writes that are committed, or those of some rows of one model.

        One DELETE with RETURNING: what commits meanwhile is neither returned nor removed.
        """
        if model is None:
            where = f"id IN (SELECT id FROM {CAPTURE} ORDER BY id LIMIT %s)"
            params: list[Any] = [limit]
        else:
            marks = ", ".join(["%s"] * len(pks))
            where, params = f"model = %s AND pk IN ({marks})", [model, *pks]
        found = self.rows(f"DELETE FROM {CAPTURE} WHERE {where} RETURNING id, model, pk, op, timestamp", params)
        return sorted(Captured(*row) for row in found)

    def capture_existing(self, model: Replicated) -> None:
        """Note as written every row that has neither a stamp nor a note, as on the day of installation."""
        pk = self.text_pk(f"t.{self.quote(model.pk_column)}")
        stamped = self.updated_timestamp(f"t.{self.quote(model.updated_column)}") if model.updated_column else "0"
        self.execute(
            f"INSERT INTO {CAPTURE} (model, pk, op, timestamp) SELECT {model.id}, {pk}, 'I', {stamped} "
            f"FROM {self.quote(model.table)} t WHERE NOT EXISTS (SELECT 1 FROM {STAMP} s WHERE s.model_id = "
            f"{model.id} AND s.pk = {pk} AND NOT s.deleted) AND NOT EXISTS (SELECT 1 FROM {CAPTURE} c "
            f"WHERE c.model = {model.id} AND c.pk = {pk})"
        )


def vendor_for(connection: Any) -> Vendor:
    """The vendor behind a Django connection. Raises ConfigurationError for one that isn't supported."""
    from handleref_sync.capture.postgresql import PostgreSQL
    from handleref_sync.capture.sqlite import SQLite

    known: dict[str, type[Vendor]] = {"sqlite": SQLite, "postgresql": PostgreSQL}
    if connection.vendor not in known:
        raise ConfigurationError(
            f"The database {connection.alias!r} is {connection.vendor}, which can't take part.",
            hint=f"Supported are {', '.join(sorted(known))}.",
        )
    return known[connection.vendor](connection)
