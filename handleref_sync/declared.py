"""What is declared for a model: in its ``class HandleRef``, or for others' models in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.utils.module_loading import import_string

from handleref_sync.conf import NODE_ID, settings
from handleref_sync.core.resolvers import GiveWay, Prefer, Resolve
from handleref_sync.exceptions import ConfigurationError

DEFAULT_EXCLUDE = {"last_login"}
LWW = "lww"
FIELD_LWW = "field-lww"
PARK = "park"
RENAME = "rename"


def identity(model: type[models.Model]) -> str:
    """The identity of `model`: what was declared, else what its primary key suggests.

    Raises ConfigurationError for a declaration that can't be.
    """
    if model._meta.auto_created:
        return "ends"
    pk: Any = model._meta.pk
    counted = isinstance(pk, models.AutoField)
    declared = option(model, "identity", None)
    if declared is None:
        return "parent" if pk.is_relation else "origin" if counted else "pk"
    label, hint = model._meta.label, 'Use "pk", "origin", or a tuple of names of fields.'
    if declared == "pk" and not pk.is_relation:
        return "pk"
    if isinstance(declared, (list, tuple)) and declared:
        lacking = [name for name in declared if name not in _replicated_names(model)]
        if lacking:
            raise ConfigurationError(
                f"{label}: identity names {', '.join(map(str, lacking))}, which is no replicated field of its table.",
                hint=hint,
            )
        if not counted:
            raise ConfigurationError(
                f"{label}: identity names fields, but its primary key is not assigned by the database.",
                hint='Leave it at "pk": the primary key itself can travel.',
            )
        return "natural"
    if declared != "origin":
        raise ConfigurationError(f"{label}: identity is {declared!r}.", hint=hint)
    if not counted:
        raise ConfigurationError(
            f'{label}: identity is "origin", but its primary key is not assigned by the database.',
            hint="Leave identity out.",
        )
    return "origin"


def natural(model: type[models.Model]) -> tuple[str, ...]:
    """The names of the fields that make the key, where `identity` is natural."""
    return tuple(option(model, "identity", ()))


def _replicated_names(model: type[models.Model]) -> set[str]:
    return {f.name for f in model._meta.local_concrete_fields if not f.primary_key} - excluded(model)


def excluded(model: type[models.Model]) -> set[str]:
    """The names of the fields that stay local."""
    default = DEFAULT_EXCLUDE if model._meta.label_lower == "auth.user" else set()
    return set(option(model, "exclude", ())) | default


def resolver(model: type[models.Model]) -> str | Resolve:
    """What decides a conflict. Raises ConfigurationError for what can't be one."""
    hint = 'Use "lww", "field-lww", "prefer:NODE", or the dotted path of a function.'
    declared = option(model, "resolver", LWW)
    kind, _, node = str(declared).partition(":")
    if kind == "prefer" and NODE_ID.fullmatch(node):
        return Prefer(node)
    found: str | Resolve = _word_or_function(model, "resolver", declared, (LWW, FIELD_LWW), hint)
    return found


def on_unique(model: type[models.Model]) -> str | GiveWay:
    """What becomes of a unique collision. Raises ConfigurationError for what can't be that."""
    hint = 'Use "park", "rename", or the dotted path of a function.'
    declared = option(model, "on_unique", PARK)
    found: str | GiveWay = _word_or_function(model, "on_unique", declared, (PARK, RENAME), hint)
    return found


def _word_or_function(model: type[models.Model], what: str, declared: Any, words: tuple[str, ...], hint: str) -> Any:
    found = declared
    if isinstance(declared, str) and declared not in words:
        try:
            found = import_string(declared)
        except ImportError as error:
            raise ConfigurationError(f"{model._meta.label}: {what} is {declared!r}: {error}.", hint=hint) from error
    if found not in words and (not callable(found) or isinstance(found, type)):
        raise ConfigurationError(f"{model._meta.label}: {what} is {declared!r}.", hint=hint)
    return found


def names(model: type[models.Model]) -> tuple[dict[str, str], dict[str, str]]:
    """Of fields that were renamed: the name under which each travels, and which names mean that one.

    Raises ConfigurationError for a declaration that makes no sense.
    """
    declared = option(model, "renamed", {})
    present = {field.name for field in model._meta.local_concrete_fields}
    if not isinstance(declared, Mapping) or set(declared) & present:
        raise _not_renamed(model, declared)
    first: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for old, new in declared.items():
        seen = {old}
        while new in declared and new not in seen:  # renamed more than once
            seen.add(new)
            new = declared[new]
        if new not in present:
            raise _not_renamed(model, declared)
        first.setdefault(new, old)
        aliases |= {name: first[new] for name in (old, new) if name != first[new]}
    return first, aliases


def _not_renamed(model: type[models.Model], declared: object) -> ConfigurationError:
    return ConfigurationError(
        f"{model._meta.label}: renamed is {declared!r}.",
        hint='It takes the names that fields had and those they have, the first first: {"old": "new"}.',
    )


def option(model: type[models.Model], name: str, default: Any) -> Any:
    """An option from settings, else from the model's ``class HandleRef``."""
    chosen = settings.options.get(model._meta.label_lower, {})
    return chosen.get(name, getattr(getattr(model, "HandleRef", None), name, default))
