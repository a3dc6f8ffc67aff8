"""The conflict log: versions that lost against one that did not know them."""

from __future__ import annotations

from django.db import models

from handleref_sync.models.fields import KeyField
from handleref_sync.models.ledger import KEY_LENGTH


class Conflict(models.Model):
    """A losing version, replicated like any other record.

    The key and all content but the two flags are a pure function of the loser, and the flags unite by OR: whoever
    finds the same conflict writes the same record, so conflict records never conflict.
    """

    id = models.CharField(max_length=40, primary_key=True)
    model = models.CharField(max_length=200)
    key = KeyField(max_length=KEY_LENGTH)
    node = models.CharField(max_length=100)
    counter = models.BigIntegerField()
    timestamp = models.BigIntegerField()
    aspect = models.TextField(blank=True, default="", help_text="which part of the version lost; empty: all of it")
    data = models.BinaryField(null=True, help_text="the fields in wire form; NULL: it was a deletion")
    restored = models.BooleanField(default=False)
    dismissed = models.BooleanField(default=False)

    class Meta:
        app_label = "handleref_sync"
        indexes = (models.Index(fields=["model", "key"], name="handleref_sync_conflict_record"),)

    def __str__(self) -> str:
        return f"{self.model} {self.key} by {self.node}:{self.counter}"
