"""History of single objects, kept by django-reversion. Nothing else in the library imports that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.db import connections, models, router
from django.db.models.signals import post_migrate

TABLES = ("reversion.revision", "reversion.version")


def available() -> bool:
    """Whether django-reversion is installed and in INSTALLED_APPS, so that there is a history at all."""
    return apps.is_installed("reversion")


def registered(using: str, classes: Sequence[type[models.Model]]) -> dict[str, Any]:
    """Those of the replicated models `classes` whose history this database keeps: label to reversion's options.

    There are none where the tables of reversion are replicated themselves, or are kept out of this database by a
    router: a revision has to stand and fall with the transaction that writes the row.
    """
    found = has_history(classes)
    tables = found and [model for model in classes if model._meta.label_lower in TABLES]
    return found if found and not tables and at_home(using) else {}


def has_history(classes: Iterable[type[models.Model]]) -> dict[str, Any]:
    """Those of `classes` that are registered with reversion: label to its options."""
    if not available():
        return {}
    from reversion.revisions import _get_options, is_registered

    return {model._meta.label_lower: _get_options(model) for model in classes if is_registered(model)}


def at_home(using: str) -> bool:
    """Whether the routers let the tables of reversion be in the database `using`."""
    return all(router.allow_migrate_model(using, apps.get_model(label)) for label in TABLES)


def after_migrate(using: str, **kwargs: Any) -> None:
    """Forget the sources of revisions that were deleted: seldom, for it reads the whole table."""
    tables = connections[using].introspection.table_names()
    wanted = [apps.get_model(label)._meta.db_table for label in (*TABLES, "handleref_sync.revisionsource")]
    if set(wanted) <= set(tables):
        from handleref_sync.versioning.recording import tidy

        tidy(using)


def connect() -> None:
    """Called when the application is ready."""
    if available():
        from handleref_sync.versioning import bump

        bump.connect()
        app = apps.get_app_config("handleref_sync")
        post_migrate.connect(after_migrate, sender=app, dispatch_uid="handleref_sync.versioning")
