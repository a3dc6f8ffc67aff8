"""Rows that may have been removed without a trigger seeing it, as by REPLACE on SQLite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from handleref_sync.capture.base import Captured
from handleref_sync.models.ledger import REPLACED
from handleref_sync.replication.ledger import Ledger


def looked_up(ledger: Ledger, captures: Iterable[Captured]) -> list[Captured]:
    """The notes, in their order; one of a row that may be gone is one of its deletion, or none if it is there."""
    notes = list(captures)
    doubtful: dict[int, set[str]] = defaultdict(set)
    for note in notes:
        if note.op == REPLACED:
            doubtful[note.model].add(note.pk)
    if not doubtful:
        return notes
    from handleref_sync.replication.reading import Reader  # which needs what asks this

    there = {
        (number, pk)
        for number, pks in doubtful.items()
        for pk in Reader(ledger, ledger.by_number[number]).present(sorted(pks))
    }
    return [
        note._replace(op="D") if note.op == REPLACED else note
        for note in notes
        if note.op != REPLACED or (note.model, note.pk) not in there
    ]
