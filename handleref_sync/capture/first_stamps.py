"""The first stamps of many rows, made inside the database: nothing of a row passes through Python.

The invariant: the ledger is afterwards just as if each note had been folded into it one by one. So this takes only
notes for which that is plain to see, the oldest of all in a row, up to the first about a row that needs a closer
look: it has a stamp already, or was deleted since, or its key is neither its primary key nor the dot it gets now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.db import IntegrityError, transaction

from handleref_sync.capture.base import CAPTURE, STAMP, Vendor


class FirstStamps(NamedTuple):
    """What to stamp, and as what."""

    models: Sequence[int]
    """The models whose notes count; those of others stay where they are."""
    by_pk: Sequence[int]
    """Those of them whose records are known by the primary key."""
    by_dot: Sequence[int]
    """Those whose records are known by the dot of their first stamp."""
    node: int
    name: str
    """This node's incarnation: its number, and its name."""
    after: int
    """The last sequence that was given."""
    latest: int
    """A note with a later timestamp needs a closer look."""
    limit: int
    """So many notes are looked at."""

    def oldest(self) -> str:
        """SQL for the notes that are looked at."""
        return (
            f"SELECT id, model, pk, op, timestamp FROM {CAPTURE} WHERE model IN ({_numbers(self.models)}) "
            f"ORDER BY id LIMIT {self.limit}"
        )

    def other(self, notes: str) -> str:
        """SQL for the first of `notes` about a row of which one needs a closer look; NULL: none does."""
        models = _numbers([*self.by_pk, *self.by_dot])
        plain = f"op IN ('I', 'U') AND model IN ({models}) AND timestamp <= {self.latest}"
        stamped = f"EXISTS (SELECT 1 FROM {STAMP} s WHERE s.model_id = written.model AND s.pk = written.pk)"
        return (
            "SELECT min(first) FROM (SELECT model, pk, min(id) AS first, "
            f"max(CASE WHEN {plain} THEN 0 ELSE 1 END) AS closer FROM {notes} GROUP BY model, pk) written "
            f"WHERE closer = 1 OR {stamped}"
        )

    def unlike_inserts(self) -> str:
        """SQL for the number of the oldest notes, the last of them, and how many aren't of a row's insertion."""
        models = _numbers([*self.by_pk, *self.by_dot])
        inserted = f"op = 'I' AND model IN ({models}) AND timestamp <= {self.latest}"
        return f"SELECT count(*), max(id), coalesce(sum(NOT ({inserted})), 0) FROM ({self.oldest()}) notes"

    def insert(self, notes: str, *, one_a_row: bool = False) -> str:
        """SQL that makes the stamps from `notes`: one a row, numbered in the order of their last writes.

        `one_a_row`: there is only one note about each row, so that they need not be put together first.
        """
        # The name of a node has nothing in it that would have to be quoted: see `shape.NODE`.
        written = (
            f"SELECT model, pk, timestamp AS latest, row_number() OVER (ORDER BY timestamp, id) AS n FROM {notes}"
            if one_a_row
            else "SELECT model, pk, max(timestamp) AS latest, "
            f"row_number() OVER (ORDER BY max(timestamp), max(id)) AS n FROM {notes} GROUP BY model, pk"
        )
        sequence = f"{self.after} + n"
        key = f"CASE WHEN model IN ({_numbers(self.by_dot)}) THEN '{self.name}:' || ({sequence}) END"
        return (
            f"INSERT INTO {STAMP} (model_id, pk, key, node_id, counter, timestamp, deleted, sequence) "
            f"SELECT model, pk, {key}, {self.node}, {sequence}, latest, FALSE, {sequence} FROM ({written}) numbered"
        )


def in_steps(vendor: Vendor, wanted: FirstStamps) -> int:
    """Make the stamps where nobody else can write meanwhile; returns how many."""
    return _of_inserts(vendor, wanted) or _of_any(vendor, wanted)


def _of_inserts(vendor: Vendor, wanted: FirstStamps) -> int:
    """The same where all notes that are looked at are of rows just inserted, as after a bulk load; 0 where not.

    That no row has another note among them, or a stamp, is not looked up for each: a unique index says so anyway.
    """
    ((count, last, others),) = vendor.rows(wanted.unlike_inserts())
    if not count or others:
        return 0
    taken = f"{CAPTURE} WHERE model IN ({_numbers(wanted.models)}) AND id <= {last}"
    try:
        with transaction.atomic(using=vendor.connection.alias):
            made = vendor.changed(wanted.insert(taken, one_a_row=True))
            vendor.execute(f"DELETE FROM {taken}")
    except IntegrityError:
        return 0
    return made


def _of_any(vendor: Vendor, wanted: FirstStamps) -> int:
    ((last, other),) = vendor.rows(
        f"WITH notes AS MATERIALIZED ({wanted.oldest()}) "
        f"SELECT (SELECT max(id) FROM notes), ({wanted.other('notes')})"
    )
    end = (last or 0) if other is None else other - 1
    taken = f"{CAPTURE} WHERE model IN ({_numbers(wanted.models)}) AND id <= {end}"
    count = vendor.changed(wanted.insert(taken))
    if count:
        vendor.execute(f"DELETE FROM {taken}")
    return count


def at_once(vendor: Vendor, wanted: FirstStamps) -> int:
    """Make the stamps in one statement, which sees one state of what others commit meanwhile; returns how many."""
    return vendor.changed(
        f"WITH notes AS MATERIALIZED ({wanted.oldest()}), other (id) AS ({wanted.other('notes')}), "
        # An array and no join, so that it looks the notes up by their index, however many others there are.
        f"taken AS (DELETE FROM {CAPTURE} c WHERE c.id = ANY(ARRAY(SELECT notes.id FROM notes, other "
        "WHERE other.id IS NULL OR notes.id < other.id)) RETURNING c.id, c.model, c.pk, c.timestamp) "
        + wanted.insert("taken")
    )


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "NULL"
