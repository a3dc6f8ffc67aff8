"""The ledger: for every replicated row, or what is left of it, who wrote it last and what that write knew."""

from __future__ import annotations

from django.db import models

from handleref_sync.core.change import Version
from handleref_sync.core.version_vector import Dot, VersionVector
from handleref_sync.models.fields import KeyField

KEY_LENGTH = 500
"""Characters of a key, where the database has to know: with a model before it, as many as an index can hold."""

REPLACED = "R"
"""What a note says of a row that a write may have removed without firing a trigger. Whether it did is looked up."""


class Node(models.Model):
    """An incarnation of a node, met in any dot or clock: ``ship-7``, or ``ship-7~k3f9`` after a restore."""

    name = models.CharField(max_length=100, unique=True)
    vector = models.BigIntegerField(default=0, help_text="all of its writes up to here are incorporated")
    seen = models.BigIntegerField(default=0, help_text="the highest counter met, applied or not")

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return self.name


class LocalNode(models.Model):
    """This database as a node: exactly one row. Its row lock is the database's one sequence lock."""

    name = models.SlugField(max_length=60)
    incarnation = models.ForeignKey(Node, on_delete=models.PROTECT)
    sequence = models.BigIntegerField(default=0)
    private_key = models.BinaryField()
    next_key = models.BinaryField(null=True, help_text="a new key, as long as not all peers know it")
    baseline = models.SlugField(max_length=60, blank=True, db_index=False, help_text="of whom one is being taken")
    vouched_by = models.SlugField(
        max_length=60, blank=True, db_index=False, help_text="the peer on whose word it took its incarnation"
    )
    place = models.CharField(max_length=300, blank=True, help_text="where this database was when it was last used")
    dropped = models.TextField(blank=True, help_text="what the tombstones knew that were dropped here, or before us")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return self.name


class ReplicatedModel(models.Model):
    """A short number for a model label, so that stamps and triggers stay small."""

    label = models.CharField(max_length=200, unique=True)
    fields = models.JSONField(default=dict, help_text="its columns here, and the sequence after which each came")
    unknown = models.JSONField(default=list, help_text="fields met in changes that it has no column for here")
    unreadable = models.JSONField(default=dict, help_text="rows that can't be read, and so do not travel, and why")

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return self.label


class Capture(models.Model):
    """A write that the triggers saw and that is not stamped yet. Append-only, emptied by stamping.

    Triggers only ever append here. If they touched the stamps themselves, an application in REPEATABLE READ would
    fail with a serialisation error on a row that only the stamper had changed.
    """

    model = models.IntegerField()
    pk_text = KeyField(max_length=KEY_LENGTH, db_column="pk")
    op = models.CharField(max_length=1)
    timestamp = models.BigIntegerField()
    fields = models.TextField(null=True, help_text="what an update changed, where that is asked; NULL: everything")

    class Meta:
        app_label = "handleref_sync"

    def __str__(self) -> str:
        return f"{self.op} {self.model}/{self.pk_text}"


class Stamp(models.Model):
    """The ledger row of one record.

    ``key`` is NULL where it is the pk, ``clock`` is NULL where the dot implies it, and a tombstone of a record
    whose pk may be used again has no pk: three economies that keep the ledger smaller than what it describes.
    """

    # No constraints in the database: it would look both up for each of thousands of stamps. Neither is ever deleted.
    model = models.ForeignKey(ReplicatedModel, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    pk_text = KeyField(max_length=KEY_LENGTH, db_column="pk", null=True)
    key = KeyField(max_length=KEY_LENGTH, null=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    counter = models.BigIntegerField()
    clock = models.TextField(null=True)
    timestamp = models.BigIntegerField()
    deleted = models.BooleanField(default=False)
    sequence = models.BigIntegerField(unique=True)
    carried = models.BinaryField(null=True, help_text="fields that the current version did not write itself")

    class Meta:
        app_label = "handleref_sync"
        constraints = (
            models.UniqueConstraint(fields=["model", "pk_text"], name="handleref_sync_stamp_pk"),
            models.UniqueConstraint(fields=["model", "key"], name="handleref_sync_stamp_key"),
        )

    def __str__(self) -> str:
        return f"{self.model_id}/{self.key or self.pk_text} {self.node_id}:{self.counter}"

    @property
    def dot(self) -> Dot:
        """Which write made the version that is current here."""
        return Dot(self.node.name, self.counter)

    @property
    def version_vector(self) -> VersionVector:
        """The record's clock: all the writes that the current version knew."""
        return VersionVector.of(self.dot) if self.clock is None else VersionVector.parse(self.clock)

    @property
    def version(self) -> Version:
        """Dot, clock and timestamp together."""
        return Version(self.dot, self.version_vector, self.timestamp)


class Applying(models.Model):
    """While this has a row, SQLite's triggers are silent. Only the applier's own transaction ever sees one."""

    class Meta:
        app_label = "handleref_sync"
