"""System checks: what is wrong is said before it can do harm, each with an id that the docs list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.db import connections, models, router
from django.db.utils import DatabaseError
from django.urls import Resolver404, resolve

from handleref_sync import declared, registry, versioning
from handleref_sync.capture import install, schema
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError, SyncError
from handleref_sync.models import LocalNode, Peer
from handleref_sync.signals import files_named

APP = "handleref_sync"
KEYS = (models.IntegerField, models.CharField, models.TextField, models.UUIDField)
"""Fields whose values each database writes as text in one way only."""


@register(APP)
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E003, E013 and I001: the setting, the models it names, and the database it means."""
    try:
        node, using, own = settings.node, settings.database, registry.own_tables()
    except ConfigurationError as error:
        return [Error(error.message, hint=error.hint, id=f"{APP}.E001")]
    try:
        classes = registry.model_classes()
    except ConfigurationError as error:
        return [Error(error.message, hint=error.hint, id=f"{APP}.E013" if own else f"{APP}.E001")]
    found: list[CheckMessage] = []
    if not node and not getattr(apps.get_app_config(APP), "node_required", True):
        return [  # nothing is replicated, so nothing else can be wrong with it
            Info(
                "HANDLEREF_SYNC['NODE'] is not set: migrate sets up no capture, and nothing is replicated.",
                hint='To replicate, set HANDLEREF_SYNC = {"NODE": "hq"} and run manage.py migrate.',
                id=f"{APP}.I001",
            )
        ]
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
    """E004, W001 and W004: whether `model` can be known, and its rows written, on every node."""
    unfit = _no_table_of_its_own(model)
    if unfit is not None:
        return [unfit]
    found: list[CheckMessage] = check_options(model) + check_excluded(model)
    try:
        kind = declared.identity(model)
    except ConfigurationError as error:
        return [Error(error.message, hint=error.hint, obj=model, id=f"{APP}.E004")]
    key: Any = model._meta.pk
    if kind == "parent" and key.related_model._meta.concrete_model not in classes:
        parent = key.related_model._meta.label
        found.append(
            Error(
                f"The primary key of {model._meta.label} is a foreign key to {parent}, which is not replicated.",
                hint=f'Add "{parent}" to MODELS.',
                obj=model,
                id=f"{APP}.E004",
            )
        )
    if kind == "pk" and not isinstance(key, KEYS):  # a CompositePrimaryKey is none of them either
        found.append(
            Error(
                f"{model._meta.label} has a primary key of type {type(key).__name__}, which can't be replicated yet.",
                hint="Use an integer, a text or a UUID, or take the model out of MODELS.",
                obj=model,
                id=f"{APP}.E004",
            )
        )
    found += check_files(model)
    fields: Sequence[Any] = model._meta.local_concrete_fields
    for field in fields:
        if not field.is_relation or field.primary_key:
            continue
        related: Any = field.related_model
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


def check_files(model: type[models.Model]) -> list[CheckMessage]:
    """W004: whether a model has files, and nobody who moves them."""
    names = {field.name for field in model._meta.local_concrete_fields if isinstance(field, models.FileField)}
    names -= declared.excluded(model)
    if not names or files_named.has_listeners(model):
        return []
    return [
        Warning(
            f"{model._meta.label} has files ({', '.join(sorted(names))}): their names are replicated, and what is in "
            "them is not.",
            hint="Move them by other means, and listen to handleref_sync.signals.files_named to learn which.",
            obj=model,
            id=f"{APP}.W004",
        )
    ]


def _no_table_of_its_own(model: type[models.Model]) -> CheckMessage | None:
    options = model._meta
    instead = None
    if options.swapped:
        instead = f"{options.label} is swapped out for {options.swapped}, and has no table."
    elif options.proxy:
        instead = f"{options.label} is a proxy of {options.concrete_model._meta.label}, which has the table."  # type: ignore[union-attr]
    if instead is not None:
        return Error(instead, hint="Name that model in its place.", obj=model, id=f"{APP}.E004")
    if not router.allow_migrate_model(settings.database, model):
        return Error(
            f"A router keeps {options.label} out of the database {settings.database!r}, which is the node.",
            hint="Take it out of MODELS, or let its table be in the database that is replicated.",
            obj=model,
            id=f"{APP}.E009",
        )
    return None


def check_excluded(model: type[models.Model]) -> list[CheckMessage]:
    """E011: whether what is excluded is there, and may be left out."""
    fields: dict[str, Any] = {field.name: field for field in model._meta.local_concrete_fields}
    found: list[CheckMessage] = []
    for name in sorted(map(str, declared.excluded(model))):
        field = fields.get(name)
        if field is None:
            what, hint = "has no such field in its table", "Correct the name."
        elif field.primary_key:
            what, hint = "it is the primary key", "Leave it in: it is local or the record's key, and never a field."
        elif not (field.null or field.has_default() or field.has_db_default() or field.get_default() is not None):
            what = "a row that comes from elsewhere would have nothing for it"
            hint = "Give the field a default, or let it be null."
        else:
            continue
        found.append(Error(f"{model._meta.label} excludes {name!r}: {what}.", hint=hint, obj=model, id=f"{APP}.E011"))
    return found


def check_options(model: type[models.Model]) -> list[CheckMessage]:
    """E007, E008 and E012: the resolver, the former names of fields, and what becomes of a unique collision."""
    found: list[CheckMessage] = []
    options: dict[str, Callable[[type[models.Model]], object]] = {
        f"{APP}.E007": declared.resolver,
        f"{APP}.E008": declared.names,
        f"{APP}.E012": declared.on_unique,
    }
    for check, option in options.items():
        try:
            option(model)
        except ConfigurationError as error:
            found.append(Error(error.message, hint=error.hint, obj=model, id=check))
    return found


@register(APP)
def check_history(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E010 and W010: whether what peers bring can be in the history that django-reversion keeps."""
    try:
        using, classes = settings.database, registry.model_classes()
    except ConfigurationError:
        return []  # E001 says it
    if not versioning.available() or using not in connections.databases:
        return []
    tables = [model for model in classes if model._meta.label_lower in versioning.TABLES]
    if tables:
        return [
            Error(
                f"{', '.join(model._meta.label for model in tables)} can't be replicated: a version names its row by "
                "a primary key that may be another one elsewhere.",
                hint="Take it out of MODELS. Each node makes revisions of what it receives by itself.",
                id=f"{APP}.E010",
            )
        ]
    if versioning.has_history(classes) and not versioning.at_home(using):
        return [
            Warning(
                f"The history does not show what peers bring: a router keeps django-reversion out of {using!r}.",
                hint="Let its tables be in the database that is replicated, with the rows that they tell of.",
                id=f"{APP}.W010",
            )
        ]
    return []


@register(APP)
def check_reachable(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W008: whether who calls this node at its URL gets to the library."""
    try:
        url = settings.url
    except ConfigurationError:
        return []  # E001 says it
    if not url or not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    path = urlsplit(url).path.rstrip("/") + "/v1/hello/"
    # The project may be mounted below a path of the server's, which its own URLs know nothing of.
    below = [path[place:] for place, character in enumerate(path) if character == "/" and path[place:] != "/"]
    if any(map(_answers, below)):
        return []
    return [
        Warning(
            f"HANDLEREF_SYNC['URL'] is {url!r}, and no URL of this project leads from there to handleref_sync.",
            hint='Add path("sync/", include("handleref_sync.urls")) to ROOT_URLCONF, at the prefix in which it ends.',
            id=f"{APP}.W008",
        )
    ]


def _answers(path: str) -> bool:
    try:
        return APP in resolve(path).app_names
    except Resolver404:
        return False


@register(APP, deploy=True)
def check_url(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W013: whether others reach this node by plain HTTP."""
    try:
        return _plain(f"HANDLEREF_SYNC['URL'] is {settings.url}", settings.url)
    except ConfigurationError:
        return []  # E001 says it


@register(Tags.database, deploy=True)
def check_peers(app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W013: which peers this node reaches by plain HTTP."""
    try:
        using = settings.database
        if using not in (databases or ()) or using not in connections.databases:
            return []
        peers = list(Peer.objects.using(using).order_by("name").values_list("name", "url"))
    except (SyncError, DatabaseError):
        return []  # E001 says it, or `migrate` has not run yet
    return [message for name, url in peers for message in _plain(f"The URL of the peer {name} is {url}", url)]


def _plain(what: str, url: str) -> list[CheckMessage]:
    if not url.lower().startswith("http://") or _local(url):
        return []
    return [
        Warning(
            f"{what}: nobody can change what travels there, for it is signed, but everybody in between can read it.",
            hint="Use https://, or silence this where a tunnel such as a VPN hides what travels.",
            id=f"{APP}.W013",
        )
    ]


def _local(url: str) -> bool:
    """Whether what is sent to this URL stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:  # a name, or no URL at all
        return False


@register(Tags.database)
def check_database(
    app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E005, W002, W006, W007, W012: whether this database is the node that the setting says, and is set up as one."""
    try:
        using = settings.database
        if not settings.node or using not in (databases or ()) or using not in connections.databases:
            return []  # E002 or I001 says it
        # Warnings, all of them: an error would keep `migrate` itself, which mends it, from running.
        own = schema.not_set_up(using)
        if own is not None:
            return [Warning(own.message, hint=own.hint, id=f"{APP}.W006")]
        found: list[CheckMessage] = [
            Warning(lack.message, hint=lack.hint, id=f"{APP}.W007") for lack in schema.unmigrated(using)
        ]
        local, missing = LocalNode.objects.using(using).first(), install.missing(using)
        hazards = vendor_for(connections[using]).hazards(list(registry.replicated(using).values()))
    except (SyncError, DatabaseError):
        return []  # E001 says it, or the database can't be asked
    other = schema.another_node(local.name) if local is not None else None
    if other is not None:
        found.append(Error(other.message, hint=other.hint, id=f"{APP}.E005"))
    found += [
        Warning(
            f"In the database {using!r}: {hazard}.",
            hint="See handleref_sync.W012 in the documentation for what to do about each.",
            id=f"{APP}.W012",
        )
        for hazard in hazards
    ]
    if missing:
        found.append(
            Warning(
                f"Writes to {', '.join(missing)} are not captured: triggers are missing or outdated.",
                hint="Run manage.py migrate, which installs them.",
                id=f"{APP}.W002",
            )
        )
    return found
