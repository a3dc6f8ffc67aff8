"""Random rows with parents, unique values and memberships; random writes and deletions of them on three nodes."""

from unittest.mock import patch

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync.models import Stamp
from tests.nodes.network import ALIASES, ORDERS, Network
from tests.refapp.models import Desk, Owner

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = ALIASES.values()
NODES, NUMBERS = st.sampled_from([A, B, C]), st.integers(0, 5)
NAMES, CODES = st.sampled_from(["anna", "bert"]), st.sampled_from(["x", "y", "z"])
OPERATIONS = st.one_of(
    st.tuples(st.just("owner"), NODES, NAMES),
    st.tuples(st.just("desk"), NODES, NUMBERS, CODES),
    st.tuples(st.just("desk"), NODES, NUMBERS, CODES),
    st.tuples(st.just("code"), NODES, NUMBERS, CODES),
    st.tuples(st.just("move"), NODES, NUMBERS, NUMBERS),
    st.tuples(st.just("near"), NODES, NUMBERS, NUMBERS),
    st.tuples(st.just("far"), NODES, NUMBERS, NUMBERS),
    st.tuples(st.just("delete owner"), NODES, NUMBERS),
    st.tuples(st.just("delete desk"), NODES, NUMBERS),
    st.tuples(st.just("sync"), st.sampled_from(["ab", "bc", "ca", "ba", "cb", "ac"])),
)


@pytest.fixture
def net():
    return Network("abc", [Owner, Desk, Desk.near.through])


def nth(model, using, number):
    rows = list(model.objects.using(using).order_by("pk"))
    return rows[number % len(rows)] if rows else None


def do(net, kind, arguments):
    if kind == "sync":
        net.ok(*arguments[0])
        return
    using, *others = arguments
    try:
        with transaction.atomic(using=using):
            write(using, kind, *others)
    except IntegrityError:
        pass  # the application sees that the value is taken


def write(using, kind, first, second=None):
    owner, desk = nth(Owner, using, first if type(first) is int else 0), nth(Desk, using, 0)
    if type(first) is int:
        desk = nth(Desk, using, first)
    if kind == "owner":
        Owner.objects.using(using).get_or_create(name=first)
    elif kind == "desk" and owner:
        Desk.objects.using(using).create(owner=owner, code=second, spare=nth(Owner, using, first + 1))
    elif kind == "delete owner" and owner:
        owner.delete()
    elif desk is None:
        return
    elif kind == "code":
        Desk.objects.using(using).filter(pk=desk.pk).update(code=second)
    elif kind == "move":
        Desk.objects.using(using).filter(pk=desk.pk).update(owner=nth(Owner, using, second))
    elif kind == "near":
        desk.near.add(nth(Desk, using, second))
    elif kind == "far":
        desk.near.remove(nth(Desk, using, second))
    elif kind == "delete desk":
        desk.delete()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, min_size=4, max_size=20), st.sampled_from(ORDERS), st.sampled_from([1, 3, 2000]))
def test_all_nodes_end_equal_and_no_foreign_key_dangles(net, history, pairs, page_rows):
    with patch("handleref_sync.conf.settings.page_rows", page_rows):
        for kind, *arguments in history:
            do(net, kind, arguments)
        net.everywhere(pairs)
    for using in (A, B, C):
        owners = set(Owner.objects.using(using).values_list("pk", flat=True))
        desks = set(Desk.objects.using(using).values_list("pk", flat=True))
        for owner, spare in Desk.objects.using(using).values_list("owner_id", "spare_id"):
            assert owner in owners and spare in {*owners, None}
        for ends in Desk.near.through.objects.using(using).values_list("from_desk_id", "to_desk_id"):
            assert set(ends) <= desks
        live = Stamp.objects.using(using).filter(model__label="refapp.desk", deleted=False).count()
        assert live == len(desks)
