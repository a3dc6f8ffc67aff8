"""As in a project of the days of django-handleref."""

from django.db import models
from django_handleref.models import CreatedDateTimeField, UpdatedDateTimeField
from dropin.abstract import NamedBase


class Field(NamedBase):
    class HandleRef:
        tag = "fld"
        delete_cascade = ("runway_set",)


class Runway(NamedBase):
    field = models.ForeignKey(Field, models.CASCADE)
    length = models.PositiveIntegerField(null=True)


class Log(models.Model):
    created = CreatedDateTimeField()
    updated = UpdatedDateTimeField("Touched")
