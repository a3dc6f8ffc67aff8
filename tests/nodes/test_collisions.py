"""Two records want the same unique value."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync.replication.conflicts import describe
from tests.nodes.network import ALIASES, ORDERS, Network, parked, tick
from tests.refapp import models as refapp
from tests.refapp.models import Account, Label, Owner, Seat

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")
orders = pytest.mark.parametrize("pairs", ORDERS)


@pytest.fixture
def net():
    return Network("abc", [Label, Account, Seat, Owner])


def logins(using):
    return sorted(Account.objects.using(using).values_list("login", flat=True))


def test_it_is_parked_on_both_sides_unless_the_model_says_more(net):
    Label.objects.using(A).create(name="one")
    Label.objects.using(B).create(name="one")
    net.heal(ORDERS[0])
    assert {reason for _, _, reason in parked("a")} == {reason for _, _, reason in parked("b")} == {"unique"}
    Label.objects.using(B).update(name="two")
    net.everywhere()
    assert sorted(Label.objects.using(C).values_list("name", flat=True)) == ["one", "two"]


@orders
def test_the_later_keeps_its_name_and_the_other_gets_one_of_its_own(net, pairs):
    Account.objects.using(A).create(login="bob")
    tick()
    later = Account.objects.using(B).create(login="bob")
    net.everywhere(pairs)
    assert Account.objects.using(B).get(pk=later.pk).login == "bob"
    names = logins(C)
    assert len(names) == 2 and names[0] == "bob" and names[1].startswith("bob-")
    (lost,) = describe(C)
    assert lost["values"] == {"login": "bob"} and lost["node"] == "a"


@orders
def test_three_that_want_one_name(net, pairs):
    for using in (A, B, C):
        Account.objects.using(using).create(login="a name that is long"[:16])
        tick()
    net.everywhere(pairs)
    assert len(logins(A)) == 3 and len(set(logins(A))) == 3 and all(len(name) <= 16 for name in logins(A))


@orders
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"login": "Bob"}, {"login": "bOB"}),
        ({"login": "x", "email": "a@b"}, {"login": "y", "email": "a@b"}),
        ({"login": "x", "room": 1, "desk": "left"}, {"login": "y", "room": 1, "desk": "left"}),
        ({"login": "z", "email": "a@b", "room": 1}, {"login": "z", "email": "a@b", "room": 1}),
    ],
)
def test_whatever_it_is_that_is_unique(net, pairs, one, other):
    Account.objects.using(A).create(**one)
    tick()
    Account.objects.using(B).create(**other)
    net.everywhere(pairs)
    assert Account.objects.using(C).count() == 2


def test_what_is_not_subject_to_the_constraint_does_not_collide(net):
    Account.objects.using(A).create(login="x", email="a@b", active=False)
    Account.objects.using(B).create(login="y", email="a@b")
    Account.objects.using(C).create(login="z", email=None, number=None, room=None)
    net.everywhere()
    assert logins(A) == ["x", "y", "z"]


def test_a_number_can_not_be_renamed_and_waits(net):
    Account.objects.using(A).create(login="x", number=1)
    Account.objects.using(B).create(login="y", number=1)
    net.heal(ORDERS[0])
    assert {reason for _, _, reason in parked("b")} == {"unique"}


@orders
def test_a_function_of_the_user_gives_another_value(net, pairs):
    Seat.objects.using(A).create(number=1)
    tick()
    Seat.objects.using(B).create(number=1)
    net.everywhere(pairs)
    assert sorted(Seat.objects.using(C).values_list("number", flat=True)) == [1, 1001]


def test_a_function_that_has_no_answer_leaves_it_to_a_person(net):
    Seat.objects.using(A).create(number=1, name="x")
    Seat.objects.using(B).create(number=2, name="x")
    net.heal(ORDERS[0])
    assert {reason for _, _, reason in parked("b")} == {"unique"}


@pytest.mark.parametrize("answer", [7, {"nothing": 1}])
def test_a_function_with_a_wrong_answer_holds_the_change_and_says_so(net, monkeypatch, caplog, answer):
    from handleref_sync import registry

    for using in (A, B, C):
        model = registry.replicated(using)["refapp.seat"]
        monkeypatch.setitem(model.__dict__, "on_unique", lambda collision: answer)
    Seat.objects.using(A).create(number=1)
    Seat.objects.using(B).create(number=1)
    net.heal(ORDERS[0])
    assert parked("b") and "waits on" in caplog.text


@pytest.mark.parametrize("rows", [1, 2, 2000])
def test_values_that_change_places(net, settings, rows):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": rows}
    one, two, three = (
        Account.objects.using(A).create(login=name, number=number) for number, name in enumerate("abc")
    )
    net.everywhere()
    for account, name in ((one, "x"), (two, "a"), (three, "b"), (one, "c")):
        Account.objects.using(A).filter(pk=account.pk).update(login=name)
    net.everywhere()
    assert sorted(Account.objects.using(C).values_list("number", "login")) == [(0, "c"), (1, "a"), (2, "b")]
    assert not describe(C)


OPERATIONS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from("abc"), st.sampled_from("xyz")),
    st.tuples(st.just("rename"), st.sampled_from("abc"), st.integers(0, 3), st.sampled_from("xyz")),
    st.tuples(st.just("delete"), st.sampled_from("abc"), st.integers(0, 3)),
    st.tuples(st.just("pull"), st.sampled_from("abc"), st.sampled_from("abc")),
    st.tuples(st.just("tick")),
)


def do(net, kind, arguments):
    if kind == "pull":
        if arguments[0] != arguments[1]:
            net.ok(*arguments, push=False)
        return
    if kind == "tick":
        tick()
        return
    using = ALIASES[arguments[0]]
    rows = list(Account.objects.using(using).order_by("pk"))
    taken = {row.login.lower() for row in rows}
    if kind == "create" and arguments[1] not in taken:
        Account.objects.using(using).create(login=arguments[1])
    elif kind == "rename" and len(rows) > arguments[1] and arguments[2] not in taken:
        Account.objects.using(using).filter(pk=rows[arguments[1]].pk).update(login=arguments[2])
    elif kind == "delete" and len(rows) > arguments[1]:
        rows[arguments[1]].delete()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=14), st.sampled_from(ORDERS), st.sampled_from([1, 2, 2000]))
def test_all_nodes_end_equal_and_every_record_has_a_row(net, history, pairs, rows):
    from django.test import override_settings

    from handleref_sync.models import Stamp
    from tests.settings import HANDLEREF_SYNC

    with override_settings(HANDLEREF_SYNC={**HANDLEREF_SYNC, "PAGE_ROWS": rows}):
        for kind, *arguments in history:
            do(net, kind, arguments)
        net.everywhere(pairs)
    live = Stamp.objects.using(A).filter(model__label="refapp.account", deleted=False).count()
    assert Account.objects.using(A).count() == live


def test_what_is_no_answer_to_a_collision_is_refused(monkeypatch):
    from handleref_sync import checks

    monkeypatch.setattr(refapp.Account.HandleRef, "on_unique", "sometimes")
    assert [message.id for message in checks.check_options(Account)] == ["handleref_sync.E012"]
