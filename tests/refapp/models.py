"""A parent, and a child for each way in which the application says what its deletion does."""

from django.db import models


class Owner(models.Model):
    name = models.CharField(max_length=20)

    class HandleRef:
        identity = ("name",)


def nobody():
    return Owner.objects.using(nobody.using).get_or_create(name="nobody")[0]


nobody.using = "default"


class Cascaded(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.CASCADE)
    name = models.CharField(max_length=20)


class Below(models.Model):
    """A child of a child."""

    parent = models.ForeignKey(Cascaded, on_delete=models.CASCADE)
    name = models.CharField(max_length=20)


class Nulled(models.Model):
    owner = models.ForeignKey(Owner, null=True, on_delete=models.SET_NULL)
    name = models.CharField(max_length=20)


class Protected(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.PROTECT)
    name = models.CharField(max_length=20)


class Restricted(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.RESTRICT)
    name = models.CharField(max_length=20)


class Replaced(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.SET(nobody))
    name = models.CharField(max_length=20)


class Careless(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.DO_NOTHING)
    name = models.CharField(max_length=20)


class Label(models.Model):
    """Parked, where two want one name."""

    name = models.CharField(max_length=20, unique=True)


class Account(models.Model):
    """The earlier of two that want one name gets another."""

    login = models.CharField(max_length=16, unique=True)
    email = models.CharField(max_length=50, null=True, blank=True)
    number = models.IntegerField(null=True, unique=True)
    active = models.BooleanField(default=True)
    room = models.IntegerField(null=True)
    desk = models.CharField(max_length=20, default="")

    class Meta:
        unique_together = ("room", "desk")
        constraints = (
            models.UniqueConstraint(fields=["email"], condition=models.Q(active=True), name="refapp_active_email"),
            models.UniqueConstraint(models.functions.Lower("login"), name="refapp_login_in_any_case"),
        )

    class HandleRef:
        on_unique = "rename"


def next_number(collision):
    if collision.fields != ("number",):
        return None
    return {"number": collision.earlier.values["number"] + 1000}


class Seat(models.Model):
    number = models.IntegerField(unique=True)
    name = models.CharField(max_length=20, unique=True, null=True)

    class HandleRef:
        resolver = "field-lww"
        on_unique = "tests.refapp.models.next_number"


class Desk(models.Model):
    """All at once: a parent, a unique value, and memberships."""

    owner = models.ForeignKey(Owner, on_delete=models.CASCADE)
    spare = models.ForeignKey(Owner, null=True, on_delete=models.SET_NULL, related_name="+")
    code = models.CharField(max_length=30, unique=True)
    near = models.ManyToManyField("self")

    class HandleRef:
        on_unique = "rename"
