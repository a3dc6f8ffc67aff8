"""The versions of an object that are on record, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.db import models

from handleref_sync.core import hlc
from handleref_sync.versioning import available
from handleref_sync.versioning.sources import local_node_name, sources_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableVersion(Exception):
    """The snapshot of a version can't be read: the model has changed too much, or reversion no longer knows it."""


class Version:
    """What the admin and a reverter need to know of one version. ``version`` is whatever keeps it.

    A subclass for another store gives the properties down to ``next``; the others have defaults.
    """

    def __init__(self, version: Any) -> None:
        self.version = version

    @property
    def date(self) -> Any:
        """When it was written, as the store says it."""
        raise NotImplementedError

    @property
    def user(self) -> Any:
        """Who wrote it, or None."""
        raise NotImplementedError

    @property
    def id(self) -> Any:
        """What names it in addresses and forms."""
        raise NotImplementedError

    @property
    def comment(self) -> Any:
        """The comment that it was recorded with."""
        raise NotImplementedError

    @property
    def data(self) -> Any:
        """{field: value}, foreign keys under their ``_id`` names."""
        raise NotImplementedError

    @property
    def data_sorted(self) -> Any:
        """``data`` as (field, value) pairs, sorted by field."""
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The model class."""
        raise NotImplementedError

    @property
    def previous(self) -> Any:
        """The version before it, or None."""
        raise NotImplementedError

    @property
    def next(self) -> Any:
        """The version after it."""
        raise NotImplementedError

    @property
    def node(self) -> str | None:
        """The ID of the node that wrote it; None where nobody knows."""
        return None

    @property
    def peer(self) -> str | None:
        """The peer that brought it, or in the sync with which it lost; None for what was recorded here."""
        return None

    @property
    def written(self) -> datetime | None:
        """When it was written, by the clock of its node; None where nobody knows."""
        return self.date  # type: ignore[no-any-return]

    @property
    def lost(self) -> bool:
        """Whether it lost a conflict, so that no later version builds on it."""
        return False

    @property
    def compared_with(self) -> Any:
        """What a list sets it against: the version before it, or None."""
        return self.previous

    @classmethod
    def attach_sources(cls, versions: Sequence[Version]) -> None:
        """Load what ``node``, ``peer``, ``written`` and ``lost`` need, for all of `versions` at once."""

    @classmethod
    def changes_summary(cls, versions: Iterable[Version]) -> list[tuple[str, dict[Any, dict[str, Any]]]]:
        """What `versions` changed: (field, {version id: {"version", "old", "changed"}}), sorted by field.

        A first version has nothing before it and so contributes nothing.
        """
        summary: dict[str, dict[Any, dict[str, Any]]] = {}
        for version in versions:
            for field, change in (version.changes(version.previous) or {}).items():
                summary.setdefault(field, {})[version.id] = {"version": version, **change}
        return sorted(summary.items(), key=lambda item: item[0])

    def changes(self, previous: Version | None) -> dict[str, dict[str, Any]] | None:
        """{field: {"old", "changed"}} from `previous` to here; None without a previous version."""
        return None if previous is None else Diff(previous, self).changes

    def changed_fields(self, previous: Version | None) -> list[str] | None:
        """The names in ``changes``."""
        changes = self.changes(previous)
        return None if changes is None else list(changes)


class ReversionVersion(Version):
    """A version that django-reversion keeps: its ``Version`` instance, or the ID of one.

    Raises ValueError for what is no ID, and reversion's ``Version.DoesNotExist`` where there is none with it.
    ``ReversionVersion(None)`` stands for "no such version", as ``next`` of the last one does: all of it is None.
    """

    def __init__(self, version: Any) -> None:
        if isinstance(version, int | str):
            version = _load(version)
        super().__init__(version)

    @property
    def date(self) -> datetime | None:
        return None if self.version is None else self.version.revision.date_created

    @property
    def user(self) -> Any:
        return None if self.version is None else self.version.revision.user

    @property
    def id(self) -> int | None:
        return None if self.version is None else self.version.pk

    @property
    def comment(self) -> str | None:
        # reversion's own admin may have stored a JSON message of the admin log.
        return None if self.version is None else self.version.revision.get_comment()

    @cached_property
    def data(self) -> dict[str, Any]:
        """{field: value}. Raises UnreadableVersion."""
        if self.version is None:
            return {}
        from reversion.errors import RegistrationError, RevertError

        if self.model is None:
            raise UnreadableVersion(f"the model of {self.version.object_repr} is gone")
        try:
            return dict(self.version.field_dict)
        except (RevertError, RegistrationError) as error:
            raise UnreadableVersion(str(error)) from error
        except ObjectDoesNotExist as error:  # a multi-table parent that is not in the revision
            raise UnreadableVersion(f"a part of {self.version.object_repr} was not recorded") from error

    @property
    def data_sorted(self) -> list[tuple[str, Any]]:
        return sorted(self.data.items(), key=lambda item: item[0])

    @property
    def model(self) -> type[models.Model] | None:
        if self.version is None:
            return None
        from django.contrib.contenttypes.models import ContentType

        types = ContentType.objects.db_manager(self.version._state.db)
        return types.get_for_id(self.version.content_type_id).model_class()

    @cached_property
    def previous(self) -> ReversionVersion | None:
        """The nearest older version that did not lose: what this one was made from, as far as this node knows."""
        if self.version is None:
            return None
        return self._nearest(self._others().filter(revision_id__lt=self.version.revision_id).order_by("-revision_id"))

    @cached_property
    def next(self) -> ReversionVersion:
        """The nearest newer version that did not lose; without one, a ReversionVersion whose ``version`` is None."""
        if self.version is None:
            return type(self)(None)
        later = self._others().filter(revision_id__gt=self.version.revision_id).order_by("revision_id")
        return self._nearest(later) or type(self)(None)

    @cached_property
    def compared_with(self) -> ReversionVersion | None:
        """For one that lost, the newest that did not: so one sees what writing it back would change."""
        if not self.lost:
            return self.previous
        return self._nearest(self._others().order_by("-revision_id"))

    def _others(self) -> models.QuerySet[Any]:
        # By columns, not by the object: it may be gone.
        version = self.version
        manager = type(version)._base_manager.using(version._state.db)
        found: models.QuerySet[Any] = manager.filter(
            content_type_id=version.content_type_id, object_id=version.object_id, db=version.db
        )
        return found.select_related("revision", "revision__user")

    def _nearest(self, candidates: models.QuerySet[Any]) -> ReversionVersion | None:
        wrapped = (type(self)(candidate) for candidate in candidates.iterator(chunk_size=50))
        return next((version for version in wrapped if not version.lost), None)

    @cached_property
    def source(self) -> Any:
        """The RevisionSource of what a peer brought; None for what was written here."""
        if self.version is None:
            return None
        return sources_of([self.version.revision_id], self.version._state.db).get(self.version.revision_id)

    @cached_property
    def _local_node(self) -> str | None:
        return None if self.version is None else local_node_name(self.version._state.db)

    @property
    def node(self) -> str | None:
        return self.source.node if self.source else self._local_node

    @property
    def peer(self) -> str | None:
        return self.source.peer or None if self.source else None

    @property
    def written(self) -> datetime | None:
        if not self.source:
            return self.date
        milliseconds = hlc.milliseconds(self.source.timestamp)
        return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds else None

    @property
    def lost(self) -> bool:
        return bool(self.source and self.source.lost)

    @classmethod
    def attach_sources(cls, versions: Sequence[Version]) -> None:
        present = [version for version in versions if version.version is not None]
        for using in {version.version._state.db for version in present}:
            here = [version for version in present if version.version._state.db == using]
            sources = sources_of([version.version.revision_id for version in here], using)
            local = local_node_name(using)
            for version in here:
                version.__dict__.update(source=sources.get(version.version.revision_id), _local_node=local)


class Diff:
    """What `version_b` has that `version_a` had not."""

    diff_ignore_fields: ClassVar[Sequence[str]] = ["version", "created", "updated"]

    def __init__(self, version_a: Version, version_b: Version) -> None:
        self.version_a = version_a
        self.version_b = version_b

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """{field: {"old", "changed"}}, for the fields of the newer version only."""
        if not self.version_a.version or not self.version_b.version:
            return {}
        before = self.version_a.data
        found = {}
        for field, changed in self.version_b.data.items():
            old = before.get(field)
            if field in self.diff_ignore_fields or old == changed:
                continue
            if not isinstance(old, str | int):
                old, changed = self.format_value(old), self.format_value(changed)
            found[field] = {"old": old, "changed": changed}
        return found

    def format_value(self, value: Any) -> str:
        """A value as text."""
        return f"{value}"


def versions_of(instance: models.Model) -> models.QuerySet[Any]:
    """What reversion has on `instance`, newest first. Raises ImproperlyConfigured without django-reversion."""
    require()
    from reversion.models import Version as Stored
    from reversion.revisions import is_registered

    if not is_registered(type(instance)):
        nothing: models.QuerySet[Any] = Stored.objects.none()
        return nothing
    found: models.QuerySet[Any] = Stored.objects.get_for_object(instance, model_db=instance._state.db)
    return found.order_by("-revision_id").select_related("revision", "revision__user")


def is_recorded(model: type[models.Model]) -> bool:
    """Whether django-reversion is installed and keeps versions of `model`."""
    if not available():
        return False
    from reversion.revisions import is_registered

    return bool(is_registered(model))


def require() -> None:
    """Raise ImproperlyConfigured where django-reversion is not installed."""
    if not available():
        raise ImproperlyConfigured(
            'The history of versions needs django-reversion: install it and add "reversion" to INSTALLED_APPS.'
        )


def _load(version_id: int | str) -> Any:
    require()
    from reversion.models import Version as Stored

    if isinstance(version_id, str) and not (version_id.isascii() and version_id.isdigit()):
        raise ValueError(f"{version_id!r} is no version ID: it takes a number, or an instance of reversion's Version")
    return Stored.objects.select_related("revision", "revision__user").get(pk=int(version_id))
