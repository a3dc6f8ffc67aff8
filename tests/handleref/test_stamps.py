"""``with_stamps()``: rows that come with stamp and node."""

import copy
import pickle

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.db.models import Prefetch
from django.test.utils import CaptureQueriesContext

from handleref_sync.replication.stamping import stamp
from tests.handleref.models import Device, Net, Org, Port


@pytest.fixture
def rows(node):
    """Three stamped orgs with a net each, and one that is not stamped."""
    for i in range(3):
        org = Org.objects.create(name=f"o{i}")
        Net.objects.create(org=org, name=f"n{i}")
    stamp("default")
    Org.objects.create(name="o3")


def queries(function):
    with CaptureQueriesContext(connection) as found:
        result = function()
    return result, len(found)


def look(rows):
    return [(row.name, row.node, row.stamp and row.stamp.counter) for row in rows]


SEEN = [("o0", "a", 1), ("o1", "a", 3), ("o2", "a", 5), ("o3", None, None)]


@pytest.mark.parametrize(
    ("chosen", "seen", "number"),
    [
        (lambda q: q, SEEN, 2),
        (lambda q: q[1:3], SEEN[1:3], 2),
        (lambda q: q.filter(name="o1"), SEEN[1:2], 2),
        (lambda q: [q.get(name="o2")], SEEN[2:3], 2),
        (lambda q: [q.last()], SEEN[3:], 2),
        (lambda q: q.only("name"), SEEN, 2),
        (lambda q: q.none(), [], 0),
        (lambda q: q.iterator(), SEEN, 2),
        (lambda q: q.iterator(chunk_size=2), SEEN, 3),
        (lambda q: q.prefetch_related("net_set").iterator(chunk_size=2), SEEN, 5),
        (lambda q: pickle.loads(pickle.dumps(q)), SEEN, 2),
    ],
)
def test_no_query_a_row(rows, chosen, seen, number):
    assert queries(lambda: look(chosen(Org.handleref.order_by("name").with_stamps()))) == (seen, number)
    assert queries(lambda: look(chosen(Org.handleref.with_stamps().order_by("name")))) == (seen, number)


def test_without_it_each_row_asks(rows):
    assert queries(lambda: [row.node for row in Org.handleref.all()])[1] == 5


def test_more_rows_than_a_query_has_parameters(node, monkeypatch):
    Org.objects.bulk_create(Org(name="o") for _ in range(120))
    stamp("default")
    monkeypatch.setattr(type(connection.features), "max_query_params", property(lambda self: 50))
    found, number = queries(lambda: [row.node for row in Org.handleref.with_stamps()])
    assert found == ["a"] * 120 and number == 4


def test_asynchronously(rows):
    async def names():
        return [(row.name, row.node) async for row in Org.handleref.with_stamps().order_by("name").aiterator()]

    assert queries(async_to_sync(names)) == ([(name, node) for name, node, _ in SEEN], 2)


def test_relations_and_prefetch(rows):
    org = Org.objects.get(name="o1")
    assert look(org.net_set.with_stamps()) == [("n1", "a", 4)]
    nets = Prefetch("net_set", Net.handleref.with_stamps())
    found, number = queries(lambda: [look(o.net_set.all()) for o in Org.handleref.prefetch_related(nets)])
    assert sorted(map(len, found)) == [0, 1, 1, 1] and number == 3


def test_values_are_left_alone_or_refused(rows):
    assert Org.handleref.with_stamps().filter(name="o1").values_list("name").get() == ("o1",)
    with pytest.raises(TypeError, match="with_stamps"):
        Org.handleref.values("name").with_stamps()


def test_keys_of_other_types(node):
    Device.objects.create()
    Port.objects.create(code="p")
    stamp("default")
    assert [row.node for model in (Device, Port) for row in model.handleref.with_stamps()] == ["a", "a"]


@pytest.mark.parametrize(
    "then",
    [
        lambda org: org.refresh_from_db(),
        lambda org: org.refresh_from_db(fields=["name"]),
        lambda org: org.save(),
        lambda org: org.save(update_fields=["version"]),
        lambda org: org.delete(),
    ],
)
def test_what_was_loaded_ends_with_a_save_or_a_refresh(rows, then):
    org = Org.handleref.with_stamps().get(name="o1")
    Org.objects.filter(pk=org.pk).update(name="x")
    stamp("default")
    assert org.stamp.counter == 3
    then(org)
    stamp("default")
    assert org.stamp == Org.objects.get(pk=org.pk).stamp and org.stamp.counter > 6


def test_a_copy_that_becomes_another_row_has_its_own(rows):
    org = copy.copy(Org.handleref.with_stamps().get(name="o1"))
    org.pk = Org.objects.get(name="o2").pk
    assert org.stamp.counter == 5
    org.pk = None
    assert org.stamp is None and org.node is None


@pytest.mark.django_db(transaction=True, databases=["default", "second"])
def test_other_databases(node):
    from handleref_sync.capture import install

    install.install("second", node="b")
    Org.objects.using("second").create(name="o")
    stamp("second")
    assert [row.node for row in Org.handleref.using("second").with_stamps()] == ["b"]
