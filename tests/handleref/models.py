"""Models in the ways in which applications are known to use the base class."""

import uuid

from django.db import models

from handleref_sync.models import CreatedDateTimeField, HandleRefModel, UpdatedDateTimeField


class OrgBase(HandleRefModel):
    """The inner class on an abstract base, with an option of the application's own."""

    name = models.CharField(max_length=50)

    class HandleRef:
        tag = "org"
        delete_cascade = ("net_set", "profile")
        custom_option = "kept"
        _private = 1

    class Meta:
        abstract = True


class Org(OrgBase):
    def __str__(self):
        return self.name


class Net(HandleRefModel):
    org = models.ForeignKey(Org, models.CASCADE)
    name = models.CharField(max_length=50)
    members = models.ManyToManyField("self", symmetrical=False, related_name="member_of")

    class HandleRef:
        delete_cascade = ("poc_set", "members", "forced_set", "forceful_set")

    class Meta(HandleRefModel.Meta):
        pass

    def __str__(self):
        return self.name


class Poc(HandleRefModel):
    net = models.ForeignKey(Net, models.CASCADE)

    def save(self):  # takes no arguments, as in old applications
        if self.status == "deleted" and self.version == 666:
            raise RuntimeError("refuses to go")
        super().save()


class Profile(HandleRefModel):
    org = models.OneToOneField(Org, models.CASCADE)


class Forced(HandleRefModel):
    """Overrides the field, and a `delete` that knows no soft deletion."""

    net = models.ForeignKey(Net, models.CASCADE)
    status = models.CharField(max_length=12, default="ok", choices=[("ok", "OK"), ("deleted", "Deleted")])

    def delete(self):
        return super().delete(hard=True)


class Forceful(HandleRefModel):
    net = models.ForeignKey(Net, models.CASCADE)

    def delete(self, hard=False, force=False):
        if self.version == 1 and not force:
            raise RuntimeError("protected")
        return super().delete(hard=hard)


class Folder(HandleRefModel):
    """Refers to itself, so that its rows may form a cycle."""

    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="children")

    class HandleRef:
        delete_cascade = ("children",)


class Wrong(HandleRefModel):
    """A cascade that no query can follow."""

    class HandleRef:
        delete_cascade = ("siblings",)

    @property
    def siblings(self):
        return Wrong.handleref.exclude(pk=self.pk)


class Device(HandleRefModel):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class HandleRef:
        tag = "dev"


class Port(HandleRefModel):
    id = None
    code = models.CharField(max_length=20, primary_key=True)

    class HandleRef:
        tag = "Port_"


class Note(models.Model):
    """The fields on a model that is no HandleRefModel."""

    made = CreatedDateTimeField()
    changed = UpdatedDateTimeField("Last changed")
