"""System checks: what is wrong is said before it can do harm, each with an id that the docs list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, models
from django.db.utils import DatabaseError

from handleref_sync import registry
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError, SyncError
from handleref_sync.models import LocalNode

APP = "handleref_sync"
KEYS = (models.IntegerField, models.CharField, models.TextField, models.UUIDField)
"""Fields whose values each database writes as text in one way only."""


@register(APP)
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E003: the setting, the models it names, and the database it means."""
    try:
        node, using = settings.node, settings.database
        classes = registry.model_classes()
    except ConfigurationError as error:
        return [Error(error.message, hint=error.hint, id=f"{APP}.E001")]
    found: list[CheckMessage] = []
    if not node:
        found.append(
            Error(
                "HANDLEREF_SYNC['NODE'] is not set.",
                hint='Give this database an ID of its own: HANDLEREF_SYNC = {"NODE": "hq"}.',
                id=f"{APP}.E002",
            )
        )
    if using not in connections.databases:
        found.append(
            Error(
                f"HANDLEREF_SYNC['DATABASE'] is {using!r}, and DATABASES has no such alias.",
                hint=f"Use one of {', '.join(connections.databases)}.",
                id=f"{APP}.E003",
            )
        )
        return found
    try:
        vendor_for(connections[using])
    except ConfigurationError as error:
        found.append(Error(error.message, hint=error.hint, id=f"{APP}.E003"))
    for model in classes:
        found += check_model(model, classes)
    return found


def check_model(model: type[models.Model], classes: Sequence[type[models.Model]]) -> list[CheckMessage]:
    """E004 and W001: whether `model` can be known, and its rows written, on every node."""
    found: list[CheckMessage] = []
    try:
        kind = registry.identity(model)
    except ConfigurationError as error:
        return [Error(error.message, hint=error.hint, obj=model, id=f"{APP}.E004")]
    key = model._meta.pk
    if key is not None and key.is_relation:
        found.append(
            Error(
                f"{model._meta.label} has a foreign key as its primary key, which can't be replicated yet.",
                hint="Take it out of MODELS, or give it a primary key of its own.",
                obj=model,
                id=f"{APP}.E004",
            )
        )
    if kind == "pk" and not key.is_relation and not isinstance(key, KEYS):
        found.append(
            Error(
                f"{model._meta.label} has a primary key of type {type(key).__name__}, which can't be replicated yet.",
                hint="Use an integer, a text or a UUID, or take the model out of MODELS.",
                obj=model,
                id=f"{APP}.E004",
            )
        )
    if kind == "pk" and isinstance(key, models.AutoField):
        found.append(
            Error(
                f'{model._meta.label} declares identity "pk" on a key that each database assigns by itself.',
                hint='Leave it at "origin", or use UUIDs: rows made on two nodes would take each other\'s keys.',
                obj=model,
                id=f"{APP}.E004",
            )
        )
    fields: Sequence[Any] = model._meta.local_concrete_fields
    for field in fields:
        if not field.is_relation or field.primary_key:
            continue
        related: Any = field.related_model
        if related._meta.concrete_model in classes and field.target_field != related._meta.pk:
            found.append(
                Error(
                    f"{model._meta.label}.{field.name} refers to {related._meta.label} by to_field, which can't be "
                    "replicated yet.",
                    hint="Let it refer to the primary key, or take the model out of MODELS.",
                    obj=field,
                    id=f"{APP}.E004",
                )
            )
            continue
        if related._meta.concrete_model in classes or hasattr(related, "natural_key"):
            continue
        if isinstance(related._meta.pk, models.AutoField):
            found.append(
                Warning(
                    f"{model._meta.label}.{field.name} refers to {related._meta.label}, which is not replicated and "
                    "has no natural key: its ids must be the same on all nodes.",
                    hint=f'Add "{related._meta.label}" to MODELS, or give it natural_key() and get_by_natural_key().',
                    obj=field,
                    id=f"{APP}.W001",
                )
            )
    return found


@register(Tags.database)
def check_database(
    app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E005 and W002: whether this database is the node that the setting says, and captures what is written."""
    try:
        using = settings.database
        if using not in (databases or ()) or using not in connections.databases:
            return []
        local = LocalNode.objects.using(using).first()
        missing = install.missing(using)
    except (SyncError, DatabaseError):
        return []  # E001 says it, or `migrate` has not run yet
    found: list[CheckMessage] = []
    if local is not None and settings.node and local.name != settings.node:
        found.append(
            Error(
                f"HANDLEREF_SYNC['NODE'] is {settings.node!r}, but this database is the node {local.name!r}.",
                hint="Connect to the right database, or set the ID back: a node keeps its ID for life.",
                id=f"{APP}.E005",
            )
        )
    if missing:
        found.append(
            Warning(  # no error: that would keep `migrate` itself, which mends it, from running
                f"Writes to {', '.join(missing)} are not captured: triggers are missing or outdated.",
                hint="Run manage.py migrate, which installs them.",
                id=f"{APP}.W002",
            )
        )
    return found
