"""Models of each way to settle a conflict."""

from django.db import models

from handleref_sync.models import HandleRefModel


class Report(HandleRefModel):
    title = models.CharField(max_length=50)
    body = models.TextField(blank=True)
    extra = models.JSONField(default=dict)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL)

    class HandleRef:
        resolver = "field-lww"

    def __str__(self):
        return self.title


class Price(models.Model):
    amount = models.IntegerField()
    note = models.TextField(blank=True)

    class HandleRef:
        resolver = "prefer:a"

    def __str__(self):
        return str(self.amount)


def merged(conflict):
    """Words of both sides; of the number, what both have added."""
    earlier, later = conflict.earlier, conflict.later
    if earlier.deleted or later.deleted:
        return later
    start = conflict.ancestor.get("words", "")
    words = {*start.split(), *earlier.values["words"].split(), *later.values["words"].split()}
    return {"words": " ".join(sorted(words)), "size": max(earlier.values["size"], later.values["size"])}


class Basket(HandleRefModel):
    words = models.TextField(blank=True)
    size = models.IntegerField(default=0)

    class HandleRef:
        resolver = "tests.resolverapp.models.merged"

    def __str__(self):
        return self.words
