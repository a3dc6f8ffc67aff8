"""Writes that no trigger sees, and a comparison of two nodes of a Network."""

from contextlib import contextmanager

from django.db import connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.verify import verify
from tests.nodes.network import ALIASES


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
