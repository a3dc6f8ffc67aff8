"""``queryset.soft_delete()``: set by set, with the cascade."""

import pytest
from django.db import connection
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from handleref_sync import registry
from handleref_sync.capture.base import vendor_for
from tests.handleref.models import Folder, Forceful, Net, Org, Poc, Port, Profile, Wrong

pytestmark = pytest.mark.django_db


def orgs(count):
    """`count` orgs, each with two nets, and each net with two pocs."""
    made = Org.objects.bulk_create(Org(name=f"o{i}") for i in range(count))
    nets = Net.objects.bulk_create(Net(org=org, name=n) for org in made for n in "ab")
    Poc.objects.bulk_create(Poc(net=net) for net in nets for _ in range(2))


def deleted(model):
    return model.objects.filter(status="deleted").count()


def test_counts_statuses_and_times():
    orgs(3)
    Profile.objects.create(org=Org.objects.get(name="o1"))
    before = Org.handleref.last_change()
    done = Org.handleref.exclude(name="o0").soft_delete()
    assert done == (15, {"surface.Org": 2, "surface.Net": 4, "surface.Poc": 8, "surface.Profile": 1})
    assert [deleted(m) for m in (Org, Net, Poc, Profile)] == [2, 4, 8, 1]
    assert Org.objects.get(name="o0").updated <= before < Org.objects.get(name="o1").updated
    assert Org.handleref.exclude(name="o0").soft_delete() == (0, {})


def test_the_number_of_statements_does_not_grow_with_the_rows():
    numbers = []
    for count in (2, 60):
        orgs(count)
        with CaptureQueriesContext(connection) as found:
            assert Org.handleref.all().soft_delete()[0] == count * 7
        numbers.append(len(found))
        Org.objects.all().delete()
    assert numbers[0] == numbers[1] < 40


def test_more_rows_than_a_statement_has_parameters(monkeypatch):
    count = 120
    Org.objects.bulk_create(Org(name="o") for _ in range(count))
    monkeypatch.setattr(type(connection.features), "max_query_params", property(lambda self: 50))
    last = Org.objects.order_by("pk").last()
    Net.objects.create(org=last, name="n")
    assert Org.handleref.all().soft_delete() == (count + 1, {"surface.Org": count, "surface.Net": 1})


def test_what_was_deleted_already_is_left_alone_and_leads_no_further():
    orgs(1)
    net = Net.objects.get(name="a")
    Net.objects.filter(pk=net.pk).update(status="deleted")
    assert Org.handleref.all().soft_delete() == (4, {"surface.Org": 1, "surface.Net": 1, "surface.Poc": 2})
    assert Net.objects.get(pk=net.pk).updated == net.updated
    assert net.poc_set.undeleted().count() == 2


def test_cycles_end_and_diamonds_count_once():
    one = Folder.objects.create()
    two = Folder.objects.create(parent=one)
    Folder.objects.create(parent=two)
    Folder.objects.filter(pk=one.pk).update(parent=two)
    apart = Folder.objects.create()
    assert Folder.handleref.filter(pk=two.pk).soft_delete() == (3, {"surface.Folder": 3})
    assert list(Folder.handleref.undeleted()) == [apart]
    orgs(1)
    a, b = Net.objects.order_by("name")
    a.members.add(b)
    b.members.add(a)
    assert Net.handleref.all().soft_delete() == (6, {"surface.Net": 2, "surface.Poc": 4})


def test_many_to_many_children():
    org = Org.objects.create(name="o")
    a, b, c = (Net.objects.create(org=org, name=n) for n in "abc")
    a.members.add(b)
    assert Net.handleref.filter(pk=a.pk).soft_delete()[0] == 2
    assert list(Net.handleref.undeleted()) == [c]


def test_no_save_no_delete_no_signal():
    orgs(1)
    Forceful.objects.create(net=Net.objects.first(), version=1)
    Poc.objects.update(version=666)
    sent = []
    post_save.connect(receiver := lambda **kwargs: sent.append(kwargs))
    try:
        Org.handleref.all().soft_delete()
    finally:
        post_save.disconnect(receiver)
    assert sent == [] and deleted(Forceful) == 1 and deleted(Poc) == 4


def test_joins_ordering_and_related_managers():
    orgs(2)
    assert Org.handleref.filter(net__name__in="ab").order_by("net__name").soft_delete()[1]["surface.Org"] == 2
    Net.objects.update(status="")
    assert Org.objects.first().net_set.all().soft_delete() == (2, {"surface.Net": 2})
    Port.objects.create(code="p1")
    assert Port.handleref.filter(code="p1").soft_delete() == (1, {"surface.Port": 1})


@pytest.mark.django_db(transaction=True)
def test_all_or_nothing():
    Wrong.objects.create()
    with pytest.raises(TypeError, match=r"surface\.Wrong has 'siblings' in its delete_cascade"):
        Wrong.handleref.all().soft_delete()
    assert deleted(Wrong) == 0


def test_what_is_no_set_of_rows_is_refused():
    everything = Org.handleref.all()
    union, distinct = everything.union(everything), everything.distinct("name")
    for wrong in (everything[:3], everything.values("name"), union, distinct):
        with pytest.raises(TypeError, match="soft_delete"):
            wrong.soft_delete()
    assert not hasattr(Org.handleref, "soft_delete")


@pytest.mark.django_db(transaction=True)
def test_a_soft_delete_is_captured_as_updates_and_a_delete_as_tombstones(node):
    orgs(1)
    labels = {m.id: label for label, m in registry.replicated("default").items()}
    vendor = vendor_for(connection)
    vendor.take_captures(10_000)
    Org.handleref.all().soft_delete()
    taken = [(labels[c.model], c.op) for c in vendor.take_captures(10_000)]
    assert sorted(taken) == [("surface.net", "U")] * 2 + [("surface.org", "U")] + [("surface.poc", "U")] * 4
    Org.handleref.all().delete()
    assert {c.op for c in vendor.take_captures(10_000)} == {"D"}


@pytest.mark.django_db(databases=["default", "second"])
def test_it_stays_in_its_database():
    orgs(1)
    other = Org.objects.using("second").create(pk=Org.objects.get().pk, name="twin")
    Net.objects.using("second").create(org=other, name="n")
    assert Org.handleref.using("second").soft_delete()[0] == 2
    assert deleted(Org) == deleted(Net) == 0
