"""The admin as projects have it: plain, with all templates of grappelli, mixed with reversion's own VersionAdmin.

Not in admin.py, which every test would load: only those of the admin want models that have a history.
"""

import reversion
from django.contrib import admin
from reversion.admin import VersionAdmin as ReversionVersionAdmin

from handleref_sync.admin import NodeFilter, VersionAdmin, WrittenAtMixin

from .models import Berth, Code, Label, Net, Org, Plain

HISTORY = (Berth, Code, Label, Net, Org)


class ExportMixin:
    """As such mixins do it: a template and an address of its own, and super() everywhere."""

    def get_urls(self):
        return super().get_urls()

    def changelist_view(self, request, extra_context=None):
        return super().changelist_view(request, {"export": True, **(extra_context or {})})


class SanitizedAdmin:
    def get_readonly_fields(self, request, obj=None):
        return (*super().get_readonly_fields(request, obj), "version")


@admin.register(Org)
class OrgAdmin(WrittenAtMixin, VersionAdmin):
    list_display = ("name", "status", "written_at")
    list_filter = (NodeFilter,)


@admin.register(Net)
class NetAdmin(ExportMixin, SanitizedAdmin, VersionAdmin, ReversionVersionAdmin, admin.ModelAdmin):
    object_history_template = "handleref/grappelli/object_history.html"
    version_details_template = "handleref/grappelli/version_details.html"
    version_revert_template = "handleref/grappelli/version_revert.html"
    version_rollback_template = "handleref/grappelli/version_rollback.html"
    list_display = ("name", "org")


@admin.register(Label)
class LabelAdmin(WrittenAtMixin, VersionAdmin):
    list_display = ("text", "written_at")
    list_filter = (NodeFilter,)


admin.site.register([Berth, Code, Plain], VersionAdmin)
reversion.unregister(Net)  # its admin, being reversion's too, has registered it
