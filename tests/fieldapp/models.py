"""One field of every kind that Django has on every database, and some that an application made itself."""

import uuid
from typing import NamedTuple

from django.db import models
from django.db.models.functions import Upper


class Point(NamedTuple):
    x: int
    y: int


class PointField(models.Field):
    """Objects of its own, kept as text."""

    def db_type(self, connection):
        return "varchar(50)"

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        if value is None or isinstance(value, Point):
            return value
        return Point(*map(int, value.split(",")))

    def get_prep_value(self, value):
        return None if value is None else f"{value.x},{value.y}"

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))


class WordsField(models.TextField):
    """A list of words, which says nothing of how it is serialized."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        return value.split() if isinstance(value, str) else value

    def get_prep_value(self, value):
        return None if value is None else " ".join(value)


class Kind(models.IntegerChoices):
    SMALL = 1
    GREAT = 2


class Everything(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=20, blank=True)
    char = models.CharField(max_length=40, null=True)
    text = models.TextField(null=True)
    slug = models.SlugField(null=True)
    email = models.EmailField(null=True)
    url = models.URLField(null=True)
    file = models.FileField(null=True)
    image = models.ImageField(null=True)
    path = models.FilePathField(null=True)
    address = models.GenericIPAddressField(null=True)
    small = models.SmallIntegerField(null=True)
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    kind = models.IntegerField(choices=Kind.choices, null=True)
    boolean = models.BooleanField(null=True)
    real = models.FloatField(null=True)
    decimal = models.DecimalField(max_digits=30, decimal_places=10, null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    time = models.TimeField(null=True)
    duration = models.DurationField(null=True)
    uuid = models.UUIDField(null=True)
    binary = models.BinaryField(null=True)
    document = models.JSONField(null=True)
    point = PointField(null=True)
    words = WordsField(null=True)
    by_another_name = models.CharField(max_length=20, null=True, db_column="Odd Name")
    left_to_the_database = models.IntegerField(db_default=7)
    loud = models.GeneratedField(
        expression=Upper("label"), output_field=models.CharField(max_length=20), db_persist=True
    )
