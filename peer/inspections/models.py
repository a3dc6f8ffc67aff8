"""Airports, and the inspections that are written where there is no network.

Nothing here speaks of replication but the base class: that is all an application needs. What is registered with
django-reversion has a history in the admin.
"""

import reversion
from django.conf import settings
from django.db import models

from handleref_sync.models import HandleRefModel


@reversion.register()
class Country(HandleRefModel):
    code = models.CharField("ISO 3166 code", max_length=2, unique=True)
    name = models.CharField(max_length=100)

    class HandleRef:
        tag = "cty"
        delete_cascade = ("airports",)

    class Meta(HandleRefModel.Meta):
        ordering = ("code",)
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name


@reversion.register()
class Airport(HandleRefModel):
    country = models.ForeignKey(Country, models.CASCADE, related_name="airports")
    icao = models.CharField("ICAO code", max_length=4, unique=True)
    # Not unique: most airports have none, and a code is given to another airport when one closes.
    iata = models.CharField("IATA code", max_length=3, blank=True, db_index=True)
    name = models.CharField(max_length=100, db_index=True)
    city = models.CharField(max_length=100, blank=True)
    elevation = models.FloatField("elevation (feet)", null=True, blank=True)
    latitude = models.FloatField()
    longitude = models.FloatField()
    tz = models.CharField("time zone", max_length=64, blank=True)

    class HandleRef:
        tag = "apt"
        delete_cascade = ("inspections",)

    class Meta(HandleRefModel.Meta):
        ordering = ("icao",)
        indexes = (models.Index(fields=["country", "city"], name="airport_country_city"),)

    def __str__(self) -> str:
        return f"{self.icao} {self.name}"


@reversion.register()
class Inspector(HandleRefModel):
    # Protected, as in Inspection below: a report must not lose who signed it.
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="inspector")
    badge = models.CharField(max_length=20, unique=True)

    class HandleRef:
        tag = "isp"

    class Meta(HandleRefModel.Meta):
        ordering = ("badge",)

    def __str__(self) -> str:
        return self.badge


@reversion.register()
class Inspection(HandleRefModel):
    class Grade(models.TextChoices):
        PASS = "pass", "Passed"
        MINOR = "minor", "Minor findings"
        MAJOR = "major", "Major findings"
        FAIL = "fail", "Failed"

    airport = models.ForeignKey(Airport, models.CASCADE, related_name="inspections")
    inspector = models.ForeignKey(Inspector, models.PROTECT, related_name="inspections")
    date = models.DateField(db_index=True)
    grade = models.CharField(max_length=5, choices=Grade)
    remarks = models.TextField(blank=True)

    class HandleRef:
        tag = "ins"

    class Meta(HandleRefModel.Meta):
        ordering = ("-date", "-id")
        indexes = (models.Index(fields=["airport", "-date"], name="inspection_airport_date"),)

    def __str__(self) -> str:
        return f"{self.airport} on {self.date}: {self.get_grade_display()}"
