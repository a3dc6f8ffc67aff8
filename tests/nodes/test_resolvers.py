"""How conflicts are settled, where it is not by the later of two rows."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync import declared, registry
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict, Parked, Peer, Stamp
from handleref_sync.replication.conflicts import describe, restore
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.resolverapp import models as resolverapp
from tests.resolverapp.models import Basket, Price, Report

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")
MODELS = [Report, Price, Basket]


@pytest.fixture
def net():
    return Network("abc", MODELS)


def test_edits_of_different_fields_both_survive_without_a_conflict(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(A).update(title="of a")
    Report.objects.using(B).update(body="of b")
    report = net.ok("b", "a")
    assert report.conflicts == 0
    net.everywhere()
    for using in (A, B, C):
        found = Report.objects.using(using).get()
        assert (found.title, found.body) == ("of a", "of b")
    assert not Conflict.objects.using(A).exists()
    assert net.ok("b", "a").pulled == net.ok("a", "b").pulled == 0


def test_of_two_edits_of_one_field_the_later_stays_and_the_other_can_be_restored(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(A).update(title="of a", body="body of a")
    tick()
    Report.objects.using(B).update(title="of b")
    net.everywhere()
    found = Report.objects.using(C).get()
    assert (found.title, found.body) == ("of b", "body of a")
    (lost,) = describe(C)
    assert lost["values"] == {"title": "of a"} and lost["node"] == "a"
    tick()
    restore(C, lost["id"])
    net.everywhere()
    found = Report.objects.using(A).get()
    assert (found.title, found.body) == ("of a", "body of a")


def test_an_edit_before_the_last_one_counts_with_its_own_time(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(A).update(title="early")
    net.ok("a", "c")
    tick()
    Report.objects.using(B).update(title="late")
    tick()
    Report.objects.using(A).update(body="last of all")
    net.everywhere()
    assert Report.objects.using(A).get().title == "late"


def test_the_fields_of_several_writes_between_two_rounds_are_counted_together(net):
    Report.objects.using(A).create(title="first", body="text", extra={"n": 1})
    net.everywhere()
    Report.objects.using(A).update(title="one")
    Report.objects.using(A).update(extra={"n": 2})
    Report.objects.using(B).update(body="of b")
    net.everywhere()
    found = Report.objects.using(B).get()
    assert (found.title, found.body, found.extra) == ("one", "of b", {"n": 2})


def test_a_save_that_changes_one_field_leaves_the_others_alone(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(B).update(body="of b")
    here = Report.objects.using(A).get()
    here.title = "of a"
    here.save()
    net.everywhere()
    found = Report.objects.using(C).get()
    assert (found.title, found.body) == ("of a", "of b")


def test_a_deletion_against_an_edit_of_a_field_keeps_the_row_and_can_be_undone_either_way(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(A).update(title="of a")
    tick()
    Report.objects.using(B).all().delete()
    net.everywhere()
    assert not Report.objects.using(A).exists()
    (lost,) = describe(C)
    assert lost["values"]["title"] == "of a" and lost["values"]["body"] == "text"
    restore(C, lost["id"])
    net.everywhere()
    assert Report.objects.using(A).get().title == "of a"


def test_a_row_that_survives_a_deletion_is_the_same_on_all_nodes(net):
    Report.objects.using(A).create(title="first", body="text")
    net.everywhere()
    Report.objects.using(B).all().delete()
    tick()
    Report.objects.using(A).update(title="of a")
    tick()
    Report.objects.using(C).update(body="of c")
    net.ok("b", "a")
    net.ok("c", "a", pull=False)
    net.everywhere()
    found = Report.objects.using(B).get()
    assert (found.title, found.body) == ("of a", "of c")


def test_what_the_preferred_node_wrote_wins_in_every_order(net):
    for pairs in ((("b", "a"), ("c", "b"), ("a", "c")), (("c", "b"), ("b", "a"), ("a", "c"))):
        Price.objects.using(A).create(amount=0)
        net.everywhere()
        Price.objects.using(A).update(amount=1)
        tick()
        Price.objects.using(B).update(amount=2)
        tick()
        Price.objects.using(C).update(amount=3)
        net.everywhere(pairs)
        assert [Price.objects.using(using).get().amount for using in (A, B, C)] == [1, 1, 1]
        assert {lost["values"]["amount"] for lost in describe(B)} == {2, 3}
        Price.objects.using(A).all().delete()
        net.everywhere()
        Conflict.objects.using(A).update(dismissed=True)
        net.everywhere()


def test_between_others_the_later_wins_and_who_knew_the_preferred_write_wins_over_it(net):
    Price.objects.using(A).create(amount=0)
    net.everywhere()
    Price.objects.using(B).update(amount=2)
    tick()
    Price.objects.using(C).update(amount=3)
    net.everywhere()
    assert Price.objects.using(A).get().amount == 3
    Price.objects.using(B).update(amount=4)  # knows all
    net.everywhere()
    assert Price.objects.using(A).get().amount == 4


def test_a_function_of_the_user_makes_one_of_two(net):
    Basket.objects.using(A).create(words="bread", size=1)
    net.everywhere()
    Basket.objects.using(A).update(words="bread milk", size=2)
    Basket.objects.using(B).update(words="bread salt")
    Basket.objects.using(C).update(words="bread oil", size=5)
    net.everywhere()
    found = Basket.objects.using(B).get()
    assert (found.words, found.size) == ("bread milk oil salt", 5)


def test_a_peer_that_may_not_relay_carries_along_only_what_is_known_here(net):
    Peer.objects.using(B).filter(name="a").update(relay=False)
    Report.objects.using(A).create(title="first", body="text")
    net.heal((("b", "a"),))
    Report.objects.using(B).update(body="of b")
    net.heal((("b", "a"),))
    Report.objects.using(A).update(title="of a")  # and carries along what b wrote, which b knows
    net.heal((("b", "a"),))
    assert Report.objects.using(B).get().title == "of a"
    Report.objects.using(C).all().delete()
    net.heal((("c", "a"),))
    Report.objects.using(C).update(body="of c")
    net.heal((("c", "a"),))
    Report.objects.using(A).update(title="again")  # and carries along what c wrote
    report = net.sync("b", "a")
    assert report.reason == "not-permitted" and Report.objects.using(B).get().title == "of a"


def crossed(net):
    """a and b each meet the other's write, and not yet the other's product: b gets a's by way of c."""
    net.ok("c", "a", push=False)
    net.ok("a", "b", push=False)
    net.ok("b", "c", push=False)


def test_products_that_two_nodes_make_of_one_conflict_unite(net):
    Basket.objects.using(A).create(words="bread")
    net.everywhere()
    Basket.objects.using(A).update(words="bread milk")
    Basket.objects.using(B).update(words="bread salt")
    crossed(net)
    assert Basket.objects.using(A).get().words == Basket.objects.using(B).get().words == "bread milk salt"
    net.everywhere()
    assert net.ok("b", "a").pulled == net.ok("a", "b").pulled == 0


def test_a_function_that_fails_holds_the_change_and_loses_nothing(net, monkeypatch):
    def failing(conflict):
        raise KeyError("words")

    Basket.objects.using(A).create(words="bread")
    net.everywhere()
    Basket.objects.using(A).update(words="of a")
    tick()
    Basket.objects.using(B).update(words="of b")
    model = registry.replicated(B)["resolverapp.basket"]
    with monkeypatch.context() as patch:
        patch.setitem(model.__dict__, "resolver", failing)
        net.ok("b", "a", push=False)
        assert parked("b")[0][0] == "resolverapp.basket"
        assert "resolver of resolverapp.basket failed" in Parked.objects.using(B).get().detail
        assert Basket.objects.using(B).get().words == "of b"
    net.everywhere()
    assert Basket.objects.using(A).get().words == "a b of"


@pytest.mark.parametrize("answer", [None, 7, {"nothing": 1}, {"words": object()}])
def test_an_answer_that_is_none_holds_the_change(net, monkeypatch, answer):
    Basket.objects.using(A).create(words="bread")
    net.everywhere()
    Basket.objects.using(A).update(words="of a")
    Basket.objects.using(B).update(words="of b")
    model = registry.replicated(B)["resolverapp.basket"]
    monkeypatch.setitem(model.__dict__, "resolver", lambda conflict: answer)
    net.ok("b", "a", push=False)
    assert "resolver of resolverapp.basket failed" in Parked.objects.using(B).get().detail


def test_a_function_that_does_not_converge_is_reported_and_the_later_product_stays(net, monkeypatch, caplog):
    seen = []

    def counting(conflict):
        seen.append(conflict)
        return {"size": len(seen)}

    Basket.objects.using(A).create(words="bread")
    net.everywhere()
    Basket.objects.using(A).update(words="of a")
    Basket.objects.using(B).update(words="of b")
    for using in (A, B, C):
        model = registry.replicated(using)["resolverapp.basket"]
        monkeypatch.setitem(model.__dict__, "resolver", counting)
    crossed(net)
    net.everywhere()
    assert "does not converge" in caplog.text


@pytest.mark.parametrize(
    "wrong", [7, "nothing.at.all", "prefer:", "prefer:NO", "tests.resolverapp.models.models", Basket]
)
def test_what_is_no_resolver_is_refused(wrong, monkeypatch):
    monkeypatch.setattr(resolverapp.Basket.HandleRef, "resolver", wrong)
    with pytest.raises(ConfigurationError):
        declared.resolver(Basket)


OPERATIONS = st.one_of(
    st.tuples(st.just("update"), st.sampled_from("abc"), st.sampled_from(["title", "body"]), st.sampled_from("xyz")),
    st.tuples(st.just("pull"), st.sampled_from("abc"), st.sampled_from("abc")),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
    st.tuples(st.just("tick")),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=12), st.sampled_from([Report, Basket, Price]))
def test_all_nodes_end_equal_after_any_history(net, history, model):
    names = {"title": {Report: "title", Basket: "words", Price: "note"}, "body": {Report: "body"}}
    if not model.objects.using(A).exists():
        model.objects.using(A).create(**({"amount": 0} if model is Price else {}))
    net.heal([("b", "a"), ("c", "a")])
    for kind, *arguments in history:
        if kind == "update":
            node, field, value = arguments
            field = names[field].get(model) or names["title"][model]
            model.objects.using(ALIASES[node]).update(**{field: value})
        elif kind == "delete":
            model.objects.using(ALIASES[arguments[0]]).all().delete()
        elif kind == "pull" and arguments[0] != arguments[1]:
            net.ok(*arguments, push=False)
        elif kind == "tick":
            tick()
    net.everywhere()


def test_a_later_side_that_is_written_again_is_later_than_both(net):
    basket = Basket.objects.using(A).create(words="first")
    net.everywhere()
    Basket.objects.using(B).get().delete(hard=True)
    tick()
    Basket.objects.using(A).filter(pk=basket.pk).update(words="second")  # which leaves its other fields as they were
    stamp(A)
    edited = Stamp.objects.using(A).get(model__label="resolverapp.basket")
    net.ok("b", "a")
    net.everywhere()
    (found,) = (version for (label, _), version in net.rows("c")["stamps"].items() if label == "resolverapp.basket")
    assert [b.words for b in Basket.objects.using(C).all()] == ["second"]
    assert found[2] == edited.timestamp + 1  # one after both, and never the same as one of them
    assert found[4] == {}  # all fields are of the one write, over whatever others have met meanwhile
