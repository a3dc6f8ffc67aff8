"""A parent is deleted on one node while another one gives it a child: the foreign key's on_delete decides."""

import pytest
from django.db.models import ProtectedError, RestrictedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync.models import Conflict
from handleref_sync.replication.conflicts import describe, restore
from tests.nodes.network import ALIASES, ORDERS, Network, parked, tick
from tests.refapp import models as refapp
from tests.refapp.models import Below, Careless, Cascaded, Nulled, Owner, Protected, Replaced, Restricted

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")
MODELS = [Owner, Cascaded, Below, Nulled, Protected, Restricted, Replaced, Careless]

orders = pytest.mark.parametrize("pairs", ORDERS)


@pytest.fixture
def net():
    net = Network("abc", MODELS)
    Owner.objects.using(B).create(name="zz")  # so that primary keys differ
    Owner.objects.using(A).create(name="owner")
    net.everywhere(ORDERS[0])
    return net


def apart(model, first="delete"):
    """a deletes the owner, and b gives it a child."""
    for what in (first, "delete" if first == "create" else "create"):
        if what == "delete":
            Owner.objects.using(A).filter(name="owner").delete()
        else:
            model.objects.using(B).create(owner=Owner.objects.using(B).get(name="owner"), name="child")
        tick()


def owners(using):
    return sorted(Owner.objects.using(using).values_list("name", flat=True))


@orders
@pytest.mark.parametrize("first", ["delete", "create"])
def test_cascade_takes_the_child_along_and_logs_it(net, pairs, first):
    apart(Cascaded, first)
    net.everywhere(pairs)
    assert owners(C) == ["zz"] and not Cascaded.objects.using(C).exists()
    (lost,) = describe(C)
    assert lost["values"]["name"] == "child"


def test_the_child_can_be_restored_once_its_parent_is(net):
    apart(Cascaded)
    net.everywhere(ORDERS[0])
    (lost,) = describe(B)
    Owner.objects.using(B).create(name="owner")
    net.everywhere(ORDERS[0])
    restore(B, lost["id"])
    net.everywhere(ORDERS[0])
    assert Cascaded.objects.using(A).get().owner.name == "owner"


@orders
def test_what_is_below_the_child_goes_too(net, pairs):
    apart(Cascaded)
    Below.objects.using(B).create(parent=Cascaded.objects.using(B).get(), name="below")
    net.everywhere(pairs)
    assert not Below.objects.using(A).exists() and not Cascaded.objects.using(A).exists()
    assert {lost["values"]["name"] for lost in describe(A)} == {"child", "below"}


@orders
def test_set_null_leaves_the_child_without_a_parent(net, pairs):
    apart(Nulled)
    net.everywhere(pairs)
    assert owners(C) == ["zz"] and Nulled.objects.using(C).get().owner is None
    assert Nulled.objects.using(A).get().name == "child"


@orders
@pytest.mark.parametrize("model", [Protected, Restricted])
@pytest.mark.parametrize("first", ["delete", "create"])
def test_protect_and_restrict_bring_the_parent_back(net, pairs, model, first):
    apart(model, first)
    net.everywhere(pairs)
    assert owners(C) == ["owner", "zz"] and model.objects.using(A).get().owner.name == "owner"
    (lost,) = describe(A)
    assert lost["lost"] == "deletion"
    with pytest.raises((ProtectedError, RestrictedError)):
        Owner.objects.using(A).get(name="owner").delete()


@orders
def test_set_gives_the_child_another_parent(net, pairs, monkeypatch):
    for using in (A, B, C):
        Owner.objects.using(using).get_or_create(name="nobody")
    net.everywhere(ORDERS[0])
    monkeypatch.setattr(refapp.nobody, "using", A, raising=False)
    apart(Replaced)
    # Each node looks where its own transaction is; here all share one process, and so the function is told.
    for here, there in (*pairs, *pairs, *pairs):
        monkeypatch.setattr(refapp.nobody, "using", ALIASES[here])
        net.ok(here, there, push=False)
        monkeypatch.setattr(refapp.nobody, "using", ALIASES[there])
        net.ok(there, here, push=False)
    net.everywhere(pairs)
    assert Replaced.objects.using(C).get().owner.name == "nobody"


def test_do_nothing_leaves_both_waiting(net):
    apart(Careless)
    net.heal(ORDERS[0])
    assert {reason for _, _, reason in parked("b")} == {"still-referenced"}
    assert {reason for _, _, reason in parked("a")} == {"parent-deleted"}
    Careless.objects.using(B).all().delete()
    net.everywhere(ORDERS[0])
    assert owners(B) == ["zz"]


def test_a_child_that_moves_to_a_parent_that_is_deleted_goes_with_it(net):
    Owner.objects.using(A).create(name="other")
    Cascaded.objects.using(A).create(owner=Owner.objects.using(A).get(name="other"), name="child")
    net.everywhere(ORDERS[0])
    Below.objects.using(C).create(parent=Cascaded.objects.using(C).get(), name="below")
    Cascaded.objects.using(B).update(owner=Owner.objects.using(B).get(name="owner"))
    Owner.objects.using(A).filter(name="owner").delete()
    net.everywhere(ORDERS[0])
    assert owners(C) == ["other", "zz"]
    assert not Cascaded.objects.using(C).exists() and not Below.objects.using(C).exists()


def test_nothing_is_decided_before_the_feed_is_read_to_its_end(net, settings):
    """The child's own deletion comes a page later: there is nothing to bring back."""
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1}
    Protected.objects.using(A).create(owner=Owner.objects.using(A).get(name="owner"), name="child")
    net.everywhere(ORDERS[0])
    Protected.objects.using(A).all().delete()
    Owner.objects.using(A).filter(name="owner").delete()
    net.everywhere(ORDERS[0])
    assert owners(C) == ["zz"] and not Conflict.objects.using(C).exists()


OPERATIONS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from("abc"), st.sampled_from([Cascaded, Nulled, Protected])),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
    st.tuples(st.just("below"), st.sampled_from("abc")),
    st.tuples(st.just("unchild"), st.sampled_from("abc"), st.sampled_from([Cascaded, Nulled, Protected])),
    st.tuples(st.just("again"), st.sampled_from("abc")),
    st.tuples(st.just("pull"), st.sampled_from("abc"), st.sampled_from("abc")),
    st.tuples(st.just("tick")),
)


def do(net, kind, arguments):
    if kind == "pull":
        if arguments[0] != arguments[1]:
            net.ok(*arguments, push=False)
    elif kind == "tick":
        tick()
    else:
        using = ALIASES[arguments[0]]
        owner = Owner.objects.using(using).filter(name="owner").first()
        if kind == "create" and owner is not None:
            arguments[1].objects.using(using).create(owner=owner, name=f"of {using}")
        elif kind == "delete" and owner is not None and not owner.protected_set.exists():
            owner.delete()
        elif kind == "below" and Cascaded.objects.using(using).exists():
            Below.objects.using(using).create(parent=Cascaded.objects.using(using).first(), name="below")
        elif kind == "unchild":
            arguments[1].objects.using(using).all().delete()
        elif kind == "again" and owner is None:
            Owner.objects.using(using).create(name="owner")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=14), st.sampled_from(ORDERS))
def test_all_nodes_end_equal_and_no_foreign_key_dangles(net, history, pairs):
    for kind, *arguments in history:
        do(net, kind, arguments)
    net.everywhere(pairs)
    for using in (A, B, C):
        there = set(Owner.objects.using(using).values_list("pk", flat=True))
        for model in (Cascaded, Nulled, Protected):
            assert set(model.objects.using(using).values_list("owner_id", flat=True)) <= {*there, None}
