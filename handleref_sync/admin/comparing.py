"""What an object has now beside what a version has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from handleref_sync.version import Diff, Version


def current_value(instance: models.Model, name: str) -> Any:
    """The value now of the field that a snapshot calls `name`. Raises FieldDoesNotExist."""
    field: Any = next((field for field in instance._meta.concrete_fields if field.attname == name), None)
    if field is None:
        field = instance._meta.get_field(name)
    if field.many_to_many:
        return sorted(str(pk) for pk in getattr(instance, field.name).values_list("pk", flat=True))
    return getattr(instance, field.attname)


def with_current(instance: models.Model, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """{"field", "now", "then", "differs"} for each field of a snapshot that going back would write, sorted."""
    found = []
    for name, then in sorted(data.items()):
        if name in Diff.diff_ignore_fields or name == instance._meta.pk.attname:
            continue
        try:
            now = current_value(instance, name)
        except FieldDoesNotExist:
            continue  # it was taken out of the model since
        many = isinstance(then, list | tuple | set) and isinstance(now, list)
        differs = sorted(map(str, then)) != sorted(map(str, now)) if many else then != now
        found.append({"field": name, "now": now, "then": then, "differs": differs})
    return found


def choices(
    instance: models.Model,
    changes: Sequence[tuple[str, Mapping[Any, Mapping[str, Any]]]],
    versions: Iterable[Version],
    asked: Any,
) -> list[dict[str, Any]]:
    """What each field can be set to: {"field", "now", "keep", "options"}, an option being {"version", "value",
    "checked"}.

    What was there before a version; but nothing is left to take back of one that lost a conflict: for that, its own
    value. `asked` is a form that was sent before, if any.
    """
    options: dict[str, list[dict[str, Any]]] = {}
    for field, by_version in changes:
        for change in by_version.values():
            if not change["version"].lost:
                before = change["version"].previous
                options.setdefault(field, []).append({"version": before, "value": before.data.get(field)})
    for version in versions:
        if version.lost:
            for row in with_current(instance, version.data):
                if row["differs"]:
                    options.setdefault(row["field"], []).append({"version": version, "value": row["then"]})
    found = []
    for field, offered in sorted(options.items()):
        picked = asked.get(f"field_{field}") or str(offered[0]["version"].id)
        for option in offered:
            option["checked"] = str(option["version"].id) == picked
        try:
            now = current_value(instance, field)
        except FieldDoesNotExist:
            continue
        keep = not any(option["checked"] for option in offered)
        found.append({"field": field, "now": now, "keep": keep, "options": offered})
    return found
