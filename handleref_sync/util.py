"""Handles: a tag and a primary key in one text, such as ``apt12``."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models

COUNTED = re.compile(r"^([a-zA-Z]+)[\s-]*(\d+)$")
UUIDS = re.compile(r"^([a-zA-Z]+)[\s-]*([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")


def split_ref(string: str, model: type[models.Model] | None = None) -> tuple[str, Any]:
    """The tag, in lower case, and the primary key of a handle: ``("apt", 12)``.

    A number is an int, whatever the model; a UUID in its dashed form is a UUID. Any other text is read by the tags of
    the installed models and the type of their primary keys. Between tag and number, or UUID, there may be spaces and
    dashes. With `model` the handle is one of that model: the key has the type of its primary key, also where a text
    key consists of digits. Raises ValueError for what is no handle, or could be one of two models.
    """
    if model is not None:
        found = _keys(string, model)
        if found is None:
            raise ValueError(f"unable to split string '{string}': it is no handle of {model._meta.label}")
        return found
    match = COUNTED.search(string)
    if match:
        return match[1].lower(), int(match[2])
    known = {found for found in map(lambda each: _keys(string, each), _tagged()) if found is not None}
    if len(known) > 1:
        tags = ", ".join(sorted(tag for tag, _ in known))
        raise ValueError(f"unable to split string '{string}': its tag may be any of {tags}; name the model")
    if known:
        return known.pop()
    match = UUIDS.search(string)
    if match:
        return match[1].lower(), uuid.UUID(match[2])
    raise ValueError(f"unable to split string '{string}'")


def _tagged() -> list[type[models.Model]]:
    """All models that have handles; none before the applications are loaded."""
    return [model for model in apps.get_models() if hasattr(model, "_handleref")] if apps.models_ready else []


def _keys(string: str, model: type[models.Model]) -> tuple[str, Any] | None:
    """`string` as a handle of `model`; None if it can't be one."""
    tag: str = model._handleref.tag  # type: ignore[attr-defined]
    if string[: len(tag)].lower() != tag.lower():
        return None
    field: Any = model._meta.pk
    while field.is_relation:
        field = field.target_field
    rest = string[len(tag) :]
    if isinstance(field, models.CharField | models.TextField):
        return (tag.lower(), rest) if rest else None
    form = r"[\s-]*(\d+)$" if isinstance(field, models.IntegerField) else r"[\s-]*(\S+)$"
    match = re.match(form, rest)
    try:
        return (tag.lower(), field.to_python(match[1])) if match else None
    except ValidationError:
        return None
