"""``delete()`` of an object: soft by default, all or nothing, with Django's arguments."""

from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.db.models.signals import post_delete, post_save, pre_delete

from tests.handleref.models import Device, Folder, Forced, Forceful, Net, Org, Poc, Port, Profile


@pytest.fixture
def org(db):
    """An org with a profile, two nets and a poc of each."""
    org = Org.objects.create(name="o")
    Profile.objects.create(org=org)
    for name in ("a", "b"):
        Poc(net=Net.objects.create(org=org, name=name)).save()
    return org


@pytest.fixture
def sent():
    """The signals that were sent: (name, instance, created, update_fields)."""
    found = []

    def receiver(signal, instance, **kwargs):
        names = {id(post_save): "post_save", id(pre_delete): "pre_delete", id(post_delete): "post_delete"}
        found.append((names[id(signal)], instance, kwargs.get("created"), kwargs.get("update_fields")))

    for signal in (post_save, pre_delete, post_delete):
        signal.connect(receiver)
    yield found
    for signal in (post_save, pre_delete, post_delete):
        signal.disconnect(receiver)


def statuses(model):
    return list(model.objects.order_by("pk").values_list("status", flat=True))


def test_soft(org, sent):
    before = org.updated
    assert org.delete() is None
    assert org.status == "deleted" and org.updated > before
    assert sent[0] == ("post_save", org, False, None)
    assert {name for name, *_ in sent} == {"post_save"}
    assert [type(row).__name__ for _, row, *_ in sent] == ["Org", "Net", "Poc", "Net", "Poc", "Profile"]
    assert set(statuses(Net) + statuses(Poc) + statuses(Profile)) == {"deleted"}


def test_children_of_a_deleted_child_are_left_alone(org):
    child = Net.objects.get(name="a")
    Net.objects.filter(pk=child.pk).update(status="deleted")
    org.delete()
    assert statuses(Poc) == ["", "deleted"]
    assert Net.objects.get(pk=child.pk).updated == child.updated


@pytest.mark.parametrize("arguments", [{"hard": True}, {"hard": True, "keep_parents": True}])
def test_hard(org, sent, arguments):
    assert org.delete(**arguments) == (
        6,
        {"surface.Poc": 2, "surface.Net": 2, "surface.Profile": 1, "surface.Org": 1},
    )
    assert org.pk is None and not Poc.objects.exists()
    assert ("post_delete", org, None, None) in sent


def test_hard_is_positional(org):
    assert org.delete(True)[0] == 6


@pytest.mark.django_db(databases=["default", "second"])
def test_using_means_another_database(org):
    twin = Org.objects.using("second").create(pk=org.pk, name="twin")
    Net.objects.using("second").create(org=twin, name="n")
    org.delete(using="second")
    assert Org.objects.get(pk=org.pk).status == "" and statuses(Net) == ["", ""]
    assert Org.objects.using("second").get().status == "deleted"
    assert Net.objects.using("second").get().status == "deleted"
    org.delete(hard=True, using="second")
    assert not Org.objects.using("second").exists() and Org.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_child_that_fails_leaves_nothing_deleted(org):
    """In django-handleref the parent stayed deleted, and whichever children came before."""
    Poc.objects.filter(net__name="b").update(version=666)
    with pytest.raises(RuntimeError, match="refuses"):
        org.delete()
    assert set(statuses(Org) + statuses(Net) + statuses(Poc)) == {""}
    assert org.status == ""
    assert not connections["default"].in_atomic_block


def test_children_that_override_delete(org):
    """``delete(self)`` made a cascade fail with TypeError in django-handleref; it deletes hard, as it says."""
    net = Net.objects.get(name="a")
    Forced.objects.create(net=net)
    protected = Forceful.objects.create(net=net, version=1)
    with pytest.raises(RuntimeError, match="protected"):
        org.delete()
    assert statuses(Forced) == ["ok"]
    protected.delete(force=True)
    Forceful.objects.create(net=net)
    org.delete()
    assert statuses(Forced) == [] and statuses(Forceful) == ["deleted", "deleted"]


def test_many_to_many_and_cycles(org):
    a, b = Net.objects.order_by("name")
    a.members.add(b)
    b.members.add(a)
    a.delete()
    assert statuses(Net) == ["deleted", "deleted"]
    one = Folder.objects.create()
    one.parent = Folder.objects.create(parent=one)
    one.save()
    one.delete()
    assert statuses(Folder) == ["deleted", "deleted"]


def test_a_one_to_one_child_is_looked_up_anew(org):
    assert org.profile.status == ""
    Profile.objects.update(status="deleted")
    before = Profile.objects.get().updated
    org.delete()
    assert Profile.objects.get().updated == before


def test_a_missing_one_to_one_child_and_an_unsaved_row(db):
    org = Org.objects.create(name="o")
    org.delete()
    assert statuses(Org) == ["deleted"]
    with pytest.raises(ValueError, match="set to None"):
        Org(name="x").delete(hard=True)


@pytest.mark.parametrize(("model", "values"), [(Port, {"code": "p"}), (Device, {})])
def test_other_primary_keys(db, model, values):
    row = model.objects.create(**values)
    assert row.delete() is None and statuses(model) == ["deleted"]
    assert row.delete(hard=True)[0] == 1 and not model.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_async_form_is_soft_too():
    org = Org.objects.create(name="o")
    assert async_to_sync(org.adelete)() is None
    assert statuses(Org) == ["deleted"]


def test_arguments_of_a_child_are_found_out(org):
    calls = []

    def taking_all(self, *args, **kwargs):
        calls.append((args, kwargs))

    with patch.object(Net, "delete", taking_all):
        org.delete()
        org.status = ""
        org.delete(using="default")
    assert calls == [((), {"hard": False})] * 2 + [((), {"hard": False, "using": "default"})] * 2


def test_deleting_a_queryset_stays_hard(org):
    assert Org.handleref.filter(pk=org.pk).delete()[0] == 6
    assert not Org.objects.exists()
