"""What a database lacks of what the code takes for granted: sentences that say what to run.

Looked up where something has failed, or is about to be begun: it asks about each table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from django.apps import apps
from django.db import connections, models, router
from django.db.migrations.exceptions import NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.utils import DatabaseError, InterfaceError

from handleref_sync import registry
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError, NotInstalled, SyncError
from handleref_sync.models import LocalNode

APP = "handleref_sync"


def refuse_unknown(using: str) -> None:
    """Raises ConfigurationError where `using` is no alias, or one of a database that can't take part."""
    if using not in connections.databases:
        setting = using == settings.database
        raise ConfigurationError(
            f"HANDLEREF_SYNC['DATABASE'] is {using!r}, and DATABASES has no such alias."
            if setting
            else f"DATABASES has no alias {using!r}.",
            hint=f"Use one of {', '.join(connections.databases)}.",
        )
    vendor_for(connections[using])


def refuse_another_node(using: str) -> None:
    """Raises ConfigurationError where the database that the settings mean is another node than they say."""
    if using == settings.database and settings.node:
        error = another_node(LocalNode.objects.using(using).values_list("name", flat=True).first())
        if error is not None:
            raise error


def another_node(name: str | None) -> ConfigurationError | None:
    """What is wrong where the database that the settings mean is the node `name`."""
    if name is None or name == (settings.node or name):
        return None
    return ConfigurationError(
        f"HANDLEREF_SYNC['NODE'] is {settings.node!r}, but this database is the node {name!r}.",
        hint="Connect to the right database, or set the ID back: a node keeps its ID for life. "
        "A copy becomes a node of its own by sync_init --new-node.",
    )


def refuse_lacking(using: str) -> None:
    """Raises NotInstalled where a table or a column is not there yet."""
    for error in lacking(using):
        raise error


def why(using: str) -> SyncError | None:
    """What explains that a statement has just failed in this database; None where nothing is known."""
    try:
        return next(lacking(using), None)
    except SyncError as error:
        return error
    except (DatabaseError, InterfaceError):
        return None  # it can't be asked: the first error says more


def lacking(using: str) -> Iterator[NotInstalled]:
    """A sentence for each table and column that is missing; one alone where the library's own are."""
    own = not_set_up(using)
    if own is not None:
        yield own
    else:
        yield from unmigrated(using)


def not_set_up(using: str) -> NotInstalled | None:
    """What is wrong where the library's own tables are missing, or are those of an earlier version."""
    vendor = vendor_for(connections[using])
    for model in apps.get_app_config(APP).get_models():
        there = vendor.columns(model._meta.db_table)
        if not {field.column for field in model._meta.local_concrete_fields} <= there:
            if there or router.allow_migrate_model(using, model):
                return NotInstalled(f"The database {using!r} is not set up.", hint=f"Run {_migrate(using)}.")
            return NotInstalled(
                f"The database {using!r} is not set up: a router keeps the library's tables out of it.",
                hint=f"Let its allow_migrate() have {APP} there, then run {_migrate(using)}.",
            )
    return None


def unmigrated(using: str) -> Iterator[NotInstalled]:
    """A sentence for each table and column of the replicated models that is missing."""
    vendor, read = vendor_for(connections[using]), cache(_migrations)
    for model in registry.model_classes():
        options = model._meta
        if options.app_label == APP or options.swapped or not router.allow_migrate_model(using, model):
            continue
        there = vendor.columns(options.db_table)
        if not there:
            yield NotInstalled(f"The table of {options.label_lower} does not exist.", hint=_hint(using, read, model))
            continue
        for field in options.local_concrete_fields:
            if field.column not in there and not getattr(field, "generated", False):
                yield NotInstalled(
                    f"The table {options.db_table} has no column {field.column}, which {options.label_lower} has.",
                    hint=_hint(using, read, model, field),
                )


def _migrate(using: str) -> str:
    return "manage.py migrate" + ("" if using == "default" else f" --database {using}")


def _migrations() -> tuple[set[str], Mapping[Any, Any]] | None:
    """The applications without migrations, and what those of the others make; None where they can't be read."""
    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        return loader.unmigrated_apps, loader.project_state().models
    except (NodeNotFoundError, LookupError, ValueError, ImportError):
        return None


def _hint(
    using: str,
    read: Callable[[], tuple[set[str], Mapping[Any, Any]] | None],
    model: type[models.Model],
    field: Any = None,
) -> str:
    """What makes the table, or the column. `read` gives the migrations, which takes a while the first time."""
    app, name, migrate = model._meta.app_label, model._meta.model_name, _migrate(using)
    make = f"Run manage.py makemigrations {app}, then {migrate}."
    owner: Any = model._meta.auto_created
    if owner:  # migrations know such a table by the field for which it is made
        name = owner._meta.model_name
        field = next((f for f in owner._meta.local_many_to_many if f.remote_field.through is model), None)
    migrations = read()
    if migrations is None:
        return make
    unmigrated_apps, made = migrations
    known = made.get((app, str(name)))
    if MigrationLoader.migrations_module(app)[0] is None:
        if field is None or owner:
            return f"Run {migrate} --run-syncdb, which makes it."
        return f"Add it by hand: {app} has no migrations."
    if app in unmigrated_apps:
        return f"{make[:-1]}; or {migrate} --run-syncdb, if {app} is to have no migrations."
    if known is not None and (field is None or field.name in known.fields):
        return f"Run {migrate}."
    return make
