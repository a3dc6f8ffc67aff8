"""The newest version in the history of an object that is, or was, in its table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.db.models import Exists, Max, OuterRef
from reversion.models import Version

from handleref_sync.models import RevisionSource


def newest_versions(
    using: str, content_type: int, db: str, object_ids: Iterable[str], before: int | None = None
) -> list[Any]:
    """The newest version of each object (of revisions lower than `before`), in one query.

    Versions that lost a conflict do not count: they never were, or are no longer, what the table has.
    """
    same = Version.objects.using(using).filter(content_type=content_type, db=db, object_id__in=list(object_ids))
    if before is not None:
        same = same.filter(revision__lt=before)
    if router.allow_migrate_model(using, RevisionSource):
        lost = RevisionSource.objects.using(using).filter(revision_id=OuterRef("revision_id"), lost=True)
        same = same.exclude(Exists(lost))
    newest = same.order_by().values("object_id").annotate(newest=Max("pk")).values("newest")
    return list(Version.objects.using(using).filter(pk__in=newest).order_by())
