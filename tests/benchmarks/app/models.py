"""Rows of eleven columns, replicated, and the same rows with nothing of the library about them."""

from django.db import models

from handleref_sync.models import HandleRefModel


class Columns(models.Model):
    name = models.CharField(max_length=100)
    code = models.CharField(max_length=12, db_index=True)
    city = models.CharField(max_length=100)
    elevation = models.IntegerField()
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        abstract = True


class Row(Columns, HandleRefModel):
    class Meta(HandleRefModel.Meta):
        abstract = False


class Twin(Columns):
    """The floor: the same columns and defaults, not replicated."""

    status = models.CharField(max_length=255, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)
    version = models.IntegerField(default=0)
