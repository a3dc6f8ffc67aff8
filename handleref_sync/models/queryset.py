"""The ``handleref`` manager."""

from __future__ import annotations

from datetime import UTC, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Max, Q
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_M = TypeVar("_M", bound=models.Model)


class HandleRefQuerySet(models.QuerySet[_M]):
    """Queries over ``status``, ``created``, ``updated`` and ``version``, and over the ledger."""

    def since(
        self,
        timestamp: datetime | Real | float | None = None,
        version: int | None = None,
        deleted: bool = False,
        *,
        vector: Mapping[str, int] | None = None,
    ) -> Self:
        """Rows changed after `timestamp` (datetime, or Unix seconds) and above revision `version`.

        `vector` ({node: counter}) asks for rows whose current write that vector has not incorporated. Rows that
        were written here and not stamped yet count as such. Soft-deleted rows only with ``deleted=True``.
        """
        result = self if deleted else self.undeleted()
        if timestamp is not None:
            moment = _moment(timestamp)
            result = result.filter(Q(created__gt=moment) | Q(updated__gt=moment))
        if version is not None:
            result = result.filter(version__gt=version)
        if vector is not None:
            from handleref_sync.models.lookup import pks_since

            result = result.filter(pk__in=pks_since(self.model, self.db, vector))
        return result

    def undeleted(self) -> Self:
        """Rows that are not soft-deleted."""
        return self.exclude(status="deleted")

    def last_change(self) -> datetime | None:
        """The newest ``updated``, or None if there is no row."""
        return self.aggregate(last=Max("updated"))["last"]  # type: ignore[no-any-return]


class HandleRefManager(models.Manager[_M]):
    """Default manager of every HandleRefModel, and so of every related manager."""

    def get_queryset(self) -> HandleRefQuerySet[_M]:
        return HandleRefQuerySet(self.model, using=self._db)

    @property
    def tag(self) -> str:
        """The short name that begins a handle."""
        return str(self.prop("tag"))

    def prop(self, key: str) -> Any:
        """An option of the model's inner ``HandleRef`` class. Raises AttributeError if there is none."""
        return getattr(self.model._handleref, key)  # type: ignore[attr-defined]

    def since(self, **kwargs: Any) -> HandleRefQuerySet[_M]:
        """See HandleRefQuerySet.since; keywords only, as it always was."""
        return self.get_queryset().since(**kwargs)

    def undeleted(self) -> HandleRefQuerySet[_M]:
        """Rows that are not soft-deleted."""
        return self.get_queryset().undeleted()

    def last_change(self, **kwargs: Any) -> datetime | None:
        """The newest ``updated`` of the rows that match `kwargs`, or of all."""
        return self.get_queryset().filter(**kwargs).last_change()


def _moment(value: datetime | Real | float) -> datetime:
    """A Unix time means the same instant in every time-zone setting."""
    if isinstance(value, datetime):
        return value
    moment = datetime.fromtimestamp(float(value), UTC)
    return moment if django_settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())
