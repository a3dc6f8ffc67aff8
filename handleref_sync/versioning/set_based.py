"""Versions of rows that were written set-based, which django-reversion can't see by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import models, transaction

from handleref_sync.versioning.history import is_recorded

BATCH = 500


@contextmanager
def recorded(
    rows: Mapping[type[models.Model], Sequence[models.Model]], *, using: str, user: Any, comment: str
) -> Iterator[None]:
    """Whatever the block does to `rows` ({model: rows}) becomes one revision, of those models that have versions.

    Block and revision are one transaction. Rows that are gone after the block get no version.
    """
    known = {model: [row.pk for row in found] for model, found in rows.items() if is_recorded(model)}
    with transaction.atomic(using=using):
        if not known:
            yield
            return
        import reversion

        with reversion.create_revision():
            yield
            for model, pks in known.items():
                for start in range(0, len(pks), BATCH):
                    for row in model._base_manager.using(using).filter(pk__in=pks[start : start + BATCH]):
                        reversion.add_to_revision(row, model_db=using)
            reversion.set_comment(comment)
            if user is not None:
                reversion.set_user(user)
