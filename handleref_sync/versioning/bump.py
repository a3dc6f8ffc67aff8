"""A revision counts up the ``version`` of each HandleRefModel in it: once, in the database.

The invariant: the number of a row goes up by one with each revision of that row, whatever instances were saved,
and nothing but the number is written. The snapshot that the revision keeps holds the number that the revision gave.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from contextvars import ContextVar
from typing import Any

from django.db import models, transaction
from django.db.models import F
from django.db.models.signals import post_save
from reversion.revisions import is_active, is_registered
from reversion.signals import post_revision_commit

from handleref_sync.models import HandleRefModel
from handleref_sync.versioning.snapshots import FIELD, id_field, number_in, renumber

CHUNK = 500
Saved = dict[int, tuple[weakref.ref[Any], str]]
_saved: ContextVar[Saved | None] = ContextVar("handleref-sync-saved", default=None)
"""The instances that were saved in the revision that is active, by ``id()``, each with its database."""


def connect() -> None:
    """Called when the application is ready; before that there can be no revision. Connects once only."""
    post_revision_commit.connect(handle_version, dispatch_uid="handleref_sync.handle_version")
    post_save.connect(_note_saved, dispatch_uid="handleref_sync.note_saved")


def handle_version(**kwargs: Any) -> None:
    """Receive ``post_revision_commit``: `versions` are reversion's own, of any model, and `revision` is theirs.

    Other models are passed over, and so are rows that are deleted. The instances that were saved get their new
    number too; no ``save()`` is called, so ``updated`` stays and no signal is sent.
    """
    revision = kwargs["revision"]
    groups: dict[tuple[type[models.Model], str], list[Any]] = defaultdict(list)
    for version in kwargs["versions"]:
        model = version._model
        if model is not None and issubclass(model, HandleRefModel):
            groups[model, version.db].append(version)
    done: dict[tuple[type[models.Model], str], set[Any]] = defaultdict(set)
    for (model, db), versions in groups.items():
        for start in range(0, len(versions), CHUNK):
            chunk = versions[start : start + CHUNK]
            numbers = _count_up(model, db, chunk, revision, done)
            _correct(revision._state.db, chunk, numbers)
            _refresh(model, db, numbers)


def _count_up(
    model: type[models.Model],
    db: str,
    versions: list[Any],
    revision: Any,
    done: dict[tuple[type[models.Model], str], set[Any]],
) -> dict[str, int]:
    """The new numbers, by object ID. `done`: what this revision counted already, by the model that has the column.

    A child in multi-table inheritance and its parent have one number between them.
    """
    owner: Any = model._meta.get_field(FIELD).model
    pks = _pks(model, owner, db, [version.object_id for version in versions])
    fresh = set(pks.values()) - done[owner, db]
    done[owner, db] |= fresh
    rows = owner._base_manager.using(db)
    # One transaction, where the revision has none: the rows stay locked until their numbers are read.
    with transaction.atomic(using=db):
        if fresh:
            rows.filter(pk__in=fresh).update(**{FIELD: F(FIELD) + 1})
        numbers = dict(rows.filter(pk__in=pks.values()).values_list("pk", FIELD))
        for pk, number in _behind(versions, revision, pks, numbers, fresh).items():
            rows.filter(pk=pk).update(**{FIELD: number})
            numbers[pk] = number
    return {object_id: numbers[pk] for object_id, pk in pks.items() if pk in numbers}


def _pks(model: Any, owner: Any, db: str, object_ids: list[str]) -> dict[str, Any]:
    """The primary keys in `owner` of the objects that reversion knows by these IDs."""
    field = model._meta.get_field(id_field(model))
    if owner is model._meta.concrete_model and getattr(field, "primary_key", False):
        return {object_id: owner._meta.pk.to_python(object_id) for object_id in object_ids}
    by_value = {field.to_python(object_id): object_id for object_id in object_ids}
    rows = model._base_manager.using(db).filter(**{f"{field.name}__in": by_value})
    found = rows.values_list(field.attname, owner._meta.pk.attname)
    return {by_value[value]: pk for value, pk in found if value in by_value}


def _behind(
    versions: list[Any], revision: Any, pks: dict[str, Any], numbers: dict[Any, int], fresh: set[Any]
) -> dict[Any, int]:
    """The numbers of rows that a stale instance had set back: one more than the history's newest says.

    ``save()`` writes every column, so an instance that was loaded before another revision brings the old number
    with it. The increment alone would then give a number a second time.
    """
    from handleref_sync.versioning.newest import newest_versions  # needs reversion's models, and so the app registry

    behind = {}
    using, one, ids = revision._state.db, versions[0], [version.object_id for version in versions]
    for version in newest_versions(using, one.content_type_id, one.db, ids, before=revision.pk):
        pk = pks.get(version.object_id)
        before = number_in(version)
        if pk in fresh and pk in numbers and before is not None and before >= numbers[pk]:
            behind[pk] = before + 1
    return behind


def _correct(using: str, versions: list[Any], numbers: dict[str, int]) -> None:
    """Write the new numbers into the snapshots, which were taken before there were any."""
    changed = [v for v in versions if v.object_id in numbers and renumber(v, numbers[v.object_id])]
    if changed:
        type(changed[0])._base_manager.using(using).bulk_update(changed, ["serialized_data"])


def _refresh(model: type[models.Model], db: str, numbers: dict[str, int]) -> None:
    """Give the instances that were saved in this revision their number."""
    saved = _saved.get()
    if not saved:
        return
    attribute = id_field(model)
    for key, (reference, using) in list(saved.items()):
        instance = reference()
        if instance is None or using != db or _concrete(instance) is not _concrete(model):
            continue
        number = numbers.get(str(getattr(instance, attribute)))
        if number is not None:
            instance.version = number
            saved.pop(key, None)


def _concrete(model: Any) -> Any:
    return model._meta.concrete_model


def _note_saved(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    """Receive ``post_save``: remember an instance weakly, until its revision is committed."""
    if not issubclass(sender, HandleRefModel):
        return
    if not is_active():
        if _saved.get() is not None:
            _saved.set(None)  # what a revision that failed has left
        return
    if not is_registered(sender):
        return
    saved = _saved.get()
    if saved is None:
        saved = {}
        _saved.set(saved)
    forget, key = saved.pop, id(instance)
    saved[key] = (weakref.ref(instance, lambda _: forget(key, None)), using)
