"""A restored loser whose row is deleted, and its primary key used again, before anything is stamped."""

import pytest

from handleref_sync.models import Conflict
from handleref_sync.replication.conflicts import restore
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def test_restored_deleted_and_made_again_under_its_pk(net):
    c = Country.objects.using(A).create(code="x", name="x")
    net.ok("b", "a")
    theirs = Country.objects.using(B).get()
    theirs.name = "edited"
    theirs.save(using=B)
    stamp(B)
    tick()
    c.delete(hard=True, using=A)
    net.heal([("b", "a")])
    assert not Country.objects.using(A).exists()
    entry = Conflict.objects.using(A).get()
    restore(A, entry.id)
    row = Country.objects.using(A).get()
    pk = row.pk
    row.delete(hard=True)
    Country.objects.using(A).create(pk=pk, code="y", name="y")
    net.heal([("b", "a")])
    assert [c.name for c in Country.objects.using(B).all()] == ["y"]
