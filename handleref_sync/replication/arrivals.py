"""Records that are new here, written by columns: the fast path beside `Writer`.

The invariant: what becomes of a change here is what a plan of its own would have made of it. A page of a first pull
has thousands of changes about which there is nothing to decide, and a plan and a stamp as objects cost more than the
database does. So the planner puts those apart whose records have no stamp here; the ones that refer to what is not
here, or have a value that does not fit, become plans after all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import compress

from handleref_sync.capture.base import STAMP
from handleref_sync.core.change import Change
from handleref_sync.replication import conflicts
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import COLUMNS, Ledger
from handleref_sync.replication.plan import Plan
from handleref_sync.replication.values import Unfit
from handleref_sync.replication.writing import Writer, children_first


def plain_models(ledger: Ledger, apart_from: Collection[str]) -> frozenset[str]:
    """The labels of the models whose new records may be put apart; not of those known by their content."""
    return frozenset(
        label
        for label, model in ledger.models.items()
        if model.identity in ("pk", "origin")
        and label != conflicts.LABEL
        and label not in apart_from
        and all(column.generic is None and column.to is None for column in model.columns)
    )


def write(writer: Writer, changes: Iterable[Change], leaving: Collection[str]) -> tuple[list[Change], list[Plan]]:
    """Write `changes` and their stamps; returns those written, parents first, and plans for the others.

    `leaving`: the models of which rows are to be deleted with them.
    """
    groups: dict[str, dict[tuple[str, ...], list[Change]]] = defaultdict(lambda: defaultdict(list))
    for change in changes:
        groups[change.record.model][change.fields].append(change)
    written: list[Change] = []
    plans: list[Plan] = []
    for label in reversed(children_first(writer.ledger.models, groups)):
        content = writer.planner.content(label)
        for fields, group in groups[label].items():
            if content.model.targets.isdisjoint(leaving):
                done, others = _write(writer, content, fields, group)
            else:
                done, others = [], group
            written += done
            plans += writer.planner.plans_of_new(content, others)
    return written, plans


def _write(
    writer: Writer, content: Content, fields: tuple[str, ...], changes: list[Change]
) -> tuple[list[Change], list[Change]]:
    model, others = content.model, list[Change]()
    if model.targets:
        parents = [content.parents(fields, change.values or ()) for change in changes]
        writer.locate({parent for some in parents for parent in some})
        changes, others = _parted(changes, [all(map(writer.located, some)) for some in parents])
    rows = writer.prepared(content, fields, [change.values or () for change in changes])
    fit = [row for row in rows if not isinstance(row, Unfit)]
    if len(fit) < len(rows):
        changes, unfit = _parted(changes, [not isinstance(row, Unfit) for row in rows])
        others += unfit
    if not changes:
        return [], others
    if model.identity == "pk":
        texts = [content.pk_of_key(change.record.key)[1] for change in changes]
        pks = list(map(content.db_pk, texts))
    else:
        pks = writer.vendor.allocate_pks(model, len(changes))
        texts = list(map(str, pks))
    writer.insert(content, fields, pks, fit)
    _stamp(writer.ledger, content, changes, texts)
    return changes, others


def _parted(changes: list[Change], good: list[bool]) -> tuple[list[Change], list[Change]]:
    """Those of `changes` that are good, and the others."""
    bad = [not one for one in good]
    return list(compress(changes, good)), list(compress(changes, bad))


def _stamp(ledger: Ledger, content: Content, changes: list[Change], texts: list[str]) -> None:
    """Write the stamps of new rows, whose primary keys the capture table would hold as `texts`."""
    number, keyed = content.model.id, content.model.identity != "pk"
    first = ledger.take(len(changes))
    rows = []
    for sequence, (change, text) in enumerate(zip(changes, texts, strict=True), first):
        dot, clock, timestamp = change.version
        known = None if clock.implied_by(dot) else str(clock)
        key = change.record.key if keyed else None
        node = ledger.node_number(dot.node)
        rows.append((number, text, node, dot.counter, known, timestamp, False, sequence, None, key))
    ledger.vendor.insert_rows(STAMP, COLUMNS, rows)
