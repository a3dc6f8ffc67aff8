"""With which rows of this database a parked change collides, for a person."""

from __future__ import annotations

from typing import Any

from handleref_sync.models import Parked
from handleref_sync.replication.collisions import colliding
from handleref_sync.replication.conflicts import find
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.values import Unfit
from handleref_sync.replication.versions import change_of, key_of
from handleref_sync.replication.words import text


def clashes(ledger: Ledger, parked: Parked) -> list[dict[str, Any]]:
    """Each row that has unique values of `parked` now: ``values`` by field, its ``pk``, and its ``key``."""
    model = ledger.models.get(parked.model)
    if parked.reason != Parked.Reason.UNIQUE or model is None or parked.data is None:
        return []
    change = change_of(ledger, parked)
    content = Content(ledger, model)
    travelled = zip((model.aliases.get(name, name) for name in change.fields), change.values or (), strict=True)
    given = {name: value for name, value in travelled if name in content.columns}
    try:
        found = colliding(ledger, content, tuple(given), tuple(given.values()))
    except Unfit:  # a parent is gone by now
        return []
    own = find(ledger, content, parked.key)
    if own is not None:
        found.pop(str(own.pk_text), None)
    stamps, names = ledger.stamps_of(model, found), {column.field.name: column.name for column in model.columns}
    return [
        {
            "values": {name: given[names[name]] for unique in uniques for name in unique.fields if name in names},
            "pk": pk,
            "key": key_of(ledger, stamps[pk]) if pk in stamps else None,
        }
        for pk, uniques in sorted(found.items())
    ]


def in_words(parked: Parked, found: list[dict[str, Any]]) -> str:
    """What `clashes` has found, as a sentence a row."""
    sentences = []
    for clash in found:
        values = ", ".join(f"{name}={text(value)}" for name, value in clash["values"].items())
        record = f" ({clash['key']})" if clash["key"] not in (None, clash["pk"]) else ""
        sentences.append(f"{values} is taken by the {parked.model} with primary key {clash['pk']}{record}")
    return "; ".join(sentences)
