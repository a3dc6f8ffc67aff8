"""Which models are replicated, and how each is known across nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import connections, models

from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict, HandleRefModel, ReplicatedModel

Field = models.Field
DEFAULT_EXCLUDE = {"last_login"}


@dataclass(frozen=True)
class Column:
    """A replicated field. `target` is the label of the replicated model that it refers to, if any."""

    name: str
    column: str
    field: Any
    target: str | None = None


@dataclass(frozen=True)
class Replicated:
    """A replicated model. `identity`: ``"pk"``, ``"origin"``, or ``"ends"`` for an auto-created m2m table.

    The primary key is no column: it is local, or else it is the key.
    """

    model: type[models.Model]
    id: int
    identity: str
    columns: tuple[Column, ...]

    @cached_property
    def label(self) -> str:
        return self.model._meta.label_lower

    @cached_property
    def table(self) -> str:
        return self.model._meta.db_table

    @cached_property
    def pk(self) -> Any:
        return self.model._meta.pk

    @cached_property
    def pk_column(self) -> str:
        return str(self.pk.column)

    @cached_property
    def updated_column(self) -> str | None:
        names = {c.name: c.column for c in self.columns}
        return names.get("updated") if isinstance(self.columns_by_name.get("updated"), models.DateTimeField) else None

    @cached_property
    def columns_by_name(self) -> dict[str, Any]:
        return {c.name: c.field for c in self.columns}

    @cached_property
    def local_pk(self) -> bool:
        """Whether the pk means something in this database only."""
        return self.identity != "pk"


_numbers: dict[str, dict[str, int]] = {}


def replicated(using: str) -> dict[str, Replicated]:
    """The replicated models that `install` has registered in this database, by label, parents first."""
    numbers = _numbers.get(using)
    classes = model_classes()
    if numbers is None or any(model._meta.label_lower not in numbers for model in classes):
        numbers = _numbers[using] = dict(ReplicatedModel.objects.using(using).values_list("label", "id"))
    return {
        model._meta.label_lower: describe(model, numbers[model._meta.label_lower])
        for model in classes
        if model._meta.label_lower in numbers
    }


def forget(using: str) -> None:
    """Read the model numbers anew the next time, as after an install."""
    _numbers.pop(using, None)
    describe_cache.clear()


describe_cache: dict[tuple[type[models.Model], int], Replicated] = {}


def describe(model: type[models.Model], number: int) -> Replicated:
    """How `model` is replicated under the short number `number`."""
    cached = describe_cache.get((model, number))
    if cached is None:
        kind = identity(model)
        labels = {m._meta.label_lower for m in model_classes()}
        skip = set(option(model, "exclude", ())) | (
            DEFAULT_EXCLUDE if model._meta.label_lower == "auth.user" else set()
        )
        columns = []
        for field in model._meta.local_concrete_fields:
            if field.primary_key or field.name in skip or getattr(field, "generated", False):
                continue
            columns.append(Column(field.name, str(field.column), field, _target(field, labels)))
        cached = describe_cache[model, number] = Replicated(model, number, kind, tuple(columns))
    return cached


def _target(field: Any, labels: set[str]) -> str | None:
    if not field.is_relation:
        return None
    label = field.related_model._meta.concrete_model._meta.label_lower
    return label if label in labels else None


def model_classes() -> list[type[models.Model]]:
    """All replicated model classes: the conflict log, HandleRefModels, those named, and their m2m tables."""
    chosen: dict[type[models.Model], None] = {Conflict: None}
    for model in apps.get_models():
        if issubclass(model, HandleRefModel) and not model._meta.proxy and model._meta.managed:
            chosen[model] = None
    for label in settings.models:
        try:
            chosen[apps.get_model(label)] = None
        except (LookupError, ValueError) as error:
            raise ConfigurationError(
                f"HANDLEREF_SYNC['MODELS'] names {label!r}, and there is no such model.",
                hint='Labels look like "auth.User".',
            ) from error
    for model in list(chosen):
        for relation in model._meta.local_many_to_many:
            through = relation.remote_field.through
            if through is not None and through._meta.auto_created:
                chosen[through] = None
    return list(chosen)


def identity(model: type[models.Model]) -> str:
    """The identity of `model`: what was declared, else what its primary key suggests."""
    if model._meta.auto_created:
        return "ends"
    declared = option(model, "identity", None)
    if declared is not None:
        if declared not in ("pk", "origin"):
            raise ConfigurationError(f"{model._meta.label}: identity is {declared!r}.", hint='Use "pk" or "origin".')
        if declared == "origin" and not isinstance(model._meta.pk, models.AutoField):
            raise ConfigurationError(
                f'{model._meta.label}: identity is "origin", but its primary key is not assigned by the database.',
                hint='Leave it at "pk".',
            )
        return str(declared)
    return "origin" if isinstance(model._meta.pk, models.AutoField) else "pk"


def option(model: type[models.Model], name: str, default: Any) -> Any:
    """An option from settings, else from the model's ``class HandleRef``."""
    chosen = settings.options.get(model._meta.label_lower, {})
    return chosen.get(name, getattr(getattr(model, "HandleRef", None), name, default))


def database(using: str) -> Any:
    """The Django connection of the node at alias `using`."""
    return connections[using]
