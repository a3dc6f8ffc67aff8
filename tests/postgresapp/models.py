"""The fields that only PostgreSQL has, and a table in another schema."""

import uuid

from django.contrib.postgres.fields import (
    ArrayField,
    BigIntegerRangeField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    HStoreField,
    IntegerRangeField,
)
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from tests.fieldapp.models import PointField


class Rich(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=20, blank=True)
    numbers = ArrayField(models.IntegerField(null=True), null=True)
    texts = ArrayField(models.TextField(), null=True)
    moments = ArrayField(models.DateTimeField(), null=True)
    decimals = ArrayField(models.DecimalField(max_digits=20, decimal_places=5), null=True)
    points = ArrayField(PointField(), null=True)
    table = ArrayField(ArrayField(models.FloatField()), null=True)
    pairs = HStoreField(null=True)
    integers = IntegerRangeField(null=True)
    big = BigIntegerRangeField(null=True)
    exact = DecimalRangeField(null=True)
    days = DateRangeField(null=True)
    period = DateTimeRangeField(null=True)
    words = SearchVectorField(null=True)


class Elsewhere(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        db_table = '"elsewhere"."thing"'
