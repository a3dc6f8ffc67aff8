"""Writes that no trigger sees, and a comparison of two nodes of a Network."""

from contextlib import contextmanager

from django.db import connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.models import Stamp
from handleref_sync.verify import verify
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Airport, Country, Item, Tag

A, B, _ = ALIASES.values()
AIRPORT, TAG = "testapp.airport", "testapp.tag"


@contextmanager
def unseen(using):
    with transaction.atomic(using=using), vendor_for(connections[using]).applying():
        yield


def compare(net, here="b", there="a", transport=None, **options):
    return verify(ALIASES[here], net.peer(here, there), transport or net.transport(here, there), **options)


def kinds(report):
    """The differences by model and kind, and nothing of keys."""
    return sorted((difference.model, str(difference.kind)) for difference in report.differences)


def mended(net, here="b", there="a"):
    """Repair, and see that both sides are equal then, in every respect, to whoever looks."""
    report = compare(net, here, there, repair=True)
    assert report.clean, report.as_dict()
    net.ok(here, there)
    for one, other in ((here, there), (there, here)):
        again = compare(net, one, other)
        assert again.clean and not any(found.not_compared for found in again.models.values()), again.as_dict()
    assert net.rows(here) == net.rows(there)
    return report


def alike():
    """Two nodes that have the same."""
    made = Network("ab")
    country = Country.objects.using(A).create(code="xx", name="X")
    for number in range(3):
        Airport.objects.using(A).create(country=country, name=f"airport {number}", elevation=number)
    Item.objects.using(A).create(name="one").tags.add(Tag.objects.using(A).create(name="red"))
    Tag.objects.using(A).create(name="blue")
    made.heal([("b", "a")])
    return made


def airport(using, number=1):
    return Airport.objects.using(using).get(name=f"airport {number}")


def forget(using, row):
    """Take a row and its stamp out, so that nothing says that it ever was here."""
    with unseen(using):
        Stamp.objects.using(using).filter(model__label=row._meta.label_lower, pk_text=pk_text(using, row)).delete()
        type(row)._base_manager.using(using).filter(pk=row.pk)._raw_delete(using)


def pk_text(using, row):
    return str(row._meta.pk.get_db_prep_value(row.pk, connections[using]))
