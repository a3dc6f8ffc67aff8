"""Changes that have arrived and are kept, but can't be written to their table yet."""

from __future__ import annotations

from django.db import models

from handleref_sync.models.fields import KeyField
from handleref_sync.models.ledger import KEY_LENGTH


class Parked(models.Model):
    """One version that waits. It has a sequence of its own: other nodes get it from us all the same."""

    class Reason(models.TextChoices):
        PARENT_MISSING = "parent-missing", "waits for a record that has not arrived"
        PARENT_DELETED = "parent-deleted", "refers to a record that was deleted"
        STILL_REFERENCED = "still-referenced", "deletes a record that others here still refer to"
        UNKNOWN_MODEL = "unknown-model", "belongs to a model that is not migrated here yet"
        UNIQUE = "unique", "collides with a unique value of another record"
        INVALID = "invalid", "has a value that this database can't hold"
        LOCKED = "locked", "the application held its row locked"
        NOT_PERMITTED = "not-permitted", "was brought by a peer that may not write it here"
        CLOCK_AHEAD = "clock-ahead", "was stamped by a clock that is too far ahead"

    model = models.CharField(max_length=200)
    key = KeyField(max_length=KEY_LENGTH)
    node = models.ForeignKey("handleref_sync.Node", on_delete=models.PROTECT, db_index=False)
    counter = models.BigIntegerField()
    clock = models.TextField()
    timestamp = models.BigIntegerField()
    data = models.BinaryField(null=True)
    reason = models.CharField(max_length=20, choices=Reason.choices)
    detail = models.TextField(blank=True)
    peer = models.CharField(max_length=60, blank=True, default="", help_text="who brought it")
    waits_for = KeyField(
        max_length=KEY_LENGTH + 201, blank=True, db_index=True, help_text="the record it needs: model, space, key"
    )
    sequence = models.BigIntegerField(unique=True)
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "handleref_sync"
        constraints = (models.UniqueConstraint(fields=["node", "counter"], name="handleref_sync_parked_dot"),)
        verbose_name_plural = "parked changes"

    def __str__(self) -> str:
        return f"{self.model} {self.key}: {self.get_reason_display()}"
