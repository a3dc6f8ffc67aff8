"""New records that are written by columns are just what planning each of them would have made."""

from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync.models import Parked, Stamp
from handleref_sync.replication import arrivals, writing
from handleref_sync.replication.plan import Planner
from tests.identityapp.models import Ticket
from tests.nodes.network import ALIASES, Network, parked
from tests.nodes.test_random_rows import OPERATIONS, do
from tests.refapp.models import Desk, Owner
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = ALIASES.values()
MODELS = [Owner, Desk, Desk.near.through, Ticket, Country, Airport, Item, Item.tags.through, Tag]
TICKETS = st.tuples(st.just("ticket"), st.integers(0, 5))


@pytest.fixture
def net():
    return Network("abc", MODELS)


def plainly():
    """Every change gets a plan of its own."""
    return patch.object(arrivals, "plain_models", lambda *_: frozenset())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(OPERATIONS, TICKETS), min_size=6, max_size=25), st.sampled_from([2, 5, 1000]))
def test_they_are_what_plans_make(net, history, page_rows):
    with patch("handleref_sync.conf.settings.page_rows", page_rows):
        for kind, *arguments in history:
            if kind == "ticket":
                tickets = list(Ticket.objects.using(A).order_by("pk"))
                parent = tickets[arguments[0] % len(tickets)] if tickets else None
                Ticket.objects.using(A).create(text="new", parent=parent)
            elif kind == "sync":
                net.ok("b", "a", push=False)
                with plainly():
                    net.ok("c", "a", push=False)
            else:
                do(net, kind, [A, *arguments[1:]])
        net.ok("b", "a", push=False)
        with plainly():
            net.ok("c", "a", push=False)
    assert net.rows("b") == net.rows("c")
    assert sorted(parked("b")) == sorted(parked("c"))


def test_a_first_pull_makes_no_plan_for_a_row(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    Airport.objects.using(A).bulk_create(Airport(country=country, name=str(n)) for n in range(50))
    Ticket.objects.using(A).create(pk=77, text="one")
    with patch.object(Planner, "_decide", side_effect=AssertionError("a plan")):
        net.ok("b", "a", push=False)
    assert Airport.objects.using(B).filter(country__code="fr").count() == 50
    assert Ticket.objects.using(B).get(pk=77).text == "one"
    assert net.rows("b") == net.rows("a")


def test_a_value_that_does_not_fit_is_held_and_the_others_are_written(net):
    country = Country.objects.using(A).create(code="fr", name="France")
    for name in ("one", "two", "three"):
        Airport.objects.using(A).create(country=country, name=name)
    with patch.object(writing.Writer, "prepared", unfit_where("two")):
        net.ok("b", "a", push=False)
    assert set(Airport.objects.using(B).values_list("name", flat=True)) == {"one", "three"}
    assert [row.reason for row in Parked.objects.using(B).all()] == ["invalid"]


def unfit_where(name):
    inner = writing.Writer.prepared

    def prepared(writer, content, fields, values):
        rows = inner(writer, content, fields, values)
        return [writing.Unfit("no") if name in row else fit for row, fit in zip(values, rows, strict=True)]

    return prepared


def test_a_primary_key_that_somebody_here_took_meanwhile_is_a_conflict_as_ever(net):
    Ticket.objects.using(A).create(pk=5, text="theirs")
    net.ok("b", "a", push=False)
    Ticket.objects.using(A).create(pk=6, text="theirs")
    Ticket.objects.using(B).create(pk=6, text="ours")
    net.ok("b", "a", push=False)
    net.heal([("b", "a")])
    assert net.rows("b") == net.rows("a")
    assert Stamp.objects.using(B).filter(model__label="identityapp.ticket").count() == 2
