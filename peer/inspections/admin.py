"""The admin, made for 28,000 airports: no drop-down lists of them, no query per row."""

from django.contrib import admin
from reversion.admin import VersionAdmin as RecordingAdmin

from handleref_sync.admin import NodeFilter, VersionAdmin, WrittenAtMixin

from .models import Airport, Country, Inspection, Inspector


class HandleRefAdmin(WrittenAtMixin, VersionAdmin, RecordingAdmin):
    """What every replicated model shows alike.

    reversion's own admin, last, records what is saved here; VersionAdmin shows it and goes back to it.
    """

    readonly_fields = ("status", "created", "updated", "version", "written_at")


@admin.register(Country)
class CountryAdmin(HandleRefAdmin):
    list_display = ("code", "name", "status", "updated", "written_at")
    search_fields = ("code", "name")
    list_filter = ("status", NodeFilter)


@admin.register(Airport)
class AirportAdmin(HandleRefAdmin):
    list_display = ("icao", "iata", "name", "city", "country", "written_at", "elevation", "status", "updated")
    search_fields = ("icao", "iata", "name", "city")
    list_filter = ("status", NodeFilter, "country")
    autocomplete_fields = ("country",)
    list_select_related = ("country",)


@admin.register(Inspector)
class InspectorAdmin(HandleRefAdmin):
    list_display = ("badge", "user", "status", "updated", "written_at")
    search_fields = ("badge", "user__username", "user__first_name", "user__last_name")
    list_filter = ("status", NodeFilter)
    autocomplete_fields = ("user",)
    list_select_related = ("user",)


@admin.register(Inspection)
class InspectionAdmin(HandleRefAdmin):
    list_display = ("airport", "inspector", "date", "grade", "status", "updated", "written_at")
    search_fields = ("airport__icao", "airport__name", "inspector__badge", "remarks")
    list_filter = ("status", NodeFilter, "grade", "date")
    date_hierarchy = "date"
    autocomplete_fields = ("airport", "inspector")
    list_select_related = ("airport", "inspector")
