"""Rows that refer to each other are deleted together, or those stay that another row needs."""

import pytest
from django.db import transaction

from tests.handleref.models import Folder
from tests.nodes.network import ALIASES, Network, parked
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return Network("abc")


def test_a_row_below_those_that_go_is_seen(net):
    top = Folder.objects.using(A).create()
    mid = Folder.objects.using(A).create(parent=top)
    net.ok("b", "a")
    theirs = Folder.objects.using(B).get(parent__isnull=False)
    Folder.objects.using(B).create(parent=theirs)
    with transaction.atomic(using=A):
        for row in (mid, top):
            Folder.objects.using(A).filter(pk=row.pk)._raw_delete(A)
    Country.objects.using(A).create(code="x", name="x")
    net.ok("b", "a", push=False)
    assert Country.objects.using(B).exists()
    assert Folder.objects.using(B).get().parent is None  # on_delete is SET_NULL
    assert not parked("b")
