"""Revisions of what replication did, many at a time.

They do not go through ``create_revision()``: that would count the rows' version up, make one revision of a whole
page, and ask the database about each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import reversion
from django.conf import settings
from django.db import models
from django.db.models import Exists, Min, OuterRef
from django.utils import timezone
from reversion.models import Revision, Version

from handleref_sync.models import Conflict, RevisionSource
from handleref_sync.versioning.pages import Entry, Pages


def record(using: str, entries: Sequence[Entry]) -> None:
    """Make a revision for each entry, in their order. A row that can't be shown is logged, and has none."""
    pages = Pages(using).of(entries)
    made = [(entry, page) for entry, page in zip(entries, pages, strict=True) if page]
    if not made:
        return
    revisions = Revision.objects.using(using).bulk_create(
        Revision(date_created=_moment(entry.written), comment=entry.comment) for entry, _ in made
    )
    for (entry, page), revision in zip(made, revisions, strict=True):
        entry.source.revision_id = revision.pk
        for version in page:
            version.revision = revision
    Version.objects.using(using).bulk_create(version for _, page in made for version in page)
    RevisionSource.objects.using(using).bulk_create(entry.source for entry, _ in made)
    _tidy_oldest(using)


def record_write(using: str, model: type[models.Model], pk: Any, comment: str) -> None:
    """An ordinary revision for a row that was written here without ``save()``: its version counts up."""
    if not reversion.is_registered(model):
        return
    with reversion.create_revision(using=using):
        if not reversion.get_comment():  # within a revision of the caller's own, it is the caller's to say
            reversion.set_comment(comment)
        reversion.add_to_revision(model._base_manager.using(using).get(pk=pk), model_db=using)


def tidy(using: str) -> int:
    """Forget the sources of revisions that are gone; returns how many. Reads the whole table.

    The loser of a conflict that is still logged stays: without it, it would be put into the history anew.
    """
    there = Revision.objects.using(using).filter(pk=OuterRef("revision_id"))
    return int(_forgettable(using).exclude(Exists(there)).delete()[0])


def _tidy_oldest(using: str) -> None:
    """The part of `tidy` that costs nothing: ``deleterevisions --days`` takes the oldest."""
    oldest = Revision.objects.using(using).aggregate(oldest=Min("pk"))["oldest"]
    _forgettable(using).filter(revision_id__lt=oldest).delete()


def _forgettable(using: str) -> models.QuerySet[RevisionSource]:
    logged = Conflict.objects.using(using).filter(pk=OuterRef("conflict"))
    return RevisionSource.objects.using(using).exclude(Exists(logged))


def _moment(written: datetime | None) -> datetime:
    """As ``date_created`` takes it. Where nobody knows when the row was written, it is now."""
    moment = written or datetime.now(UTC)
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())
