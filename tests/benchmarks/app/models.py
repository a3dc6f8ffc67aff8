"""Rows of several shapes, replicated, and the same rows with nothing of the library about them: the floors.

Each shape is a name in `SHAPES`: the replicated model, its twin, and the model to which it refers, if any.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import models

from handleref_sync.models import HandleRefModel


class Common(models.Model):
    """The columns that HandleRefModel brings, for a twin."""

    id = models.AutoField(primary_key=True)
    status = models.CharField(max_length=255, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)
    version = models.IntegerField(default=0)

    class Meta:
        abstract = True


class Columns(models.Model):
    name = models.CharField(max_length=100)
    code = models.CharField(max_length=12, db_index=True)
    city = models.CharField(max_length=100)
    elevation = models.IntegerField()
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        abstract = True


class Row(Columns, HandleRefModel):
    """Eleven columns: the shape of which the goals speak."""

    class Meta(HandleRefModel.Meta):
        abstract = False


class Twin(Columns, Common):
    pass


class Pair(models.Model):
    code = models.CharField(max_length=12, primary_key=True)
    elevation = models.IntegerField()

    class Meta:
        abstract = True


class Narrow(Pair):
    """Two columns, and a primary key that is the same everywhere."""


class NarrowTwin(Pair):
    pass


WIDE = 30


def _wide(number: int) -> Any:
    kind = number % 4
    if kind == 0:
        return models.CharField(max_length=60)
    if kind == 1:
        return models.IntegerField()
    if kind == 2:
        return models.DecimalField(max_digits=12, decimal_places=2)
    return models.DateTimeField()


class ManyColumns(models.Model):
    elevation = models.IntegerField()

    class Meta:
        abstract = True


for _number in range(WIDE):
    _wide(_number).contribute_to_class(ManyColumns, f"column_{_number}")


class Wide(ManyColumns, HandleRefModel):
    """Thirty-six columns of four types."""

    class Meta(HandleRefModel.Meta):
        abstract = False


class WideTwin(ManyColumns, Common):
    pass


class Land(HandleRefModel):
    """To which the children refer; one primary key everywhere."""

    name = models.CharField(max_length=100)

    class HandleRef:
        identity = "pk"

    class Meta(HandleRefModel.Meta):
        abstract = False


class Child(Columns, HandleRefModel):
    """Two foreign keys, and primary keys that are the same everywhere, so that nothing is translated."""

    land = models.ForeignKey(Land, on_delete=models.CASCADE, related_name="+")
    other = models.ForeignKey(Land, on_delete=models.SET_NULL, null=True, related_name="+")

    class HandleRef:
        identity = "pk"

    class Meta(HandleRefModel.Meta):
        abstract = False


class ChildTwin(Columns, Common):
    land = models.ForeignKey(Land, on_delete=models.CASCADE, related_name="+")
    other = models.ForeignKey(Land, on_delete=models.SET_NULL, null=True, related_name="+")


class Port(HandleRefModel):
    """To which the visits refer; its primary key differs from node to node."""

    name = models.CharField(max_length=100)

    class Meta(HandleRefModel.Meta):
        abstract = False


class Visit(Columns, HandleRefModel):
    """Two foreign keys that have to be translated, at the side that sends and at the one that receives."""

    land = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="+")
    other = models.ForeignKey(Port, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta(HandleRefModel.Meta):
        abstract = False


class VisitTwin(Columns, Common):
    land = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="+")
    other = models.ForeignKey(Port, on_delete=models.SET_NULL, null=True, related_name="+")


class Kept(Columns, HandleRefModel):
    """As `Row`, with a history of django-reversion."""

    class Meta(HandleRefModel.Meta):
        abstract = False


class KeptTwin(Columns, Common):
    pass


if apps.is_installed("reversion"):
    import reversion

    reversion.register(Kept)

for _number in range(settings.MODELS):
    type(f"Extra{_number}", (models.Model,), {"__module__": __name__, "name": models.CharField(max_length=20)})


class Shape(NamedTuple):
    model: Any
    twin: Any
    parent: Any = None


SHAPES = {
    "rows": Shape(Row, Twin),
    "narrow": Shape(Narrow, NarrowTwin),
    "wide": Shape(Wide, WideTwin),
    "foreign keys": Shape(Child, ChildTwin, Land),
    "origin keys": Shape(Visit, VisitTwin, Port),
    "history": Shape(Kept, KeptTwin),
}
"""By name: eleven columns; two; thirty-six; two foreign keys that are the same everywhere; two that are translated;
eleven columns with a history of django-reversion."""
