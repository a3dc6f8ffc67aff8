"""From rows of the application to their stamps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django.apps import apps
from django.db import connections, models

from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models.ledger import REPLACED, Capture, ReplicatedModel, Stamp

PARAMETERS = 50_000
"""How many a query has at most where the database sets no limit."""


class Loaded(NamedTuple):
    """A stamp that came with its row, or the knowledge that there is none; good for this row of this database."""

    pk: object
    using: str | None
    stamp: Stamp | None


def stamp_of(instance: models.Model) -> Stamp | None:
    """The stamp of a saved row, or None while it has none (never stamped, or not replicated)."""
    if instance.pk is None or not apps.is_installed("handleref_sync"):
        return None
    label = instance._meta.concrete_model._meta.label_lower  # type: ignore[union-attr]
    text = pk_text(instance._meta.pk, instance.pk, instance._state.db)
    stamps = Stamp.objects.using(instance._state.db).select_related("node")
    return stamps.filter(model__label=label, pk_text=text).first()


def loaded_stamp(instance: models.Model) -> Loaded | None:
    """What `load_stamps` left; None if nothing, or if the instance has become another row since."""
    loaded: Loaded | None = instance.__dict__.get("_loaded_stamp")
    if loaded is None or (loaded.pk, loaded.using) != (instance.pk, instance._state.db):
        return None
    return loaded


def load_stamps(instances: Sequence[models.Model], using: str) -> None:
    """Give rows of one model, all from `using`, their stamps: one query for as many as its parameters allow."""
    if not instances:
        return
    found: dict[str, Stamp] = {}
    texts = [pk_text(row._meta.pk, row.pk, using) for row in instances]
    if apps.is_installed("handleref_sync"):
        label = instances[0]._meta.concrete_model._meta.label_lower  # type: ignore[union-attr]
        stamps = Stamp.objects.using(using).select_related("node").filter(model__label=label)
        size = (connections[using].features.max_query_params or PARAMETERS) - 1  # the label is one
        for start in range(0, len(texts), size):
            chunk = texts[start : start + size]
            found.update((str(stamp.pk_text), stamp) for stamp in stamps.filter(pk_text__in=chunk))
    for row, text in zip(instances, texts, strict=True):
        row.__dict__["_loaded_stamp"] = Loaded(row.pk, using, found.get(text))


def pk_text(field: models.Field, value: object, using: str | None) -> str:  # type: ignore[type-arg]
    """A primary key as the triggers write it: the text form of what the database holds."""
    connection = connections[using or "default"]
    prepared = field.get_db_prep_value(value, connection)
    return str(prepared)


def pks_since(model: type[models.Model], using: str, vector: Mapping[str, int]) -> Iterable[object]:
    """Primary keys of live rows that `vector` does not cover, dirty ones included."""
    number = ReplicatedModel.objects.using(using).filter(label=model._meta.label_lower).first()
    if number is None:
        return
    known = VersionVector(vector)
    to_python = model._meta.pk.to_python
    stamps = Stamp.objects.using(using).filter(model=number, deleted=False).select_related("node")
    for stamp in stamps.iterator(chunk_size=2000):
        if not known.covers(stamp.version_vector):
            yield to_python(stamp.pk_text)
    dirty = Capture.objects.using(using).filter(model=number.pk).exclude(op=REPLACED)
    yield from (to_python(text) for text in dirty.values_list("pk_text", flat=True).distinct())
