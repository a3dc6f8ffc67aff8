"""The history of what is applied: one revision a change, and one for each loser of a conflict.

The invariant: within the transaction of a page, every written change of a registered model gets one revision, every
entry of the conflict log one at most, and no revision makes a write of its own. A loser comes before its winner.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef

from handleref_sync import versioning
from handleref_sync.core import hlc
from handleref_sync.core.change import Record, Version
from handleref_sync.core.version_vector import Dot
from handleref_sync.models import Conflict, RevisionSource
from handleref_sync.replication import conflicts
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.plan import Plan, Planner
from handleref_sync.replication.stamping import PARAMETERS, pk_text
from handleref_sync.replication.values import Unfit
from handleref_sync.replication.versions import version_of

if TYPE_CHECKING:
    from handleref_sync.versioning.pages import Entry

PeerOf = Callable[[Dot], str]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Revisions:
    """Makes revisions within one locked transaction."""

    def __init__(self, ledger: Ledger, registered: Mapping[str, Any]) -> None:
        self.ledger = ledger
        self.registered = registered
        self.ends = dict(_memberships(ledger, registered))
        """Of each m2m table whose owner's snapshot has it: the owner's label, and its place in a membership's key."""

    @classmethod
    def of(cls, ledger: Ledger) -> Revisions | None:
        """None where no replicated model has a history: then nothing is asked and nothing is made."""
        registered = versioning.registered(ledger.using, [m.model for m in ledger.models.values()])
        return cls(ledger, registered) if registered else None

    def record(
        self, planner: Planner, touched: Sequence[Plan], logged: Sequence[str], peer_of: PeerOf, here: str
    ) -> None:
        """Make them for `touched`, whose rows changed, and for `logged`, the losers found now (IDs of their entries).

        All stamps are written. `here`: the peer of this round.
        """
        from handleref_sync.versioning import recording

        written = self._written(touched)
        arrived = [p.change.record.key for p in touched if p.change.record.model == conflicts.LABEL and not p.local]
        losers = self._losers(written, [*logged, *arrived])
        if not written and not losers:
            return
        records = {*written, *(Record(loser.model, loser.key) for loser in losers)}
        stamps = self._stamps(planner, records)
        rows = self._rows(planner, stamps)
        entries = self._lost(planner, losers, stamps, rows, here)
        for record, version in sorted(written.items(), key=lambda item: item[1].timestamp):
            if record in rows:
                peer = peer_of(version.dot)
                comment = f"Written by {_by(version.dot, version.timestamp)}, received from {peer}."
                entries.append(_entry(rows[record], version.dot, version.timestamp, peer, comment))
        recording.record(self.ledger.using, entries)

    def _written(self, touched: Sequence[Plan]) -> dict[Record, Version]:
        """What a revision is made for: the rows written, and the owners of memberships that came or went.

        Of an owner that has not changed itself, the latest membership stands for all: they are shown together.
        """
        own, owners = dict[Record, Version](), dict[Record, Version]()
        for plan in touched:
            record, version = plan.change.record, plan.change.version
            if plan.values is not None and record.model in self.registered:
                own[record] = version
            if record.model in self.ends:
                owner = self._owner(record)
                if owner is None:
                    continue
                if owner not in owners or owners[owner].timestamp < version.timestamp:
                    owners[owner] = version
        return {**owners, **own}

    def _owner(self, membership: Record) -> Record | None:
        """Whose membership it is. None for one that was gone before it could be known by its ends."""
        label, place = self.ends[membership.model]
        try:
            ends = json.loads(membership.key)
        except ValueError:
            return None
        # The key is a peer's word: what it should not be must not stop the page.
        known = isinstance(ends, list) and len(ends) > place and isinstance(ends[place], str)
        return Record(label, ends[place]) if known else None

    def _losers(self, written: Iterable[Record], ids: Iterable[str]) -> list[Conflict]:
        """Entries of the conflict log that belong into the history and are not in it, oldest first.

        Also those of the records that were `written`: their entry may have come before there was a row to show.
        """
        using = self.ledger.using
        shown = RevisionSource.objects.using(using).filter(conflict=OuterRef("pk"))
        log = Conflict.objects.using(using).filter(data__isnull=False, model__in=list(self.registered))
        waiting = log.exclude(Exists(shown))
        found = {loser.pk: loser for chunk in _chunks(ids) for loser in waiting.filter(pk__in=chunk)}
        if log.exists():
            keys: dict[str, list[str]] = defaultdict(list)
            for record in written:
                keys[record.model].append(record.key)
            for label, some in keys.items():
                for chunk in _chunks(some):
                    found.update((loser.pk, loser) for loser in waiting.filter(model=label, key__in=chunk))
        return sorted(found.values(), key=lambda loser: (loser.timestamp, loser.pk))

    def _stamps(self, planner: Planner, records: Iterable[Record]) -> dict[Record, StampRow]:
        keys: dict[str, list[str]] = defaultdict(list)
        for record in records:
            keys[record.model].append(record.key)
        return {
            Record(label, key): stamp
            for label, some in keys.items()
            for key, stamp in planner.content(label).stamps(some).items()
        }

    def _rows(self, planner: Planner, stamps: Mapping[Record, StampRow]) -> dict[Record, Any]:
        """The live rows of these records, as they are now."""
        texts: dict[str, dict[str, Record]] = defaultdict(dict)
        for record, stamp in stamps.items():
            if not stamp.deleted and stamp.pk_text is not None:
                texts[record.model][stamp.pk_text] = record
        found = {}
        for label, records in texts.items():
            model = self.ledger.models[label]
            rows = model.model._base_manager.using(self.ledger.using).order_by()
            for chunk in _chunks(records):
                for row in rows.filter(pk__in=chunk):
                    found[records[pk_text(model, row.pk, self.ledger)]] = row
        return found

    # -- losers -----------------------------------------------------------------------------------------------

    def _lost(
        self,
        planner: Planner,
        losers: Sequence[Conflict],
        stamps: Mapping[Record, StampRow],
        rows: Mapping[Record, Any],
        peer: str,
    ) -> list[Entry]:
        """The losers that can be shown: their record has a row here, and their values have a meaning here."""
        contents = {loser.pk: content for loser in losers if (content := _content(loser)) is not None}
        losers = [x for x in losers if x.pk in contents and Record(x.model, x.key) in rows]
        parents = self._parents(planner, losers, contents)
        entries = []
        for loser in losers:
            record = Record(loser.model, loser.key)
            try:
                values = planner.content(loser.model).python(*contents[loser.pk], parents)
            except Unfit:
                continue  # it is in the conflict log all the same, and tried again when the record is next written
            dot = Dot(loser.node, loser.counter)
            against = version_of(self.ledger, stamps[record])
            comment = f"Lost a conflict: written by {_by(dot, loser.timestamp)}"
            if against.dot != dot and against.clock.knows(dot):
                comment += f", against one by {_by(against.dot, against.timestamp)}"
            comment += f". Logged in a sync with {peer}."
            row = _changed(self.ledger.using, rows[record], values)
            entries.append(_entry(row, dot, loser.timestamp, peer, comment, conflict=loser.pk))
        return entries

    def _parents(
        self, planner: Planner, losers: Sequence[Conflict], contents: Mapping[str, tuple[list[str], list[Any]]]
    ) -> dict[tuple[str, ...], Any]:
        wanted: set[Record] = set()
        others: set[tuple[str, str, str]] = set()
        for loser in losers:
            wanted.update(Record(*p) for p in planner.content(loser.model).parents(*contents[loser.pk]))
            others.update(planner.content(loser.model).others(*contents[loser.pk]))
        found: dict[tuple[str, ...], Any] = {
            record: planner.content(record.model).model.pk.to_python(stamp.pk_text)
            for record, stamp in self._stamps(planner, wanted).items()
            if not stamp.deleted
        }
        for label, key, name in others:
            if (label, key) in found:
                rows = self.ledger.models[label].model._base_manager.using(self.ledger.using)
                found[label, key, name] = rows.values_list(name, flat=True).get(pk=found[label, key])
        return found


def _content(loser: Conflict) -> tuple[list[str], list[Any]] | None:
    """Its fields and their values in wire form; None where a peer has made an entry that is none."""
    try:
        values = conflicts.lost_values(loser.data)
    except Unfit:
        return None
    return None if values is None else (list(values), list(values.values()))


def _entry(row: Any, dot: Dot, timestamp: int, peer: str, comment: str, conflict: str | None = None) -> Entry:
    from handleref_sync.versioning.pages import Entry

    source = RevisionSource(
        node=_node(dot), dot=str(dot), timestamp=timestamp, peer=peer, lost=conflict is not None, conflict=conflict
    )
    return Entry(row, source, _written_at(timestamp), comment)


def _changed(using: str, row: Any, values: Mapping[str, Any]) -> Any:
    """Another instance of the row, with `values` by attribute; the rest is as the row has it."""
    names = [str(field.attname) for field in row._meta.concrete_fields]
    return type(row).from_db(using, names, [values.get(name, getattr(row, name)) for name in names])


def _memberships(ledger: Ledger, registered: Mapping[str, Any]) -> Iterable[tuple[str, tuple[str, int]]]:
    for label, options in registered.items():
        for field in ledger.models[label].model._meta.local_many_to_many:
            through: Any = field.remote_field.through
            table = ledger.models.get(through._meta.label_lower)
            if table is not None and table.identity == "ends" and field.name in options.fields:
                places = [column.name for column in table.columns]
                yield table.label, (label, places.index(field.m2m_field_name()))


def _chunks(items: Iterable[str]) -> Iterable[list[str]]:
    every = list(items)
    return (every[start : start + PARAMETERS] for start in range(0, len(every), PARAMETERS))


def _node(dot: Dot) -> str:
    """The ID of the node: its incarnation says nothing to a person."""
    return dot.node.partition("~")[0]


def _written_at(timestamp: int) -> datetime | None:
    """When it was written (UTC). None for rows older than the ledger that do not say."""
    milliseconds = hlc.milliseconds(timestamp)
    return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None


def _by(dot: Dot, timestamp: int) -> str:
    written = _written_at(timestamp)
    when = (
        "an unknown time" if written is None else f"{written:%Y-%m-%d %H:%M:%S}.{written.microsecond // 1000:03} UTC"
    )
    return f"{_node(dot)} at {when}"
