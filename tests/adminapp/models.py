"""Models for the tests of the admin: every kind of primary key, a cascade, a many-to-many field, a unique value."""

import uuid

from django.db import models

from handleref_sync.models import HandleRefModel


class Label(models.Model):
    """No HandleRefModel, but replicated, and with versions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    text = models.CharField(max_length=50)

    def __str__(self):
        return self.text


class Org(HandleRefModel):
    name = models.CharField(max_length=50)
    website = models.CharField(max_length=50, blank=True)
    code = models.CharField(max_length=10, unique=True, null=True, blank=True)
    size = models.IntegerField(null=True, blank=True)
    labels = models.ManyToManyField(Label, blank=True)

    class HandleRef:
        tag = "org"
        delete_cascade = ("net_set",)

    def __str__(self):
        return self.name


class Net(HandleRefModel):
    name = models.CharField(max_length=50)
    org = models.ForeignKey(Org, on_delete=models.CASCADE)

    def __str__(self):
        return self.name


class Berth(HandleRefModel):
    """Known by a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Code(HandleRefModel):
    """Known by text, with characters in it that the admin quotes."""

    id = None
    text = models.CharField(max_length=50, primary_key=True)
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.text


class Plain(HandleRefModel):
    """Not registered with reversion."""

    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name
