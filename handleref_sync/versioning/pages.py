"""What stands in a revision: the row itself, and what its registration says to follow.

What is followed has to be there. Where reversion reverts a revision and deletes what is not in it, as its admin does,
a row that was left out would be taken for one that had not been there at the time, and be deleted.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, models
from django.db.models import Prefetch, prefetch_related_objects
from reversion.models import Version
from reversion.revisions import _follow_relations, _get_content_type, is_registered

from handleref_sync.models import RevisionSource
from handleref_sync.versioning.newest import newest_versions
from handleref_sync.versioning.snapshots import id_field, options_of, serialize

logger = logging.getLogger("handleref_sync.versioning")
LONGEST_ID = Version._meta.get_field("object_id").max_length or 191
Model = type[models.Model]


@dataclass
class Entry:
    """One revision to be made: the row as it is to be shown, whose it is, and when it was written, where known."""

    instance: Any
    source: RevisionSource
    written: datetime | None
    comment: str


class Pages:
    """Makes the versions of many revisions, with a number of queries that depends on the models alone."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._texts: dict[tuple[Model, Any], tuple[str, str]] = {}
        """Snapshot and name of what is followed: many revisions may have the same."""

    def of(self, entries: Sequence[Entry]) -> list[list[Version]]:
        """The versions of each entry's revision, its own row first; empty where it can't, or need not, be made."""
        groups = self._with_followed(entries)
        every = {id(row): row for group in groups for row in group}
        for model, rows in _by_model(every.values()).items():
            prefetch_related_objects(rows, *self._asked_for(model))
        pages = [self._page(group) for group in groups]
        self._drop_duplicates(entries, pages)
        return pages

    def _with_followed(self, entries: Sequence[Entry]) -> list[list[Any]]:
        """Each entry's row, with all that reversion would reach from it: level by level, so with a query for each."""
        found: list[dict[tuple[Model, Any], Any]] = [{_identity(e.instance): e.instance} for e in entries]
        level = [(group, entry.instance) for group, entry in zip(found, entries, strict=True)]
        while level:
            for model, rows in _by_model({id(row): row for _, row in level}.values()).items():
                prefetch_related_objects(rows, *self._followed(model))
            further = []
            for group, row in level:
                try:
                    others = [other for other in _follow_relations(row) if is_registered(type(other))]
                except DatabaseError:
                    raise
                except Exception:  # a property of the application's, or one that is no relation
                    logger.exception("What %s follows can't be read; it gets no revision.", row._meta.label)
                    group.clear()
                    continue
                for other in others:
                    if group and _identity(other) not in group:
                        group[_identity(other)] = other
                        further.append((group, other))
            level = further
        return [list(group.values()) for group in found]

    def _followed(self, model: Model) -> Iterable[Prefetch[Any]]:
        """The relations that `model` follows. What else it follows (a property) is asked for row by row."""
        follow = options_of(model).follow
        for relation in model._meta.get_fields() if follow else ():
            if not relation.is_relation or relation.related_model is None:
                continue
            forward = relation.concrete and not relation.many_to_many
            name = relation.name if not relation.auto_created else relation.get_accessor_name()  # type: ignore[union-attr]
            if name in follow:
                yield self._prefetch(str(name), relation.related_model, forward)

    def _asked_for(self, model: Model) -> Iterable[Prefetch[Any]]:
        """What a serializer or a ``__str__`` will ask for."""
        fields: list[Any] = [*model._meta.concrete_fields, *model._meta.local_many_to_many]
        for field in fields:
            if field.is_relation and (not field.many_to_many or field.name in options_of(model).fields):
                yield self._prefetch(field.name, field.related_model, not field.many_to_many)

    def _prefetch(self, name: str, related: Any, forward: bool) -> Prefetch[Any]:
        # From this database: a router may send reads to a replica, which knows nothing of this transaction.
        manager = related._base_manager if forward else related._default_manager
        return Prefetch(name, queryset=manager.using(self.using))

    def _page(self, rows: Sequence[Any]) -> list[Version]:
        page = []
        for place, row in enumerate(rows):
            options = options_of(type(row))
            object_id = str(getattr(row, id_field(type(row))))
            try:
                text, name = self._text(row, options, shared=place > 0)
            except DatabaseError:
                raise
            except Exception:  # a field's own errors: replication goes on, for the row itself is written
                logger.exception("%s can't be serialized; it gets no revision.", row._meta.label)
                return []
            if len(object_id) > LONGEST_ID:
                logger.error("%s has a key that is too long for reversion.", row._meta.label)
                return []
            page.append(
                Version(
                    content_type=_get_content_type(type(row), self.using),
                    object_id=object_id,
                    db=self.using,
                    format=options.format,
                    serialized_data=text,
                    object_repr=name,
                )
            )
        return page

    def _text(self, row: Any, options: Any, shared: bool) -> tuple[str, str]:
        if not shared:  # a loser's row has a twin that says something else
            return serialize(row, options), _name(row)
        key = _identity(row)
        if key not in self._texts:
            self._texts[key] = serialize(row, options), _name(row)
        return self._texts[key]

    def _drop_duplicates(self, entries: Sequence[Entry], pages: list[list[Version]]) -> None:
        """Of models registered with ``ignore_duplicates``: what says the same as the newest version is left out."""
        asked: dict[int, list[tuple[int, Version]]] = defaultdict(list)
        for place, (entry, page) in enumerate(zip(entries, pages, strict=True)):
            if page and not entry.source.lost and options_of(type(entry.instance)).ignore_duplicates:
                asked[page[0].content_type_id].append((place, page[0]))
        for content_type, some in asked.items():
            ids = {version.object_id for _, version in some}
            newest = {v.object_id: v for v in newest_versions(self.using, content_type, self.using, ids)}
            for place, version in some:
                before = newest.get(version.object_id)
                if before is not None and before._local_field_dict == version._local_field_dict:
                    pages[place] = []


def _by_model(rows: Iterable[Any]) -> dict[Model, list[Any]]:
    groups: dict[Model, list[Any]] = defaultdict(list)
    for row in rows:
        groups[type(row)].append(row)
    return groups


def _identity(row: Any) -> tuple[Model, Any]:
    return type(row), row.pk


def _name(row: Any) -> str:
    try:
        return str(row)
    except DatabaseError:
        raise
    except Exception:  # an application's ``__str__`` is no reason to hold up a peer's change
        return f"{row._meta.verbose_name} {row.pk}"
