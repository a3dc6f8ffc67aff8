"""Writing an old version back. What is written is an ordinary save: it is captured and replicates like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.db import models, router, transaction
from django.utils.translation import gettext as _

from handleref_sync.models import Conflict
from handleref_sync.versioning.history import Diff, UnreadableVersion, Version, require


class Reverter:
    """Sets fields to what they were, validates the whole object and saves it, in one transaction.

    Raises ValidationError, and then the object in memory is as it was before.
    """

    def revert_fields(self, instance: models.Model, field_versions: Mapping[str, Version], **kwargs: Any) -> None:
        """Set each field named in `field_versions` ({field: version}) to its value in that version."""
        values = {}
        for field, version in field_versions.items():
            data = _data(version)
            if field not in data:
                raise ValidationError({"non_field_errors": [_("There is no field “%s” in that version.") % field]})
            if field in Diff.diff_ignore_fields or _is_pk(instance, field):
                raise ValidationError({"non_field_errors": [_("The field “%s” can't be reverted.") % field]})
            values[field] = data[field]
        self._write(instance, values, check_status="status" in values)

    def rollback(self, instance: models.Model, version: Version, **kwargs: Any) -> None:
        """Set all fields to their values in `version`, but for the primary key, created, updated and version."""
        values = {
            field: value
            for field, value in _data(version).items()
            if field not in Diff.diff_ignore_fields and not _is_pk(instance, field)
        }
        self._write(instance, values, check_status="status" in values)

    def validate_status_change(self, instance: models.Model, status: str) -> None:
        """Raise ValidationError if `instance` would get `status` under a parent that is soft-deleted."""
        for field in instance._meta.concrete_fields:
            # By the options that each HandleRefModel has; an inner class of its own is not needed.
            if not field.is_relation or not hasattr(field.related_model, "_handleref"):
                continue
            try:
                parent = getattr(instance, field.name)
            except ObjectDoesNotExist:
                continue  # full_clean() says that it is missing
            if parent is not None:
                self.validate_parent_status(instance, parent, status)

    def validate_parent_status(self, instance: models.Model, parent: Any, status: str) -> None:
        """Raise ValidationError if `parent` is soft-deleted and `status` is not."""
        if parent.status == "deleted" and status != "deleted":
            raise ValidationError(
                {
                    "non_field_errors": [
                        _("Its parent, %(parent)s, is deleted. Undelete the parent before this object.")
                        % {"parent": parent}
                    ]
                }
            )

    def _write(self, instance: models.Model, values: Mapping[str, Any], *, check_status: bool) -> None:
        using = instance._state.db or router.db_for_write(type(instance), instance=instance)
        plain: dict[str, Any] = {}
        many: dict[str, Any] = {}
        for name, value in values.items():
            field = _field(instance, name)
            if field is None:
                continue  # it was taken out of the model since
            if field.many_to_many:
                _require_targets(field, name, value, using)
                many[field.name] = value
            else:
                plain[field.attname] = value
        before = {name: getattr(instance, name) for name in plain}
        try:
            for name, value in plain.items():
                setattr(instance, name, value)
            if check_status:
                self.validate_status_change(instance, getattr(instance, "status", ""))
            instance.full_clean()
            with transaction.atomic(using=using):
                instance.save(using=using)
                for name, value in many.items():
                    getattr(instance, name).set(value)
        except BaseException:
            for name, value in before.items():
                setattr(instance, name, value)
            raise


class ReversionReverter(Reverter):
    """The same in a revision of django-reversion, by `user`, with a comment that says what was done."""

    def revert_fields(
        self, instance: models.Model, field_versions: Mapping[str, Version], user: Any = None, **kwargs: Any
    ) -> None:
        require()
        numbers = ", ".join(map(str, sorted({_number(version) for version in field_versions.values()})))
        with _revision(f"reverted some fields via versions: {numbers}", user):
            super().revert_fields(instance, field_versions, **kwargs)

    def rollback(self, instance: models.Model, version: Version, user: Any = None, **kwargs: Any) -> None:
        require()
        conflict = getattr(getattr(version, "source", None), "conflict", None)
        with _revision(f"rollback to version {_number(version)}", user):
            super().rollback(instance, version, **kwargs)
            if conflict is not None:
                # A captured write, so that nobody restores the same loser a second time elsewhere.
                log = Conflict.objects.using(instance._state.db)
                log.filter(pk=conflict, restored=False).update(restored=True)


@contextmanager
def _revision(comment: str, user: Any) -> Iterator[None]:
    import reversion

    with reversion.create_revision():
        yield
        # After the save: reversion's own admin sets a comment too, and the last one stays.
        reversion.set_comment(comment)
        if user is not None:
            reversion.set_user(user)


def _data(version: Version) -> dict[str, Any]:
    try:
        return version.data  # type: ignore[no-any-return]
    except UnreadableVersion as error:
        raise ValidationError({"non_field_errors": [str(error)]}) from error


def _number(version: Version) -> int:
    """The revision number in the snapshot; for a model without one, the version's ID."""
    return int(_data(version).get("version", version.id))


def _field(instance: models.Model, name: str) -> Any:
    """The field that reversion's data call `name`: by attname, ``org_id``."""
    try:
        return instance._meta.get_field(name)
    except FieldDoesNotExist:
        return next((field for field in instance._meta.concrete_fields if field.attname == name), None)


def _is_pk(instance: models.Model, name: str) -> bool:
    field = _field(instance, name)
    # A multi-table child's link to its parent, and the parent's own id, are identity as well.
    return field is not None and bool(getattr(field, "primary_key", False))


def _require_targets(field: Any, name: str, values: Any, using: str) -> None:
    """Raise ValidationError if rows that a many-to-many field referred to are gone."""
    manager = field.related_model._base_manager.using(using)
    wanted = [field.related_model._meta.pk.to_python(value) for value in values]
    there = set(manager.filter(pk__in=wanted).values_list("pk", flat=True))
    gone = [str(value) for value in wanted if value not in there]
    if gone:
        raise ValidationError(
            {name: [_("It refers to rows that are gone: %s.") % ", ".join(gone)]},
        )
