"""Rows of eleven columns, besides what Morango adds: as tests/benchmarks/app/models.py has them."""

from django.db import models
from morango.models.core import SyncableModel

PARTITION = []


class Columns(models.Model):
    status = models.CharField(max_length=255, blank=True)
    created = models.DateTimeField()
    updated = models.DateTimeField()
    version = models.IntegerField(default=0)
    name = models.CharField(max_length=100)
    code = models.CharField(max_length=12, db_index=True)
    city = models.CharField(max_length=100)
    elevation = models.IntegerField()
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        abstract = True


class Row(Columns, SyncableModel):
    morango_model_name = "row"
    morango_profile = "bench"

    def calculate_source_id(self, *args, **kwargs):
        return None

    def calculate_partition(self, *args, **kwargs):
        return PARTITION[0]


class Twin(Columns):
    pass
