"""The conflict log: what lost, kept so that it can be written back.

The invariant: an entry is a pure function of the version that lost. Whoever finds the same conflict, on whatever node
and in whatever order, writes the same entry, so entries never conflict; their two flags unite by OR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError

from handleref_sync import wire
from handleref_sync.core import hlc
from handleref_sync.core.change import Change, Record
from handleref_sync.core.version_vector import Dot
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict, Stamp
from handleref_sync.replication.content import Content, Unfit
from handleref_sync.replication.ledger import Ledger, locked
from handleref_sync.replication.stamping import stamp_rows

LABEL = Conflict._meta.label_lower
FLAGS = ("restored", "dismissed")


def entry_id(record: Record, dot: Dot) -> str:
    """The key of the entry for the version `dot` of `record`: 160 bits of a digest."""
    return wire.digest([record.model, record.key, str(dot)])[:40]


def entry(loser: Change) -> Conflict:
    """The entry for a version that lost."""
    data = None
    if loser.values is not None:
        data = wire.pack({"fields": list(loser.fields), "values": list(loser.values)})
    dot = loser.version.dot
    return Conflict(
        id=entry_id(loser.record, dot),
        model=loser.record.model,
        key=loser.record.key,
        node=dot.node,
        counter=dot.counter,
        timestamp=loser.version.timestamp,
        data=data,
    )


def log(ledger: Ledger, losers: Sequence[Change]) -> int:
    """Log `losers`, those that are not logged yet; returns how many. Triggers must be silent.

    Takes sequences for them at once: the caller stamps the winners afterwards, so that whoever learns from a united
    clock that the loser is known has met the loser before.
    """
    entries = {e.id: e for e in map(entry, losers)}
    model = ledger.models[LABEL]
    known = Stamp.objects.using(ledger.using).filter(model=model.id, pk_text__in=entries)
    for pk in known.values_list("pk_text", flat=True):
        del entries[str(pk)]
    if not entries:
        return 0
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
    return len(entries)


def united(here: Mapping[str, Any], fields: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    """The content of an entry that has every flag which either version has."""
    return tuple(
        bool(value) or bool(here[name]) if name in FLAGS else value
        for name, value in zip(fields, values, strict=True)
    )


def restore(using: str, conflict_id: str) -> Conflict:
    """Write the loser back as a new write, which replicates like any other.

    Raises ConfigurationError where there is no such entry or its model is not replicated here, or the row can't be
    written as it was (a parent is gone, a value is taken).
    """
    try:
        with locked(using) as ledger:
            return _restore(ledger, conflict_id)
    except (Unfit, KeyError) as error:
        raise ConfigurationError(
            f"The loser can't be written back: {error}.", hint="Restore what it refers to first."
        ) from error
    except IntegrityError as error:
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
    _write_back(ledger, Content(ledger, model), Record(conflict.model, conflict.key), conflict)
    # A captured write too, so that it replicates: elsewhere nobody restores the same loser a second time.
    conflict.restored = True
    conflict.save(using=using, update_fields=["restored"])
    return conflict


def _write_back(ledger: Ledger, content: Content, record: Record, conflict: Conflict) -> None:
    """An ordinary write, which the triggers see."""
    model, vendor = content.model, ledger.vendor
    stamp = find(ledger, content, record.key)
    if stamp is not None and stamp.pk_text is not None:
        stamp_rows(ledger, model, [stamp.pk_text])
        stamp.refresh_from_db(using=ledger.using)
    live = stamp is not None and not stamp.deleted
    if conflict.data is None:
        if live and stamp is not None:
            model.model._base_manager.using(ledger.using).filter(pk=stamp.pk_text).delete()
        return
    data = wire.unpack_message(bytes(conflict.data))
    fields, values = data["fields"], data["values"]
    parents = {p: pk_of(ledger, *p) for p in content.parents(fields, values)}
    prepared = content.prepare(fields, values, parents)
    columns = [content.columns[name].column for name in fields]
    if live and stamp is not None:
        pk = model.pk.get_db_prep_value(model.pk.to_python(stamp.pk_text), vendor.connection)
        vendor.update_rows(model.table, model.pk_column, columns, [[*prepared, pk]])
        return
    rest, default = content.defaults(fields)
    if model.identity == "pk":
        pk = model.pk.get_db_prep_save(content.pk_of_key(record.key)[0], vendor.connection)
    else:
        pk = vendor.allocate_pks(model.table, model.pk_column, 1)[0]
        if stamp is not None:
            # The tombstone takes the new row's pk, so that the write is stamped as one of the same record.
            Stamp.objects.using(ledger.using).filter(pk=stamp.pk).update(pk_text=str(pk))
    vendor.insert_rows(model.table, [model.pk_column, *columns, *rest], [[pk, *prepared, *default()]])


def find(ledger: Ledger, content: Content, key: str) -> Stamp | None:
    """The stamp of the record that has `key`."""
    stamps = Stamp.objects.using(ledger.using).filter(model=content.model.id)
    if content.model.identity == "pk":
        return stamps.filter(pk_text=content.pk_of_key(key)[1]).first()
    return stamps.filter(key=key).first()


def pk_of(ledger: Ledger, label: str, key: str) -> Any:
    """The primary key that the live record (label, key) has here. Raises Unfit if there is none."""
    content = Content(ledger, ledger.models[label])
    stamp = find(ledger, content, key)
    if stamp is None or stamp.deleted:
        raise Unfit(f"the {label} {key} that it refers to is not here")
    return content.model.pk.to_python(stamp.pk_text)


def describe(using: str, *, everything: bool = False) -> list[dict[str, Any]]:
    """The log for a person, newest loser first: what lost, against what, when, by which node.

    What it lost against is not kept but looked up: it is what is current now.
    """
    ledger = Ledger(using)
    log = Conflict.objects.using(using).order_by("-timestamp", "id")
    if not everything:
        log = log.filter(restored=False, dismissed=False)
    return [_describe(ledger, conflict) for conflict in log]


def _describe(ledger: Ledger, conflict: Conflict) -> dict[str, Any]:
    data = None if conflict.data is None else wire.unpack_message(bytes(conflict.data))
    lost = None if data is None else dict(zip(data["fields"], data["values"], strict=True))
    stamp = row = None
    if conflict.model in ledger.models:
        content = Content(ledger, ledger.models[conflict.model])
        stamp = find(ledger, content, conflict.key)
        if stamp is not None and not stamp.deleted:
            values = content.read([str(stamp.pk_text)], under_lock=False).get(str(stamp.pk_text))
            row = None if values is None else dict(zip(content.fields, values, strict=True))
    return {
        "id": conflict.id,
        "model": conflict.model,
        "key": conflict.key,
        "pk": stamp.pk_text if stamp else None,
        "node": conflict.node,
        "counter": conflict.counter,
        "written": _moment(conflict.timestamp),
        "lost": "deletion" if lost is None else "content",
        "against_node": ledger.node_name(stamp.node_id) if stamp else None,
        "against_counter": stamp.counter if stamp else None,
        "against_written": _moment(stamp.timestamp) if stamp else None,
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


def _moment(timestamp: int) -> str:
    return datetime.fromtimestamp(hlc.milliseconds(timestamp) / 1000, UTC).isoformat(timespec="milliseconds")
