"""What a database vendor must be able to do for us. Nothing outside this package knows which vendor it is.

The invariant: every committed write of a replicated column has a row in the capture table that was committed in
the same transaction, unless the applier made it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.registry import Replicated

if TYPE_CHECKING:
    from handleref_sync.capture.first_stamps import FirstStamps

CAPTURE = "handleref_sync_capture"
APPLYING = "handleref_sync_applying"
STAMP = "handleref_sync_stamp"
LOCAL = "handleref_sync_localnode"
PREFIX = "handleref_sync"


class Captured(NamedTuple):
    """One write that a trigger saw: `op` is I, U, D or `REPLACED`, `pk` the primary key as text of the database."""

    id: int
    model: int
    pk: str
    op: str
    timestamp: int
    fields: str | None = None
    """Names of the fields that an update changed, with commas; None: it is not asked, or everything."""


def kind_of(name: str) -> str:
    """What a trigger of ours watches for, by its name: ``handleref_sync_ins_…`` for inserts."""
    return name.removeprefix(f"{PREFIX}_").partition("_")[0]


class Vendor(ABC):
    """SQL of one database vendor, over one Django connection."""

    now_sql: str
    """The wall clock as a timestamp: milliseconds since 1970, shifted by 16 bits."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._columns: dict[str, set[str]] = {}
        self._triggers: dict[str, dict[str, str]] = {}

    def quote(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)

    def changed(self, sql: str) -> int:
        """Execute, and how many rows that made, changed or removed."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def rows(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def look(self, tables: Sequence[str]) -> None:
        """Answer `columns` and `present` for these tables from one look at all of them, until `forget` or a change.

        For what goes through all tables, which may be hundreds: three queries instead of three for each.
        """
        self._columns = {table: set[str]() for table in tables} | self.columns_of(tables)
        self._triggers = {table: dict[str, str]() for table in tables} | self.present_on(tables)

    def forget(self, table: str) -> None:
        """Look at `table` anew from here on."""
        self._columns.pop(table, None)
        self._triggers.pop(table, None)

    def columns(self, table: str) -> set[str]:
        """The names of the columns of `table`; none if there is no such table."""
        if table in self._columns:
            return self._columns[table]
        return self.columns_of([table]).get(table, set())

    def present(self, table: str) -> dict[str, str]:
        """Our triggers on `table` as they are in the database, in the form that `triggers` gives."""
        if table in self._triggers:
            return self._triggers[table]
        return self.present_on([table]).get(table, {})

    @abstractmethod
    def columns_of(self, tables: Sequence[str]) -> dict[str, set[str]]:
        """The names of the columns of each of `tables` that there is.

        One small query: Django's introspection asks a dozen, and this is asked of each table around each migration.
        """

    @abstractmethod
    def present_on(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """Our triggers on each of `tables` that has some, in the form that `triggers` gives."""

    def filled(self, tables: Sequence[str]) -> set[str]:
        """Those of `tables`, all of which there are, that have a row."""
        found: set[str] = set()
        for start in range(0, len(tables), 200):  # SQLite takes 500 parts of a query
            found |= {
                tables[number]
                for (number,) in self.rows(
                    " UNION ALL ".join(
                        f"SELECT {number} FROM (SELECT 1 AS one) x WHERE EXISTS (SELECT 1 FROM {self.quote(table)})"
                        for number, table in enumerate(tables[start : start + 200], start)
                    )
                )
            }
        return found

    @abstractmethod
    def triggers(self, model: Replicated, columns: Sequence[str]) -> dict[str, str]:
        """Trigger name to the exact SQL that makes it, for the `columns` (of the table) to watch."""

    def install(self, model: Replicated, columns: Sequence[str]) -> bool:
        """Make the triggers what they should be; returns whether they were not."""
        if self.installed(model, columns):
            return False
        self.uninstall(model.table)
        self.forget(model.table)
        for name, sql in self.triggers(model, columns).items():
            self.create_trigger(model.table, name, sql)
        return True

    @abstractmethod
    def create_trigger(self, table: str, name: str, sql: str) -> None:
        """Put one of `triggers` on `table`."""

    def uninstall(self, table: str) -> None:
        """Take our triggers off `table`. No error if there are none."""
        for name in self.present(table):
            self.execute(f"DROP TRIGGER IF EXISTS {self.quote(name)}")

    def installed(self, model: Replicated, columns: Sequence[str]) -> bool:
        """Whether the triggers in the database are exactly those that this version of the library makes."""
        return self.present(model.table) == self.triggers(model, columns)

    def watched(self, model: Replicated, columns: Sequence[str]) -> bool:
        """Whether the table has a trigger of ours for each kind of write, be it an outdated one."""
        return set(self.triggers(model, columns)) <= set(self.present(model.table))

    @abstractmethod
    def place(self) -> str:
        """Where this database is, such that a copy or a restored backup of it is elsewhere. Empty: unknown."""

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

    def hazards(self, models: Sequence[Replicated]) -> list[str]:
        """What in this database would change rows unseen or values without a word, a sentence each."""
        return []

    @abstractmethod
    def allocate_pks(self, model: Replicated, count: int) -> list[int]:
        """`count` primary keys that no row, stamp or note has and no other writer will get. Needs the sequence lock.

        A note of a row that came and went would else be taken for one about the row that gets the key now.
        """

    def move_on(self, model: Replicated) -> None:  # noqa: B027 - most databases do it by themselves
        """Let the database's own numbering of primary keys go on behind the highest that was inserted by hand."""

    def keeps(self, value: Any) -> bool:
        """Whether the database gives back a wire value just as it got it, or refuses it.

        One that it would change without a word must not be written: under the dot of its author it would be another
        content, and the next write here would carry it back to where the right value still is.
        """
        return True

    def moments(self, values: Sequence[datetime]) -> Sequence[Any]:
        """Aware times as the database driver takes them."""
        return list(map(self.connection.ops.adapt_datetimefield_value, values))

    def bound_waits(self) -> None:  # noqa: B027 - not every database has something to do
        """Bound the time that this transaction waits for rows which the application holds."""

    def hurry(self) -> None:  # noqa: B027
        """Wait for locks hardly at all from here on: one was waited for in vain, and the sequence lock is held."""

    def bound_turn(self) -> None:  # noqa: B027
        """Bound the wait for the sequence lock, should whoever has it hang."""

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

    def lacks_column(self, error: Exception) -> bool:
        """Whether `error`, if `refused` takes it for one about a value, says of a query that a column is missing."""
        return False

    def refused(self, error: Exception) -> bool:
        """Whether `error`, which the driver takes for one of operation, is about a value: one that it won't store, or
        can't read.
        """
        return False

    def lost_transaction(self, error: Exception) -> bool:
        """Whether the transaction failed because of another one, so that it may go through if it is tried again."""
        return False

    def trouble(self, error: Exception) -> str:
        """What the database can't do according to `error`, for a person: "is locked", "has no room left" or so."""
        return "is locked by another program" if self.lost_transaction(error) else "failed"

    def hold_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> None:  # noqa: B027
        """Keep rows that others are to refer to from being deleted until the end of the transaction.

        Needed only where foreign keys are not checked at its end.
        """

    def dangling(self, error: Exception) -> bool:
        """Whether `error` says that a foreign key has no target."""
        return "FOREIGN KEY" in str(error)

    @abstractmethod
    def taken(self, error: Exception) -> bool:
        """Whether `error` says that another row has a value that has to be unique."""

    @abstractmethod
    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """SQL that is true where `column` is one of `values`, all of its type, and the parameters of that SQL.

        As few parameters as can be, however many values there are: a page has thousands.
        """

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
        if not pks:
            return []
        # With the table before it: SQLite takes a quoted name that no column has for a text, and not for an error.
        names = ", ".join(f"t.{self.quote(c)}" for c in columns)
        where, params = self.among(self.quote(pk_column), pks)
        return self.rows(f"SELECT {names} FROM {self.quote(table)} t WHERE {where}", params)

    def present_texts(self, table: str, pk_column: str, pks: Sequence[str]) -> set[str]:
        """Which primary keys, as the capture table holds them, have a row, though their field would not take them."""
        text = self.text_pk(self.quote(pk_column))
        where, params = self.among(text, pks)
        return {str(pk) for (pk,) in self.rows(f"SELECT {text} FROM {self.quote(table)} WHERE {where}", params)}

    def delete_rows(self, table: str, pk_column: str, pks: Sequence[Any]) -> None:
        """Delete rows by primary key."""
        if pks:
            where, params = self.among(self.quote(pk_column), pks)
            self.execute(f"DELETE FROM {self.quote(table)} WHERE {where}", params)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One consistent view for all reads inside."""
        from django.db import transaction

        with transaction.atomic(using=self.connection.alias):
            yield

    def take_captures(
        self, limit: int, models: Sequence[int] | None = None, pks: Sequence[str] | None = None
    ) -> list[Captured]:
        """Remove and return the oldest `limit` writes that are committed, those of `models`; or those of some rows.

        One DELETE with RETURNING: what commits meanwhile is neither returned nor removed. Notes about other models
        stay: one that is not named now may be named again.
        """
        where, params = ("1 = 1", []) if models is None else self.among("model", models)
        if pks is None:
            where, params = f"id IN (SELECT id FROM {CAPTURE} WHERE {where} ORDER BY id LIMIT %s)", [*params, limit]
        else:
            rows, texts = self.among("pk", pks)
            where, params = f"{where} AND {rows}", [*params, *texts]
        found = self.rows(
            f"DELETE FROM {CAPTURE} WHERE {where} RETURNING id, model, pk, op, timestamp, fields", params
        )
        return sorted(Captured(*row) for row in found)

    def stamp_first(self, wanted: FirstStamps) -> int:
        """Make the first stamps of the oldest notes inside the database; how many. 0 where it can't do that."""
        return 0

    def capture_existing(self, model: Replicated) -> None:
        """Note as written every row that has neither a stamp nor a note, as on the day of installation."""
        pk, stamped = self._of_rows(model)
        self.execute(
            f"INSERT INTO {CAPTURE} (model, pk, op, timestamp) SELECT {model.id}, {pk}, 'I', {stamped} "
            f"FROM {self.quote(model.table)} t WHERE NOT EXISTS (SELECT 1 FROM {STAMP} s WHERE s.model_id = "
            f"{model.id} AND s.pk = {pk} AND NOT s.deleted) AND NOT EXISTS (SELECT 1 FROM {CAPTURE} c "
            f"WHERE c.model = {model.id} AND c.pk = {pk})"
        )

    def capture_unseen(self, model: Replicated) -> None:
        """Note what may have happened to stamped rows while no trigger watched: they changed, or they are gone.

        Which of them did change nobody knows. One that did not is the same content under a new dot, which does no
        harm; one that did and had no new dot would differ between nodes for ever, or be refused as a dot with two
        contents.
        """
        pk, stamped = self._of_rows(model)
        table, live = self.quote(model.table), f"s.model_id = {model.id} AND NOT s.deleted"
        note = f"INSERT INTO {CAPTURE} (model, pk, op, timestamp) SELECT {model.id}"
        self.execute(f"{note}, s.pk, 'U', {stamped} FROM {table} t JOIN {STAMP} s ON s.pk = {pk} WHERE {live}")
        self.capture_gone(model)

    def capture_gone(self, model: Replicated) -> None:
        """Note the deletion of stamped rows that are not there."""
        pk, _ = self._of_rows(model)
        # EXCEPT, for there is no index over keys as text: NOT EXISTS would read the table once for each stamp.
        gone = (
            f"SELECT s.pk FROM {STAMP} s WHERE s.model_id = {model.id} AND NOT s.deleted "
            f"EXCEPT SELECT {pk} FROM {self.quote(model.table)} t"
        )
        self.execute(
            f"INSERT INTO {CAPTURE} (model, pk, op, timestamp) SELECT {model.id}, gone.pk, 'D', {self.now_sql} "
            f"FROM ({gone}) gone"
        )

    def _of_rows(self, model: Replicated) -> tuple[str, str]:
        """SQL for the primary key and the timestamp of a row of the table `t`."""
        stamped = self.updated_timestamp(f"t.{self.quote(model.updated_column)}") if model.updated_column else "0"
        return self.text_pk(f"t.{self.quote(model.pk_column)}"), stamped


def vendor_for(connection: Any) -> Vendor:
    """The vendor behind a Django connection. Raises ConfigurationError for one that isn't supported."""
    from handleref_sync.capture.mysql import MySQL
    from handleref_sync.capture.postgresql import PostgreSQL
    from handleref_sync.capture.sqlite import SQLite

    known: dict[str, type[Vendor]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MySQL}
    if connection.vendor not in known:
        raise ConfigurationError(
            f"The database {connection.alias!r} is {connection.vendor}, which can't take part.",
            hint=f"Supported are {', '.join(sorted(known))}.",
        )
    return known[connection.vendor](connection)
