"""Which models are replicated, and how each is known across nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from django.apps import apps
from django.db import connections, models

from handleref_sync import declared
from handleref_sync.conf import Settings, settings
from handleref_sync.core.resolvers import GiveWay, Prefer, Resolve
from handleref_sync.declared import LWW, PARK
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict, HandleRefModel, ReplicatedModel

Field = models.Field


@dataclass(frozen=True)
class Column:
    """A replicated field. `target` is the label of the replicated model that it refers to, if any.

    `name` is the one under which it travels. A field that was renamed keeps its first one there: a node that does
    not know yet that it was renamed has it under that name, and would else write its old value over the new.
    """

    name: str
    column: str
    field: Any
    target: str | None = None
    to: str | None = None
    """Where it refers to another column of the target than its primary key: that field's name."""
    generic: str | None = None
    """Where it is the primary key of whatever row a content type says: the column with the content type."""


@dataclass(frozen=True)
class Replicated:
    """A replicated model. The primary key is no column: it is local, or else it is the key.

    `identity`: ``"pk"``, ``"origin"``, ``"natural"``; ``"parent"`` where the primary key is a foreign key, so that a
    record is known by its parent's key; ``"ends"`` for an auto-created m2m table.
    """

    model: type[models.Model]
    id: int
    identity: str
    columns: tuple[Column, ...]
    resolver: str | Resolve = LWW
    """``"lww"``, ``"field-lww"``, or what decides between two versions."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names under which a field may come, to the one under which it travels: the first that it ever had."""
    natural: tuple[Column, ...] = ()
    """The columns from whose values a record's key is made when it is first stamped."""
    on_unique: str | GiveWay = PARK
    """``"park"``, ``"rename"``, or what gives the earlier of two records other values."""

    @cached_property
    def named(self) -> bool:
        """Whether a record's key comes from its content: made apart with the same content, it is the same record."""
        return self.identity in ("natural", "ends", "parent")

    @cached_property
    def parent(self) -> str | None:
        """The label of the model whose keys are the keys of this one."""
        return self.natural[0].target if self.identity == "parent" else None

    @cached_property
    def targets(self) -> frozenset[str]:
        """Labels of the replicated models to which a row refers by a foreign key."""
        return frozenset(c.target for c in (*self.columns, *self.natural) if c.target is not None)

    @cached_property
    def by_field(self) -> bool:
        """Whether it is noted which fields a write changed."""
        return self.resolver != LWW and not isinstance(self.resolver, Prefer)

    def tracked(self, columns: Iterable[str]) -> list[tuple[str, str]]:
        """Those of the table's `columns` of which a trigger notes whether they changed, with their fields' names."""
        names = {column.column: column.name for column in self.columns} if self.by_field else {}
        return [(column, names[column]) for column in columns if column in names]

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
    def names(self) -> frozenset[str]:
        """The names of the replicated fields."""
        return frozenset(column.name for column in self.columns)

    @cached_property
    def files(self) -> frozenset[str]:
        """The names of those of which the values are names of files."""
        return frozenset(column.name for column in self.columns if isinstance(column.field, models.FileField))

    def own_name(self, name: str) -> str:
        """The name that the application has for the field that travels as `name`."""
        return self._own_names.get(name, name)

    @cached_property
    def _own_names(self) -> dict[str, str]:
        return {column.name: str(column.field.name) for column in self.columns}

    @cached_property
    def columns_by_name(self) -> dict[str, Any]:
        return {c.name: c.field for c in self.columns}

    @cached_property
    def local_pk(self) -> bool:
        """Whether the pk means something in this database only."""
        return self.identity != "pk"


_known: dict[str, tuple[Settings, Mapping[str, Replicated]]] = {}


def replicated(using: str) -> Mapping[str, Replicated]:
    """The replicated models that `install` has registered in this database, by label, parents first.

    Found once, until the settings change or `forget` is called: it is asked for in every transaction, and there may
    be hundreds.
    """
    current = settings.current
    known = _known.get(using)
    if known is not None and known[0] is current:
        return known[1]
    classes = {model._meta.label_lower: model for model in model_classes()}
    numbers = dict(ReplicatedModel.objects.using(using).values_list("label", "id"))
    found = {
        label: describe(model, numbers[label], classes.keys()) for label, model in classes.items() if label in numbers
    }
    if len(found) == len(classes):  # otherwise `install` is still to come, in this process or another
        _known[using] = (current, MappingProxyType(found))
    return found


def forget(using: str) -> None:
    """Read the model numbers anew the next time, as after an install."""
    _known.pop(using, None)


def describe(model: type[models.Model], number: int, labels: Collection[str]) -> Replicated:
    """How `model` is replicated under the short number `number`. `labels`: of all models that are."""
    kind = declared.identity(model)
    skip = declared.excluded(model)
    first, aliases = declared.names(model)
    own = {field.name for field in model._meta.local_concrete_fields} - skip
    generic = {
        key.fk_field: key.ct_field
        for key in model._meta.private_fields
        if hasattr(key, "fk_field") and key.ct_field in own
    }

    def column(field: Any) -> Column:
        target = _target(field, labels)
        to = field.target_field.name if target and not field.target_field.primary_key else None
        name = first.get(field.name, field.name)
        return Column(name, str(field.column), field, target, to, generic.get(field.name))

    columns = tuple(
        column(field)
        for field in model._meta.local_concrete_fields
        if not (field.primary_key or field.name in skip or getattr(field, "generated", False))
    )
    by_content: tuple[Column, ...] = ()
    if kind == "ends":
        by_content = columns
    elif kind == "parent":
        by_content = (column(model._meta.pk),)
    elif kind == "natural":
        by_content = tuple(next(c for c in columns if c.field.name == name) for name in declared.natural(model))
    settled = (declared.resolver(model), aliases, by_content, declared.on_unique(model))
    return Replicated(model, number, kind, columns, *settled)


def _target(field: Any, labels: Collection[str]) -> str | None:
    if not field.is_relation:
        return None
    label = field.related_model._meta.concrete_model._meta.label_lower
    return label if label in labels else None


def model_classes() -> list[type[models.Model]]:
    """All replicated model classes: the conflict log, HandleRefModels, those named, and their m2m tables."""
    chosen: dict[type[models.Model], None] = {Conflict: None}
    if own_tables():
        raise ConfigurationError(
            f"HANDLEREF_SYNC['MODELS'] names {', '.join(own_tables())}: a table of the library itself.",
            hint="Take it out: one of them holds this node's private key. The conflict log is replicated unnamed.",
        )
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


def own_tables() -> list[str]:
    """The labels in MODELS that are of the library itself."""
    own = Conflict._meta.app_label
    return [label for label in settings.models if label.partition(".")[0] == own]


def database(using: str) -> Any:
    """The Django connection of the node at alias `using`."""
    return connections[using]
