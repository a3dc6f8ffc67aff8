"""The ``handleref`` manager."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Max, Q

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_M = TypeVar("_M", bound=models.Model)


class HandleRefQuerySet(models.QuerySet[_M]):
    """Queries over ``status``, ``created``, ``updated`` and ``version``, and over the ledger."""

    def since(
        self,
        timestamp: datetime | Real | Decimal | float | None = None,
        version: int | None = None,
        deleted: bool = False,
        *,
        vector: Mapping[str, int] | None = None,
    ) -> Self:
        """Rows changed after `timestamp` (datetime, or Unix seconds) and above revision `version`.

        `vector` ({node: counter}) asks for rows whose current write that vector has not incorporated. Rows that
        were written here and not stamped yet count as such. Soft-deleted rows only with ``deleted=True``.
        Raises ValueError for a number that is no moment between the years 1 and 9999.
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

    def with_stamps(self) -> Self:
        """The same rows, with ``stamp`` and ``node`` loaded: one query more for many rows, none for a single one.

        Asks for instances; after ``values()`` or ``values_list()`` it raises TypeError.
        """
        from handleref_sync.models.stamped import StampedIterable

        clone: Any = self.all()
        if clone._fields is not None:
            raise TypeError("Cannot call with_stamps() after .values() or .values_list()")
        clone._iterable_class = StampedIterable
        return clone  # type: ignore[no-any-return]

    def soft_delete(self) -> tuple[int, dict[str, int]]:
        """Soft-delete these rows and all that ``delete_cascade`` leads to, set by set; all or nothing.

        Returns (count, {label: count}) of the rows that were not deleted before. Like ``update()`` it calls neither
        ``save()`` nor ``delete()`` of a model and sends no signals.
        """
        from handleref_sync.models.soft_delete import soft_delete

        return soft_delete(self)

    soft_delete.alters_data = True  # type: ignore[attr-defined]
    soft_delete.queryset_only = True  # type: ignore[attr-defined]


class HandleRefManager(models.Manager[_M]):
    """Default manager of every HandleRefModel, and so of every related manager."""

    def get_queryset(self) -> HandleRefQuerySet[_M]:
        return HandleRefQuerySet(self.model, using=self._db, hints=self._hints)  # type: ignore[attr-defined]

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

    def with_stamps(self) -> HandleRefQuerySet[_M]:
        """All rows, with ``stamp`` and ``node`` loaded: see HandleRefQuerySet.with_stamps."""
        return self.get_queryset().with_stamps()


def _moment(value: Any) -> Any:
    """A Unix time as the moment that it is; what is no number stays what it is, and the field judges it.

    Raises ValueError for a number that no datetime can hold.
    """
    if not isinstance(value, Real | Decimal):
        return value
    try:
        # Without USE_TZ, rows bear the process's own local time. With it, no setting has a say in what moment it is.
        return datetime.fromtimestamp(float(value), UTC if django_settings.USE_TZ else None)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{value!r} is not a Unix time: give seconds since 1970, of the years 1 to 9999.") from error
