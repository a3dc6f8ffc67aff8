"""The admin's "delete selected" as a soft deletion, with a page that says so before anything is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin, action
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from handleref_sync.models import HandleRefModel, HandleRefQuerySet
from handleref_sync.versioning.set_based import recorded

BATCH = 500
SHOWN = 100
"""How many objects of a model the confirmation lists; it counts the rest."""


def soft_delete(queryset: QuerySet[Any]) -> tuple[int, dict[str, int]]:
    """Soft-delete the rows of a queryset of any manager, with their cascade: (count, {label: count})."""
    if not isinstance(queryset, HandleRefQuerySet):
        rows: HandleRefQuerySet[Any] = HandleRefQuerySet(queryset.model, using=queryset.db)
        queryset = rows.filter(pk__in=queryset.values("pk"))
    deleted: tuple[int, dict[str, int]] = queryset.soft_delete()
    return deleted


def affected(queryset: QuerySet[Any]) -> dict[type[models.Model], list[Any]]:
    """The rows that a soft deletion of `queryset` would mark, by model, itself first.

    Rows that are deleted already are left alone, and so is what hangs below them. Raises TypeError for a
    ``delete_cascade`` that can't be followed for many rows at once, as ``soft_delete()`` does.
    """
    found: dict[type[models.Model], dict[Any, Any]] = {queryset.model: {}}
    waiting: list[tuple[type[models.Model], list[Any]]] = [(queryset.model, list(queryset.exclude(status="deleted")))]
    while waiting:
        model, rows = waiting.pop()
        known = found.setdefault(model, {})
        rows = [row for row in rows if row.pk not in known]
        known.update((row.pk, row) for row in rows)
        options = getattr(model, "_handleref", None)
        for name in options.delete_cascade if options and rows else ():
            waiting += _children(model, name, [row.pk for row in rows], queryset.db)
    return {model: list(rows.values()) for model, rows in found.items()}


def _children(
    model: type[models.Model], name: str, pks: list[Any], using: str
) -> Iterator[tuple[type[models.Model], list[Any]]]:
    relation: Any = next((r for r in model._meta.related_objects if r.get_accessor_name() == name), None)
    if relation is None:
        relation = next((f for f in (*model._meta.fields, *model._meta.many_to_many) if f.name == name), None)
    child: Any = relation and relation.related_model
    if child is None:
        raise TypeError(f"{model._meta.label} has {name!r} in its delete_cascade, which is no relation.")
    for start in range(0, len(pks), BATCH):
        ends = model._base_manager.using(using).filter(pk__in=pks[start : start + BATCH])
        alive = child._base_manager.using(using).exclude(status="deleted")
        yield child, list(alive.filter(pk__in=ends.values(f"{relation.name}__pk")))


@action(permissions=["delete"], description=gettext_lazy("Delete selected %(verbose_name_plural)s"))
def soft_delete_selected(
    modeladmin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse | None:
    """Mark the selected rows, and what their ``delete_cascade`` names, as deleted; first show which."""
    try:
        marked = affected(queryset)
    except TypeError as error:
        modeladmin.message_user(request, f"{error} Delete these one by one.", messages.ERROR)
        return None
    lacking = _lacking(modeladmin, request, marked)
    if request.POST.get("post"):
        if lacking:
            raise PermissionDenied
        count = len(marked[queryset.model])
        rows = queryset.exclude(status="deleted")
        modeladmin.log_deletions(request, rows)
        modeladmin.delete_queryset(request, rows)
        text = _("Soft-deleted %(count)d %(items)s.")
        text %= {"count": count, "items": model_ngettext(modeladmin.opts, count)}
        modeladmin.message_user(request, text, messages.SUCCESS)
        return None
    opts = modeladmin.opts
    name = str(model_ngettext(queryset))
    request.current_app = modeladmin.admin_site.name
    return TemplateResponse(
        request,
        modeladmin.delete_selected_confirmation_template
        or [
            f"admin/{opts.app_label}/{opts.model_name}/delete_selected_confirmation.html",
            f"admin/{opts.app_label}/delete_selected_confirmation.html",
            "handleref/soft_delete_selected_confirmation.html",
        ],
        {
            **modeladmin.admin_site.each_context(request),
            "title": _("Cannot delete %(name)s") % {"name": name} if lacking else _("Delete multiple objects"),
            "subtitle": None,
            "objects_name": name,
            "deletable_objects": [_lines(rows) for rows in marked.values() if rows],
            "model_count": [
                (capfirst(model._meta.verbose_name_plural), len(rows)) for model, rows in marked.items() if rows
            ],
            "queryset": queryset,
            "perms_lacking": lacking,
            "delete_confirmation_max_display": getattr(modeladmin, "delete_confirmation_max_display", None),
            "protected": [],  # nothing leaves the database, so no reference can break
            "opts": opts,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "media": modeladmin.media,
        },
    )


def _lacking(
    modeladmin: ModelAdmin[Any], request: HttpRequest, marked: dict[type[models.Model], list[Any]]
) -> set[str]:
    """The kinds of object that the user may not delete. A model that the admin doesn't have is not asked about."""
    site = modeladmin.admin_site
    return {
        str(model._meta.verbose_name)
        for model, rows in marked.items()
        if site.is_registered(model)
        and not all(site.get_model_admin(model).has_delete_permission(request, row) for row in rows)
    }


def _lines(rows: list[Any]) -> list[str]:
    shown = [f"{capfirst(row._meta.verbose_name)}: {row}" for row in rows[:SHOWN]]
    rest = len(rows) - len(shown)
    return [*shown, _("… and %(count)d more") % {"count": rest}] if rest else shown


class SoftDeletionMixin(ModelAdmin):  # type: ignore[type-arg]
    """ "Delete selected" marks rows of a HandleRefModel as deleted, which a batch deletion in code does not."""

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 asks for one place at a time, and has a class for an action; older ones have a tuple.
        more = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **more)
        name = delete_selected.__name__
        found = actions.get(name)
        old = found[0] if isinstance(found, tuple) else getattr(found, "func", None)
        if found is not None and old is delete_selected and issubclass(self.model, HandleRefModel):
            # Under its own name: projects take "delete_selected" out by that.
            actions[name] = (
                (soft_delete_selected, *found[1:])
                if isinstance(found, tuple)
                else dataclasses.replace(found, func=soft_delete_selected)
            )
        return actions

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if not issubclass(self.model, HandleRefModel):
            super().delete_queryset(request, queryset)
            return
        marked = affected(queryset)
        with recorded(marked, using=queryset.db, user=request.user, comment=_("soft-deleted in the admin")):
            soft_delete(queryset)
