"""A ModelAdmin whose history page shows versions, which can be reverted and rolled back to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, re_path
from django.utils.translation import gettext as _

from handleref_sync.admin.pages import HistoryPages
from handleref_sync.admin.soft_deletion import SoftDeletionMixin
from handleref_sync.version import Reverter

logger = logging.getLogger(__name__)
PREFIX = "field_"


class VersionAdmin(SoftDeletionMixin, HistoryPages):
    """The pages, their addresses, and the two views that write.

    Those two answer POST alone: a link that was followed must never change anything.
    """

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        # In front of Django's own, whose last pattern takes anything.
        return [
            re_path(
                r"^([^/]+)/history/revert/process/$",
                wrap(self.version_revert_process),
                name=f"{prefix}version_revert_process",
            ),
            re_path(r"^([^/]+)/history/revert/$", wrap(self.version_revert_view), name=f"{prefix}version_revert"),
            re_path(
                r"^([^/]+)/history/(\d+)/rollback/process/$",
                wrap(self.version_rollback_process),
                name=f"{prefix}version_rollback_process",
            ),
            re_path(
                r"^([^/]+)/history/(\d+)/rollback/$",
                wrap(self.version_rollback_view),
                name=f"{prefix}version_rollback",
            ),
            re_path(r"^([^/]+)/history/(\d+)/$", wrap(self.version_details_view), name=f"{prefix}version"),
            *super().get_urls(),
        ]

    def version_revert_process(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Set each ``field_<name>`` back to its value in the version that it names; 0 leaves the field alone."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        instance = self._instance(request, object_id, change=True)
        asked = {
            name.removeprefix(PREFIX): str(value)
            for name, value in request.POST.items()
            if name.startswith(PREFIX) and value not in ("", "0")
        }
        if not all(value.isascii() and value.isdigit() for value in asked.values()):
            return self._back(request, object_id, _("There is no such version."))
        if not asked:
            return self._back(request, object_id, _("No field was chosen, so nothing was reverted."))
        versions = {value: self._version(instance, value) for value in set(asked.values())}
        chosen = {name: versions[value] for name, value in asked.items()}
        errors = self._write(
            instance,
            lambda reverter, current: reverter.revert_fields(current, chosen, user=request.user),
        )
        if errors and request.POST.get("version_id"):
            return self.version_revert_view(request, object_id, {**(extra_context or {}), "errors": errors})
        if errors:  # the preview can't be shown again: nobody says of which versions it was
            for name, texts in errors.items():
                for text in texts:
                    messages.error(request, text if name == "non_field_errors" else f"{name}: {text}")
            return self._back(request, object_id)
        done = _("Reverted %(fields)s.") % {"fields": ", ".join(sorted(chosen))}
        return self._done(request, instance, object_id, done)

    def version_rollback_process(
        self,
        request: HttpRequest,
        object_id: str,
        version_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Set all fields back to their values in one version."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        instance = self._instance(request, object_id, change=True)
        version = self._version(instance, version_id)
        errors = self._write(
            instance, lambda reverter, current: reverter.rollback(current, version, user=request.user)
        )
        if errors:
            return self.version_rollback_view(
                request, object_id, version_id, {**(extra_context or {}), "errors": errors}
            )
        done = _("Rolled back to the version with the ID %(id)s.") % {"id": version.id}
        return self._done(request, instance, object_id, done)

    def _write(self, instance: models.Model, write: Callable[[Reverter, models.Model], None]) -> dict[str, list[str]]:
        """Let `write` work on the row as it is now, locked. {field: [what is wrong]}; empty when it is done."""
        using = instance._state.db
        try:
            with transaction.atomic(using=using):
                current = type(instance)._base_manager.using(using).select_for_update().get(pk=instance.pk)
                write(self.reverter_cls(), current)
        except type(instance).DoesNotExist as error:  # type: ignore[attr-defined]
            raise Http404 from error
        except ValidationError as error:
            if not hasattr(error, "error_dict"):
                return {"non_field_errors": error.messages}
            found = error.message_dict
            return {"non_field_errors" if name == NON_FIELD_ERRORS else name: found[name] for name in found}
        except Exception as error:
            # Whatever the application's own save() or the database objects to. Its transaction is undone.
            logger.exception("Going back to a version of %s %s failed", type(instance)._meta.label, instance.pk)
            text = _("Internal Error: nothing was changed. %(kind)s: %(error)s")
            return {"non_field_errors": [text % {"kind": type(error).__name__, "error": error}]}
        return {}

    def _done(self, request: HttpRequest, instance: models.Model, object_id: str, text: str) -> HttpResponse:
        self.log_change(request, instance, text)
        messages.success(request, text)
        return self._back(request, object_id)
