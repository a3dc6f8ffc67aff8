"""Every way in which a record is known across nodes, and every way in which one refers to another."""

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models


class City(models.Model):
    code = models.CharField(max_length=10, unique=True)
    name = models.CharField(max_length=50, blank=True)
    mayor = models.ForeignKey("Person", null=True, on_delete=models.SET_NULL)

    class HandleRef:
        identity = ("code",)


class Street(models.Model):
    """Known by its city and its name."""

    city = models.ForeignKey(City, on_delete=models.CASCADE)
    name = models.CharField(max_length=50)
    length = models.IntegerField(default=0)

    class Meta:
        unique_together = ("city", "name")

    class HandleRef:
        identity = ("city", "name")


class Stop(models.Model):
    """Refers to a city by its code."""

    city = models.ForeignKey(City, to_field="code", on_delete=models.CASCADE)
    name = models.CharField(max_length=50)


class Ticket(models.Model):
    """Numbered by somebody else."""

    text = models.CharField(max_length=50)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)

    class HandleRef:
        identity = "pk"


class Vehicle(models.Model):
    plate = models.CharField(max_length=20)


class Bus(Vehicle):
    seats = models.IntegerField(default=0)


class Engine(models.Model):
    """Has its vehicle's primary key."""

    vehicle = models.OneToOneField(Vehicle, primary_key=True, on_delete=models.CASCADE)
    power = models.IntegerField(default=0)


class Route(models.Model):
    name = models.CharField(max_length=50)
    stops = models.ManyToManyField(Stop, through="Leg")
    connections = models.ManyToManyField("self")
    buses = models.ManyToManyField(Bus)


class Leg(models.Model):
    route = models.ForeignKey(Route, on_delete=models.CASCADE)
    stop = models.ForeignKey(Stop, on_delete=models.CASCADE)
    minutes = models.IntegerField(default=0)


class Remark(models.Model):
    """About anything."""

    content_type = models.ForeignKey(ContentType, null=True, on_delete=models.CASCADE)
    object_id = models.CharField(max_length=40, null=True)
    about = GenericForeignKey()
    text = models.CharField(max_length=50)


class Person(models.Model):
    name = models.CharField(max_length=50)
    home = models.ForeignKey(City, null=True, on_delete=models.SET_NULL)


class Guest(Person):
    class Meta:
        proxy = True
