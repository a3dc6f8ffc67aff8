"""An application that knows nothing of replication but its base class."""

import uuid

from django.db import models

from handleref_sync.models import HandleRefModel


class Country(HandleRefModel):
    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=100)

    class HandleRef:
        tag = "cty"
        delete_cascade = ("airport_set",)

    def __str__(self):
        return self.name


class Airport(HandleRefModel):
    country = models.ForeignKey(Country, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    elevation = models.IntegerField(null=True)
    extra = models.JSONField(default=dict)

    def __str__(self):
        return self.name


class Tag(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Item(HandleRefModel):
    name = models.CharField(max_length=50, unique=True)
    tags = models.ManyToManyField(Tag)

    def __str__(self):
        return self.name
