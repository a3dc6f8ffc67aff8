"""From rows of the application to their stamps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import models

from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models.ledger import Capture, ReplicatedModel, Stamp


def stamp_of(instance: models.Model) -> Stamp | None:
    """The stamp of a saved row, or None while it has none (never stamped, or not replicated)."""
    label = instance._meta.concrete_model._meta.label_lower  # type: ignore[union-attr]
    text = pk_text(instance._meta.pk, instance.pk, instance._state.db)
    stamps = Stamp.objects.using(instance._state.db).select_related("node")
    return stamps.filter(model__label=label, pk_text=text).first()


def pk_text(field: models.Field, value: object, using: str | None) -> str:  # type: ignore[type-arg]
    """A primary key as the triggers write it: the text form of what the database holds."""
    from django.db import connections

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
    dirty = Capture.objects.using(using).filter(model=number.pk).values_list("pk_text", flat=True).distinct()
    yield from (to_python(text) for text in dirty)
