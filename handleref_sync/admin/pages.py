"""The pages of an object's versions: the list, one version, and previews of revert and rollback. They only read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import VERSION as DJANGO
from django.apps import apps
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import DataError, models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from handleref_sync.admin import comparing
from handleref_sync.admin.listing import HistoryActionsForm, HistoryListing
from handleref_sync.version import ReversionReverter, ReversionVersion, Reverter, UnreadableVersion, Version
from handleref_sync.versioning import available
from handleref_sync.versioning.history import is_recorded, require, versions_of


class HistoryPages(ModelAdmin):  # type: ignore[type-arg]
    """The views that show versions.

    To see them takes the model's view permission, a preview its change permission.
    """

    object_history_template = "handleref/object_history.html"
    version_details_template = "handleref/version_details.html"
    version_revert_template = "handleref/version_revert.html"
    version_rollback_template = "handleref/version_rollback.html"
    version_cls: ClassVar[type[Version]] = ReversionVersion
    reverter_cls: ClassVar[type[Reverter]] = ReversionReverter
    # (name, label): version_x is the attribute x of a Version, any other name a field of its snapshot.
    version_list_fields: ClassVar[Sequence[tuple[str, Any]]] = [
        ("version_id", "Version ID"),
        ("version", "Version"),
        ("version_date", "Date"),
        ("version_user", "User"),
        ("version_node", "Node"),
        ("status", "Object Status"),
        ("version_changes", "Changes"),
    ]

    def history_query_set(self, object_id: Any) -> QuerySet[Any]:
        """What is on record of the object with the primary key `object_id`, newest first."""
        found = self.model._default_manager.filter(pk=object_id).first()
        if found is None:
            raise Http404
        return versions_of(found)

    def history_entry(self, version: Version, previous: Version | None) -> dict[str, Any]:
        """One row of the list: id, ``fields`` as ``version_list_fields`` wants them, comment, and whence it came."""
        entry = {
            "id": version.id,
            "comment": version.comment,
            "node": version.node,
            "peer": version.peer,
            "written": version.written,
            "lost": version.lost,
            "unreadable": "",
        }
        try:
            entry["fields"] = [(name, self._list_value(name, version, previous)) for name, _label in self._columns()]
        except UnreadableVersion as error:
            kept = ("version_id", "version_date", "version_user", "version_node")
            entry["fields"] = [
                (name, self._list_value(name, version, previous) if name in kept else "")
                for name, _label in self._columns()
            ]
            entry["unreadable"] = str(error)
        return entry

    def history(self, history_qset: QuerySet[Any]) -> list[dict[str, Any]]:
        """The entries for a page of versions, which begins with the newest."""
        versions = [self.version_cls(version) for version in history_qset]
        self.version_cls.attach_sources(versions)
        entries = []
        newest = None
        for place, version in enumerate(versions, 1):
            if version.lost:
                newest = newest or version.compared_with
                entries.append(self.history_entry(version, newest))
                continue
            # No later version builds on what lost a conflict.
            older = next((other for other in versions[place:] if not other.lost), None)
            entries.append(self.history_entry(version, older or version.compared_with))
        return entries

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self._lacks_reversion():
            # Django's own page of the admin log, in its own template: ours has nothing to show.
            response = ModelAdmin.history_view(self, request, object_id, extra_context)
            if isinstance(response, TemplateResponse):
                response.template_name = "admin/object_history.html"
            return response
        instance = self._instance(request, object_id)
        if request.method == "POST":
            if request.POST.get("action") == "revert":
                return self.version_revert_view(request, object_id, extra_context)
            return self._back(request, object_id, _("There is no such action."))
        if issubclass(self.version_cls, ReversionVersion) and not is_recorded(self.model):
            name = self.opts.verbose_name
            messages.warning(request, _("No versions of any %s are kept: it is not registered.") % name)
        try:
            listing = HistoryListing(self, request, self.history_query_set(instance.pk))
        except IncorrectLookupParameters:
            return self._back(request, object_id, _("There is no such page of this history."))
        may_change = self.has_change_permission(request, instance)
        context = {
            "title": _("Version History"),
            "object_id": object_id,
            "model": self.model,
            "media": self.media,
            "listing": listing,
            "history_qset": listing.result_list,
            "history": self.history(listing.result_list),
            "version_list_fields": self._columns(),
            "field_count": len(self._columns()),
            "shows_node": "version_node" in dict(self._columns()),
            "shows_changes": "version_changes" in dict(self._columns()),
            "action_form": HistoryActionsForm(auto_id="id_%s") if may_change else None,
            "has_change_permission": may_change,
            **(extra_context or {}),
        }
        # Not super(): under reversion's own VersionAdmin that would read, and make a link to, every version there is.
        return ModelAdmin.history_view(self, request, object_id, context)

    def version_details_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One version: its values, and what it changed."""
        instance = self._instance(request, object_id)
        version = self._version(instance, version_id)
        try:
            previous = version.compared_with
            changes = version.changes(previous)
        except UnreadableVersion as error:
            return self._back(request, object_id, str(error))
        return self._page(
            request,
            self.version_details_template,
            instance,
            extra_context,
            version=version,
            versions=[version],
            version_id=version_id,
            previous=previous,
            changes=changes,
        )

    def version_revert_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A preview: for each field that the chosen versions changed, what it can be set back to."""
        instance = self._instance(request, object_id, change=True)
        asked = request.POST if request.method == "POST" else request.GET
        chosen = list(dict.fromkeys(asked.getlist("version_id")))
        if not chosen:
            return self._back(request, object_id, _("Choose the versions whose changes you want to revert."))
        if not all(name.isascii() and name.isdigit() for name in chosen):
            return self._back(request, object_id, _("There is no such version."))
        versions = [self._version(instance, version_id) for version_id in chosen]
        self.version_cls.attach_sources(versions)
        try:
            changes = self.version_cls.changes_summary(versions)
            choices = comparing.choices(instance, changes, versions, asked)
        except UnreadableVersion as error:
            return self._back(request, object_id, str(error))
        return self._page(
            request,
            self.version_revert_template,
            instance,
            extra_context,
            versions=versions,
            changes=changes,
            choices=choices,
            count=len(versions),
        )

    def version_rollback_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A preview: the object as it is beside what it would be."""
        instance = self._instance(request, object_id, change=True)
        version = self._version(instance, version_id)
        try:
            comparison = comparing.with_current(instance, version.data)
        except UnreadableVersion as error:
            return self._back(request, object_id, str(error))
        return self._page(
            request,
            self.version_rollback_template,
            instance,
            extra_context,
            version=version,
            versions=[version],
            comparison=comparison,
        )

    def _lacks_reversion(self) -> bool:
        """Whether there are no versions at all. A project may have a store of its own, behind its own Version."""
        return issubclass(self.version_cls, ReversionVersion) and not available()

    def _columns(self) -> list[tuple[str, Any]]:
        return list(self.version_list_fields)

    def _list_value(self, name: str, version: Version, previous: Version | None) -> Any:
        if name == "version_changes":
            return version.changes(previous)
        if name == "version_changed_fields":
            return version.changed_fields(previous)
        attribute = name.removeprefix("version_")
        if attribute != name and hasattr(version, attribute):
            return getattr(version, attribute)
        return version.data.get(name, "")

    def _instance(self, request: HttpRequest, object_id: str, *, change: bool = False) -> models.Model:
        """The object, if the user may see it, or change it. Raises Http404 and PermissionDenied."""
        try:
            instance: models.Model | None = self.get_object(request, unquote(object_id))
        except DataError as error:  # PostgreSQL has no text with a NUL in it
            raise Http404 from error
        if instance is None:
            raise Http404(f"There is no {self.opts.verbose_name} with the ID {unquote(object_id)}.")
        allowed = self.has_change_permission if change else self.has_view_or_change_permission
        if not allowed(request, instance):
            raise PermissionDenied
        if self._lacks_reversion():
            require()
        return instance

    def _version(self, instance: models.Model, version_id: Any) -> Version:
        """A version of `instance`, and of nothing else. Raises Http404."""
        try:
            found = self.history_query_set(instance.pk).filter(pk=int(version_id)).first()
        except ValueError as error:
            raise Http404 from error
        if found is None:
            raise Http404(f"{instance} has no version with the ID {version_id}.")
        return self.version_cls(found)

    def _back(self, request: HttpRequest, object_id: str, problem: str = "") -> HttpResponse:
        """To the history page, with a message if there is a problem."""
        if problem:
            messages.error(request, problem)
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_history"
        return HttpResponseRedirect(reverse(name, args=[object_id], current_app=self.admin_site.name))

    def _page(
        self,
        request: HttpRequest,
        template: str,
        instance: models.Model,
        extra_context: dict[str, Any] | None,
        **context: Any,
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "app_label": self.opts.app_label,
                "module_name": str(self.opts.verbose_name_plural),
                "media": self.media,
                "instance": instance,
                "object_id": quote(instance.pk),  # as the addresses of its pages have it
                **_frame(),
                "preserved_filters": self.get_preserved_filters(request),
                "has_change_permission": self.has_change_permission(request, instance),
                **context,
                **(extra_context or {}),
            },
        )


def _frame() -> dict[str, Any]:
    """How the base template around a page is built: it differs between Django's versions, and under grappelli."""
    grappelli = apps.is_installed("grappelli")
    lists = "grp-horizontal-list" if grappelli else "breadcrumbs" if DJANGO >= (6, 1) else ""
    return {"breadcrumbs_list": lists, "object_tools_above": grappelli or DJANGO >= (6, 1)}
