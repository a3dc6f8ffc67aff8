"""The admin, made for 28,000 airports: no drop-down lists of them, no query per row."""

from django.contrib import admin
from django.db import transaction

from .models import Airport, Country, Inspection, Inspector


class HandleRefAdmin(admin.ModelAdmin):
    """What every replicated model shows alike."""

    readonly_fields = ("status", "created", "updated", "version", "written_at")

    @admin.display(description="written at node")
    def written_at(self, obj):
        """The node that wrote what is shown. Only on an object's own page, since it costs a query."""
        return (obj.pk and obj.node) or "-"

    def delete_queryset(self, request, queryset):
        """Soft-delete, as "Delete" on an object's own page does; a queryset's delete() would be for good."""
        with transaction.atomic(using=queryset.db):
            for obj in queryset.exclude(status="deleted"):
                obj.delete()


@admin.register(Country)
class CountryAdmin(HandleRefAdmin):
    list_display = ("code", "name", "status", "updated")
    search_fields = ("code", "name")
    list_filter = ("status",)


@admin.register(Airport)
class AirportAdmin(HandleRefAdmin):
    list_display = ("icao", "iata", "name", "city", "country", "elevation", "status", "updated")
    search_fields = ("icao", "iata", "name", "city")
    list_filter = ("status", "country")
    autocomplete_fields = ("country",)
    list_select_related = ("country",)


@admin.register(Inspector)
class InspectorAdmin(HandleRefAdmin):
    list_display = ("badge", "user", "status", "updated")
    search_fields = ("badge", "user__username", "user__first_name", "user__last_name")
    list_filter = ("status",)
    autocomplete_fields = ("user",)
    list_select_related = ("user",)


@admin.register(Inspection)
class InspectionAdmin(HandleRefAdmin):
    list_display = ("airport", "inspector", "date", "grade", "status", "updated")
    search_fields = ("airport__icao", "airport__name", "inspector__badge", "remarks")
    list_filter = ("status", "grade", "date")
    date_hierarchy = "date"
    autocomplete_fields = ("airport", "inspector")
    list_select_related = ("airport", "inspector")
