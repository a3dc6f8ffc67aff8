"""Where a revision of django-reversion came from, for those that replication made."""

from __future__ import annotations

from django.db import models


class RevisionSource(models.Model):
    """The ledger row of one revision: who wrote what it holds, when, and whom we have it from.

    A revision without such a row was made here. There is no foreign key, because django-reversion may be absent; so
    a row may outlive its revision until it is tidied up. One of a conflict's loser stays as long as the conflict log
    has its entry: it is the memory that the loser was in the history once.
    """

    revision_id = models.BigIntegerField(primary_key=True)
    node = models.CharField(max_length=100, help_text="the ID of the node that wrote it")
    dot = models.CharField(max_length=125, help_text="which write of that node, with its incarnation")
    timestamp = models.BigIntegerField(help_text="when it was written, as a hybrid logical clock has it")
    peer = models.CharField(max_length=60, help_text="the node that it came from, or was being synced with")
    lost = models.BooleanField(default=False, help_text="it lost a conflict and was not written to the table")
    conflict = models.CharField(max_length=40, null=True, help_text="the entry of the conflict log, if it lost")

    class Meta:
        app_label = "handleref_sync"
        constraints = (models.UniqueConstraint(fields=["conflict"], name="handleref_sync_loser_once"),)

    def __str__(self) -> str:
        return f"revision {self.revision_id} by {self.dot}{', lost' if self.lost else ''}"
