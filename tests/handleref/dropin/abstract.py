"""As in a package of somebody else: abstract models on the old import path."""

from django.db import models
from django_handleref import models as handleref


class NamedBase(handleref.HandleRefModel):
    name = models.CharField(max_length=50, unique=True)

    class HandleRef:
        tag = "named"

    class Meta:
        abstract = True
