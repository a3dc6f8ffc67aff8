"""The application at each of its releases."""

import os

from django.db import models

from handleref_sync.models import HandleRefModel

RELEASE = int(os.environ["RELEASE"])


class Part(HandleRefModel):
    name = models.CharField(max_length=20)
    if RELEASE >= 2:
        colour = models.CharField(max_length=10, default="grey")
    if RELEASE >= 3:
        weight = models.IntegerField(default=0)
    else:
        size = models.IntegerField(default=0)
    if RELEASE >= 4:
        grade = models.DecimalField(max_digits=4, decimal_places=2, null=True)

    class HandleRef:
        renamed = {"size": "weight"} if RELEASE >= 3 else {}


if RELEASE >= 5:

    class Note(HandleRefModel):
        part = models.ForeignKey(Part, on_delete=models.CASCADE)
        text = models.TextField()
