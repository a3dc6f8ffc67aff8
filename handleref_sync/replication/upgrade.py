"""What becomes of fields that were met before this node had a column for them, once it has one.

The invariant: before and after, stamp and row together say the same, field by field with its mark. So nothing is
stamped and no sequence is taken, and it does not matter when this happens, nor whether a peer is met before it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, OperationalError, transaction
from django.db.models.signals import post_migrate

from handleref_sync.capture.install import is_node
from handleref_sync.conf import settings
from handleref_sync.models import Capture, ReplicatedModel, Stamp
from handleref_sync.registry import Replicated
from handleref_sync.replication.carried import Kept, dump, kept_of
from handleref_sync.replication.conflicts import located
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger, locked
from handleref_sync.replication.values import Unfit

logger = logging.getLogger("handleref_sync.replication")

CHUNK = 1000


def take_effect(using: str) -> int:
    """Write kept values of fields that have a column by now into their rows; returns how many.

    One that does not fit, or that the database refuses, stays where it is, and is said in the log.
    """
    total = 0
    for row in ReplicatedModel.objects.using(using).exclude(unknown=[]):
        with locked(using) as ledger:
            ledger.vendor.bound_waits()
            model = ledger.by_number.get(row.pk)
            if model is None:
                continue
            due = {name for name in row.unknown if model.aliases.get(name, name) in row.fields}
            if not due:  # or the code knows the column and the table does not yet
                continue
            done, whole = _of_model(ledger, model, row.fields)
            total += done
            if whole:
                ReplicatedModel.objects.using(using).filter(pk=row.pk).update(
                    unknown=[name for name in row.unknown if name not in due]
                )
    return total


def _of_model(ledger: Ledger, model: Replicated, columns: Collection[str]) -> tuple[int, bool]:
    content, done, whole = Content(ledger, model), 0, True
    for records in _chunks(ledger, model):
        written = set(
            Capture.objects.using(ledger.using)
            .filter(model=model.id, pk_text__in=[record.pk_text for record in records])
            .values_list("pk_text", flat=True)
        )
        for record in records:
            if record.pk_text in written:
                continue  # a row that was written here since says more than what is kept; its next stamp drops that
            kept = kept_of(ledger, record)
            due = sorted(name for name, entry in kept.items() if entry.values and name in columns)
            for name in due:
                try:
                    # Each on its own: one that collides with what is here, say, does not hold up the others.
                    with transaction.atomic(using=ledger.using):
                        _write(ledger, content, record, name, kept[name].values[0])
                except (DatabaseError, ObjectDoesNotExist, OverflowError, ValueError, Unfit) as error:
                    _raise_unless_of_the_value(ledger, error)
                    whole = False
                    logger.error("%s: the value kept for %s still waits: %s", record, name, str(error).strip())
                else:
                    kept[name] = Kept(kept[name].mark)
                    done += 1
            if due:
                Stamp.objects.using(ledger.using).filter(pk=record.pk).update(carried=dump(ledger, kept))
    return done, whole


def _chunks(ledger: Ledger, model: Replicated) -> Iterator[list[Stamp]]:
    after = 0
    while True:
        stamps = Stamp.objects.using(ledger.using).filter(model=model.id, carried__isnull=False, pk__gt=after)
        records = list(stamps.order_by("pk")[:CHUNK])
        if not records:
            return
        yield records
        after = records[-1].pk


def _write(ledger: Ledger, content: Content, record: Stamp, name: str, value: Any) -> None:
    parents = located(ledger, content, [name], [value])
    row = content.prepare([name], [value], parents)
    model, vendor = content.model, ledger.vendor
    with vendor.applying():
        pk = content.db_pk(str(record.pk_text))
        vendor.update_rows(model.table, model.pk_column, [content.columns[name].column], [[*row, pk]])
        vendor.check_constraints()


def _raise_unless_of_the_value(ledger: Ledger, error: Exception) -> None:
    """Raises `error` if it is about the connection or the disk."""
    if not isinstance(error, OperationalError) or ledger.vendor.refused(error):
        return
    if not ledger.vendor.waited_too_long(error):
        raise error
    ledger.vendor.hurry()


def after_migrate(*, using: str, **kwargs: Any) -> None:
    """Columns that came with a migration get what waited for them."""
    if using == settings.database and is_node(using):
        take_effect(using)


def connect() -> None:
    """Called when the application is ready, after the columns of each table are noted."""
    app = apps.get_app_config("handleref_sync")
    post_migrate.connect(after_migrate, sender=app, dispatch_uid="handleref_sync.upgrade")
