"""The conflict log: what lost, kept so that it can be written back.

The invariant: an entry is a pure function of the version that lost. Whoever finds the same conflict, on whatever node
and in whatever order, writes the same entry, so entries never conflict; their two flags unite by OR.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import DataError, IntegrityError

from handleref_sync import versioning, wire
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record
from handleref_sync.core.join import Lost
from handleref_sync.core.version_vector import Dot
from handleref_sync.exceptions import ConfigurationError, MalformedBody, SyncError
from handleref_sync.models import Capture, Conflict, Stamp
from handleref_sync.registry import Replicated
from handleref_sync.replication.advice import way_back
from handleref_sync.replication.content import Content, Parents
from handleref_sync.replication.ledger import Ledger, locked
from handleref_sync.replication.stamping import pk_text
from handleref_sync.replication.values import Unfit

LABEL = Conflict._meta.label_lower
FLAGS = ("restored", "dismissed")


class Gone(Unfit):
    """A record that is referred to is not here."""

    def __init__(self, record: Record) -> None:
        super().__init__(f"the {record.model} {record.key} that it refers to is not here")
        self.record = record


def entry_id(record: Record, dot: Dot, aspect: str = "") -> str:
    """The key of the entry for the version `dot` of `record`, or for a part of it: 160 bits of a digest."""
    return wire.digest([record.model, record.key, str(dot), *([aspect] if aspect else [])])[:40]


def entry(lost: Lost) -> Conflict:
    """The entry for a version, or a part of one, that lost."""
    loser = lost.change
    data = None
    if loser.values is not None:
        data = wire.pack({"fields": list(loser.fields), "values": list(loser.values)})
    dot = loser.version.dot
    return Conflict(
        id=entry_id(loser.record, dot, lost.aspect),
        aspect=lost.aspect,
        model=loser.record.model,
        key=loser.record.key,
        node=dot.node,
        counter=dot.counter,
        timestamp=loser.version.timestamp,
        data=data,
    )


def other_content(change: Change) -> Lost:
    """What `change` says under a dot under which something else is known: an entry beside that of the dot itself."""
    values = None if change.deleted else {name: value for name, (_, value) in sorted(change.content.items())}
    fields = () if values is None else tuple(values)
    whole = Change(change.record, change.version, fields, None if values is None else tuple(values.values()))
    return Lost(whole, f"={wire.digest(values)[:16]}")


def log(ledger: Ledger, losers: Sequence[Lost]) -> list[str]:
    """Log `losers`, those that are not logged yet; returns the IDs of their entries. Triggers must be silent.

    Takes sequences for them at once: the caller stamps the winners afterwards, so that whoever learns from a united
    clock that the loser is known has met the loser before.
    """
    entries = {e.id: e for e in map(entry, losers)}
    model = ledger.models[LABEL]
    known = Stamp.objects.using(ledger.using).filter(model=model.id, pk_text__in=entries)
    for pk in known.values_list("pk_text", flat=True):
        del entries[str(pk)]
    if not entries:
        return []
    Conflict.objects.using(ledger.using).bulk_create(entries.values())
    first = ledger.take(len(entries))
    Stamp.objects.using(ledger.using).bulk_create(
        Stamp(
            model_id=model.id,
            pk_text=e.id,
            node_id=ledger.local.incarnation_id,
            counter=sequence,
            timestamp=e.timestamp,
            sequence=sequence,
        )
        for sequence, e in enumerate(entries.values(), first)
    )
    ledger.wrote(ledger.local.sequence)
    return list(entries)


def lost_values(data: Any) -> dict[str, Any] | None:
    """By field, what an entry's loser had, in wire form; None for a deletion. Raises Unfit for what is neither."""
    if data is None:
        return None
    try:
        content = wire.unpack_message(bytes(data) if isinstance(data, memoryview) else data)
        fields, values = content["fields"], content["values"]
    except (MalformedBody, KeyError, TypeError) as error:
        raise Unfit(f"the data of the entry can't be read ({error})") from error
    if not (isinstance(fields, list) and isinstance(values, list) and all(isinstance(name, str) for name in fields)):
        raise Unfit("the data of the entry is of another shape")
    if len(fields) != len(values):
        raise Unfit("the data of the entry has not as many values as fields")
    return dict(zip(fields, values, strict=True))


def restore(using: str, conflict_id: str) -> Conflict:
    """Write the loser back as a new write, which replicates like any other.

    Raises ConfigurationError where there is no such entry or its model is not replicated here, or the row can't be
    written as it was (a parent is gone, a value is taken).
    """
    try:
        with locked(using) as ledger:
            return _restore(ledger, conflict_id)
    except Gone as error:
        ledger = Ledger(using)
        stamp = find(ledger, Content(ledger, ledger.models[error.record.model]), error.record.key)
        raise ConfigurationError(
            f"The loser can't be written back: {error}.", hint=way_back(ledger, error.record, stamp)
        ) from error
    except (Unfit, KeyError) as error:
        raise ConfigurationError(
            f"The loser can't be written back: {error}.",
            hint="Make the row again by hand: sync_conflicts --json shows its values.",
        ) from error
    except (IntegrityError, DataError, OverflowError, ValueError) as error:
        raise ConfigurationError(
            f"The loser can't be written back: {str(error).strip()}.",
            hint="Change the record that has its value now, or restore what it refers to.",
        ) from error


def _restore(ledger: Ledger, conflict_id: str) -> Conflict:
    using = ledger.using
    found = list(Conflict.objects.using(using).filter(id__startswith=conflict_id)[:2]) if conflict_id else []
    if len(found) != 1:
        raise ConfigurationError(
            f"{'More than one' if found else 'No'} conflict has an ID that begins with {conflict_id!r}.",
            hint="sync_conflicts lists them.",
        )
    conflict = found[0]
    model = ledger.models.get(conflict.model)
    if model is None:
        raise ConfigurationError(f"{conflict.model} is not replicated here.", hint="Name it in MODELS again.")
    content = Content(ledger, model)
    if conflict.restored and _is_back(ledger, content, conflict):
        raise ConfigurationError(
            f"{conflict.model} {conflict.key} is restored already.", hint=f"It is as {conflict.node} had written it."
        )
    _write_back(ledger, content, Record(conflict.model, conflict.key), conflict)
    _note(ledger, content, conflict)
    # A captured write too, so that it replicates: elsewhere nobody restores the same loser a second time.
    conflict.restored = True
    conflict.save(using=using, update_fields=["restored"])
    return conflict


def _is_back(ledger: Ledger, content: Content, conflict: Conflict) -> bool:
    """Whether the row is as the loser has it. One that was changed since it was restored may be so again."""
    text = _pk_of_row(ledger, content, Record(conflict.model, conflict.key), find(ledger, content, conflict.key))
    if conflict.data is None or text is None:
        return conflict.data is None and text is None
    data, aliases = wire.unpack_message(bytes(conflict.data)), content.model.aliases
    row = content.read([text], under_lock=False).get(text)
    fields = [aliases.get(name, name) for name in data["fields"]]
    return row is not None and content.same(fields, data["values"], dict(zip(content.fields, row, strict=True)))


def _write_back(ledger: Ledger, content: Content, record: Record, conflict: Conflict) -> None:
    """An ordinary write, which the triggers see.

    Nothing is stamped here, not even what waits for it: a database that was restored from a backup has to hear from
    a peer first which dots it has used already.
    """
    model, vendor = content.model, ledger.vendor
    stamp = find(ledger, content, record.key)
    text = _pk_of_row(ledger, content, record, stamp)
    if conflict.data is None:
        if text is not None:
            model.model._base_manager.using(ledger.using).filter(pk=text).delete()
        return
    lost = lost_values(conflict.data) or {}
    fields, values = [model.aliases.get(name, name) for name in lost], list(lost.values())
    parents = located(ledger, content, fields, values)
    prepared = content.prepare(fields, values, parents)
    columns = [content.columns[name].column for name in fields]
    if text is not None:
        vendor.update_rows(model.table, model.pk_column, columns, [[*prepared, content.db_pk(text)]])
        return
    if conflict.aspect.startswith("."):
        raise Unfit("it is one field of a record that is deleted here")
    rest, default = content.defaults(fields)
    if model.identity == "pk":
        pk = content.db_pk(content.pk_of_key(record.key)[1])
    elif model.parent is not None:
        pk = pk_of(ledger, model.parent, record.key)
        if stamp is not None:
            Stamp.objects.using(ledger.using).filter(pk=stamp.pk).update(pk_text=pk_text(model, pk, ledger))
    elif stamp is None:
        raise Unfit(f"{record} itself is not here yet")  # a new row would become another record
    else:
        pk = vendor.allocate_pks(model, 1)[0]
        # The record takes the new row's pk, so that the write is stamped as one of the same record.
        Stamp.objects.using(ledger.using).filter(pk=stamp.pk).update(pk_text=str(pk))
    vendor.insert_rows(model.table, [model.pk_column, *columns, *rest], [[pk, *prepared, *default()]])


def _pk_of_row(ledger: Ledger, content: Content, record: Record, stamp: Stamp | None) -> str | None:
    """The primary key of the record's row, as the capture table has it; None if it has no row now."""
    model = content.model
    if model.identity == "pk":
        text = content.pk_of_key(record.key)[1]
    elif stamp is None or stamp.pk_text is None:
        return None
    else:
        text = stamp.pk_text
        notes = Capture.objects.using(ledger.using).filter(model=model.id, pk_text=text)
        if model.identity != "origin" and notes.filter(op="D").exists():
            return None  # deleted, though not stamped so yet: a row that has the pk now may be another record
    return text if content.present([text]) else None


def _note(ledger: Ledger, content: Content, conflict: Conflict) -> None:
    """The history, where the model has one, shows what was restored like any other write of this node."""
    model = content.model.model
    if conflict.data is None or not versioning.registered(ledger.using, [m.model for m in ledger.models.values()]):
        return
    from handleref_sync.versioning.recording import record_write

    stamp = find(ledger, content, conflict.key)
    text = content.pk_of_key(conflict.key)[1] if stamp is None else stamp.pk_text
    comment = f"Restored from the conflict log: written by {conflict.node} at {moment(conflict.timestamp)}."
    record_write(ledger.using, model, content.model.pk.to_python(text), comment)


def find(ledger: Ledger, content: Content, key: str) -> Stamp | None:
    """The stamp of the record that has `key`."""
    stamps = Stamp.objects.using(ledger.using).filter(model=content.model.id)
    if content.model.identity == "pk":
        return stamps.filter(pk_text=content.pk_of_key(key)[1]).first()
    return stamps.filter(key=key).first()


def pk_of(ledger: Ledger, label: str, key: str) -> Any:
    """The primary key that the live record (label, key) has here. Raises Unfit if there is none."""
    content = Content(ledger, ledger.models[label])
    text = _pk_of_row(ledger, content, Record(label, key), find(ledger, content, key))
    if text is None:
        raise Gone(Record(label, key))
    return content.model.pk.to_python(text)


def located(ledger: Ledger, content: Content, fields: Sequence[str], values: Sequence[Any]) -> Parents:
    """Where the rows are to which these wire values refer. Raises Unfit if one is not here."""
    found: dict[tuple[str, ...], Any] = {p: pk_of(ledger, *p) for p in content.parents(fields, values)}
    for label, key, name in content.others(fields, values):
        rows = ledger.models[label].model._base_manager.using(ledger.using)
        found[label, key, name] = rows.values_list(name, flat=True).get(pk=found[label, key])
    return found


def describe(using: str, *, everything: bool = False) -> list[dict[str, Any]]:
    """The log for a person, newest loser first: what lost, against what, when, by which node.

    What it lost against is not kept but looked up: it is what is current now.
    """
    ledger = Ledger(using)
    log = Conflict.objects.using(using).order_by("-timestamp", "id")
    if not everything:
        log = log.filter(restored=False, dismissed=False)
    return [describe_one(ledger, conflict) for conflict in log]


def describe_one(ledger: Ledger, conflict: Conflict) -> dict[str, Any]:
    """One entry, as `describe` has it; of one that can not be read, such as an old node let in, what can be said."""
    try:
        return _describe(ledger, conflict, lost_values(conflict.data), ledger.models.get(conflict.model))
    except (Unfit, SyncError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        why = str(error) or type(error).__name__
        return {**_describe(ledger, conflict, {}, None), "lost": "unreadable", "why": why}


def _describe(
    ledger: Ledger, conflict: Conflict, lost: dict[str, Any] | None, model: Replicated | None
) -> dict[str, Any]:
    stamp = row = None
    if model is not None:
        content = Content(ledger, model)
        aliases, own = content.model.aliases, content.model.own_name
        lost = None if lost is None else {own(aliases.get(name, name)): value for name, value in lost.items()}
        stamp = find(ledger, content, conflict.key)
        if stamp is not None and not stamp.deleted:
            values = content.read([str(stamp.pk_text)], under_lock=False).get(str(stamp.pk_text))
            row = None if values is None else dict(zip(map(own, content.fields), values, strict=True))
    readable = stamp is None or not content.unreadable
    deleted_now = stamp is not None and not stamp.deleted and row is None and readable  # and not stamped so yet
    return {
        "id": conflict.id,
        "model": conflict.model,
        "key": conflict.key,
        "pk": stamp.pk_text if stamp else None,
        "node": conflict.node,
        "counter": conflict.counter,
        "written": moment(conflict.timestamp),
        "lost": "deletion" if lost is None else "content",
        "why": "",
        "won": None if stamp is None else "deletion" if stamp.deleted or deleted_now else "content",
        "against_node": ledger.node_name(stamp.node_id) if stamp and not deleted_now else None,
        "against_counter": stamp.counter if stamp and not deleted_now else None,
        "against_written": moment(stamp.timestamp) if stamp and not deleted_now else None,
        "values": lost,
        "against": row,
        "differs": {
            name: [value, row.get(name)]
            for name, value in (lost or {}).items()
            if row is not None and wire.pack(value) != wire.pack(row.get(name))
        },
        "restored": conflict.restored,
        "dismissed": conflict.dismissed,
    }


def moment(timestamp: int) -> str:
    """When a write was made, for a person: ISO 8601 with milliseconds, in UTC."""
    try:
        return datetime.fromtimestamp(hlc.milliseconds(timestamp) / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"timestamp {timestamp}"  # of no year that there is
