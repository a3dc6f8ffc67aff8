"""System checks of a project that has come from django-handleref."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, register

from handleref_sync.checks import APP
from handleref_sync.compat.alias import OLD, real_package


@register(APP)
def check_alone(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E006: whether the package that is stood in for could be imported as well."""
    found = real_package()
    if found is None:
        return []
    return [
        Error(
            f"handleref_sync.compat answers for {OLD}, and the real package is installed as well: {found}.",
            hint="Run pip uninstall django-handleref: whatever imported it before the settings did would get the "
            "other classes.",
            id=f"{APP}.E006",
        )
    ]


@register(APP)
def check_inherited_options(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W003: models whose tag or cascade is another one than with django-handleref."""
    found: list[CheckMessage] = []
    for model in apps.get_models():
        inner, options = getattr(model, "HandleRef", None), getattr(model, "_handleref", None)
        if inner is None or options is None:
            continue
        before = {"tag": model.__name__.lower(), "delete_cascade": ()} | dict(vars(inner))
        changed = [n for n in ("tag", "delete_cascade") if _plain(getattr(options, n)) != _plain(before[n])]
        if changed:
            now = " and ".join(f"{name} {getattr(options, name)!r}" for name in changed)
            found.append(
                Warning(
                    f"{model._meta.label}.HandleRef inherits {now}; with django-handleref 2.0 it did not.",
                    hint=f"Write {' and '.join(changed)} into the inner class, with the value that is meant.",
                    obj=model,
                    id=f"{APP}.W003",
                )
            )
    return found


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else list(value)
