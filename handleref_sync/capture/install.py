"""Puts the triggers on and takes them off, and keeps them right through migrations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.db import connections, transaction
from django.db.models.signals import post_migrate, pre_migrate

from handleref_sync import registry
from handleref_sync.capture.base import CAPTURE, LOCAL, Vendor, vendor_for
from handleref_sync.conf import settings
from handleref_sync.models import Capture, LocalNode, Node, ReplicatedModel
from handleref_sync.registry import Replicated

DDL = re.compile(r"^\s*(CREATE\s+TABLE|ALTER\s+TABLE|DROP\s+TABLE|RENAME\s+TABLE)\b", re.IGNORECASE)


def install(using: str, node: str | None = None) -> None:
    """Make the database at `using` the node `node` (default: the setting), with triggers on every replicated table.

    Idempotent. Rows that are there already are captured. Each table is done in one transaction, in which the
    triggers are on before the rows are read: no write falls between. Without a name nothing is done: a database that
    is to be no node gets no triggers, and one that is a node keeps those that it has.
    """
    name = node or settings.node
    if not name:
        return
    vendor = vendor_for(connections[using])
    with transaction.atomic(using=using):
        if not LocalNode.objects.using(using).exists():
            incarnation = Node.objects.using(using).create(name=name)
            key = Ed25519PrivateKey.generate().private_bytes_raw()
            LocalNode.objects.using(using).create(
                id=1, name=name, incarnation=incarnation, private_key=key, place=vendor.place()
            )
    fresh = _number_models(using)
    registry.forget(using)
    _remove_orphans(using, vendor)
    known = registry.replicated(using).values()
    vendor.look([described.table for described in known])
    found = [(described, present_columns(vendor, described)) for described in known]
    there = [(described, columns) for described, columns in found if columns]
    _note_columns(using, found)
    wrong = {described.label for described, columns in there if not vendor.installed(described, columns)}
    # With the triggers on: what is written after this look at a table is noted.
    filled = vendor.filled([described.table for described, _ in there]) if fresh else set()
    for described, columns in there:
        if described.label not in wrong and described.table not in filled:
            continue
        vendor.forget(described.table)
        with transaction.atomic(using=using):
            watched = vendor.watched(described, columns)
            if vendor.install(described, columns) or fresh:
                vendor.capture_existing(described)
                if watched:
                    vendor.capture_gone(described)  # what outdated triggers may not have seen
                else:
                    vendor.capture_unseen(described)


def _number_models(using: str) -> bool:
    """Give each model its short number; returns whether none had one.

    Counted from 1, so that a database that `flush` has emptied keeps the triggers that it has.
    """
    rows = ReplicatedModel.objects.using(using)
    known = dict(rows.values_list("label", "id"))
    if not known:
        # What `flush` leaves: it empties the table of notes first, and those with triggers on them later.
        Capture.objects.using(using).all().delete()
    labels = [model._meta.label_lower for model in registry.model_classes()]
    new = [label for label in labels if label not in known]
    first = max(known.values(), default=0) + 1
    rows.bulk_create(ReplicatedModel(id=number, label=label) for number, label in enumerate(new, first))
    return not known


def _note_columns(using: str, there: Sequence[tuple[Replicated, list[str]]]) -> None:
    """Note which columns are new. What was stamped before says nothing of them, though the table has values there."""
    rows, changed = ReplicatedModel.objects.using(using).in_bulk(), []
    sequence = LocalNode.objects.using(using).get().sequence
    for model, columns in there:
        row = rows[model.id]
        present = {column.name for column in model.columns if column.column in columns}
        after = sequence if row.fields else 0
        fields = {name: row.fields.get(name, after) for name in sorted(present)}
        if fields != row.fields:
            row.fields = fields
            changed.append(row)
    if changed:
        targets = ["id"] if connections[using].features.supports_update_conflicts_with_target else None
        rows_there = ReplicatedModel.objects.using(using)
        rows_there.bulk_create(changed, update_conflicts=True, update_fields=["fields"], unique_fields=targets)


def _remove_orphans(using: str, vendor: Vendor) -> None:
    """Take the triggers off tables that are not replicated any more; they would fail once the ledger is gone."""
    current = {model._meta.label_lower for model in registry.model_classes()}
    for label in ReplicatedModel.objects.using(using).exclude(label__in=current).values_list("label", flat=True):
        try:
            table = apps.get_model(label)._meta.db_table
        except LookupError:
            continue  # the model is gone, and its table with it
        with transaction.atomic(using=using):
            vendor.uninstall(table)


def uninstall(using: str) -> list[str]:
    """Take all triggers off, so that the application works without the library; returns the models' labels."""
    vendor = vendor_for(connections[using])
    known = registry.replicated(using)
    for described in known.values():
        with transaction.atomic(using=using):
            vendor.uninstall(described.table)
    return list(known)


def missing(using: str) -> list[str]:
    """Labels of replicated models whose triggers are missing or are not what they should be.

    Not those that have no table: nothing is written to it, and `schema.lacking` says what makes it.
    """
    vendor = vendor_for(connections[using])
    known = registry.replicated(using)
    vendor.look([model._meta.db_table for model in registry.model_classes()])
    wrong = [
        model._meta.label_lower
        for model in registry.model_classes()
        if model._meta.label_lower not in known and vendor.columns(model._meta.db_table)
    ]
    for described in known.values():
        there = vendor.columns(described.table)
        if there and not vendor.installed(described, _among(described, there)):
            wrong.append(described.label)
    return wrong


def present_columns(vendor: Vendor, model: Replicated) -> list[str]:
    """The replicated columns that the table has now; in the middle of a migration not all of them may be there."""
    return _among(model, vendor.columns(model.table))


def _among(model: Replicated, there: set[str]) -> list[str]:
    return [c.column for c in model.columns if c.column in there and c.column != model.pk_column]


class _AroundDDL:
    """An execute wrapper: triggers go just before a statement that alters their table, and come back just after.

    SQLite drops triggers silently when it remakes a table, and refuses to drop a column that a trigger names.
    Taking them off for the whole of ``migrate`` instead would miss the data migrations and what workers write.
    """

    def __init__(self, using: str) -> None:
        self.using = using
        self.busy = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql)
        if self.busy or not DDL.match(text):
            return execute(sql, params, many, context)
        self.busy = True
        try:
            vendor = vendor_for(connections[self.using])
            with vendor.connection.cursor() as cursor:
                ready = {CAPTURE, LOCAL} <= set(vendor.connection.introspection.table_names(cursor))
            touched = [m for m in registry.replicated(self.using).values() if names(text, m.table)] if ready else []
            if not settings.node:  # then nothing is put on that was not there
                touched = [m for m in touched if vendor.installed(m, present_columns(vendor, m))]
            for model in touched:
                vendor.uninstall(model.table)
            result = execute(sql, params, many, context)
            for model in touched:
                columns = present_columns(vendor, model)
                if columns:
                    vendor.install(model, columns)
            return result
        finally:
            self.busy = False


def names(sql: str, table: str) -> bool:
    """Whether the statement names the table (or the copy under which SQLite remakes it)."""
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(table)}(?![A-Za-z0-9_])", sql) is not None


_wrappers: dict[str, _AroundDDL] = {}


def before_migrate(*, using: str, **kwargs: Any) -> None:
    """Begin to watch DDL. Sent once for this app, before any migration runs."""
    if using == settings.database and using not in _wrappers and (settings.node or is_node(using)):
        _wrappers[using] = _AroundDDL(using)
        connections[using].execute_wrappers.append(_wrappers[using])


def after_migrate(*, using: str, **kwargs: Any) -> None:
    """Stop watching, and install."""
    wrapper = _wrappers.pop(using, None)
    if wrapper is not None and wrapper in connections[using].execute_wrappers:
        connections[using].execute_wrappers.remove(wrapper)
    if using == settings.database and Capture._meta.db_table in connections[using].introspection.table_names():
        install(using)


def is_node(using: str) -> bool:
    """Whether an earlier `migrate` has made the database at `using` a node."""
    there = LocalNode._meta.db_table in connections[using].introspection.table_names()
    return there and LocalNode.objects.using(using).exists()


def connect() -> None:
    """Called when the application is ready."""
    app = apps.get_app_config("handleref_sync")
    pre_migrate.connect(before_migrate, sender=app, dispatch_uid="handleref_sync")
    post_migrate.connect(after_migrate, sender=app, dispatch_uid="handleref_sync")
