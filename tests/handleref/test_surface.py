"""Names, arguments, defaults and orders as django-handleref 2.0 has them, seen there by running it."""

import inspect
from datetime import UTC, datetime

import pytest
from django.core import serializers
from django.db import connection, models
from django.test.utils import isolate_apps

from handleref_sync import manager, util
from handleref_sync import models as public
from handleref_sync.models import CreatedDateTimeField, HandleRefModel, UpdatedDateTimeField
from tests.handleref.models import Forced, Net, Note, Org, OrgBase, Poc

THEN = datetime(2001, 2, 3, tzinfo=UTC)


def test_modules_hold_the_names_of_old():
    assert {"HandleRefManager", "HandleRefQuerySet"} <= set(dir(manager))
    names = {"CreatedDateTimeField", "UpdatedDateTimeField", "HandleRefOptions", "HandleRefMeta", "HandleRefModel"}
    assert names | {"HandleRefManager"} <= set(dir(public))
    assert manager.HandleRefManager is public.HandleRefManager
    assert "split_ref" in dir(util)


def test_fields_in_their_order_with_their_arguments():
    said = [(f.name, type(f).__name__, str(f.verbose_name), f.deconstruct()[3]) for f in Poc._meta.fields[:5]]
    assert said == [
        ("id", "AutoField", "id", {"primary_key": True, "serialize": False}),
        ("status", "CharField", "Status", {"max_length": 255, "blank": True, "verbose_name": "Status"}),
        ("created", "CreatedDateTimeField", "Created", {"auto_now_add": True, "verbose_name": "Created"}),
        ("updated", "UpdatedDateTimeField", "Updated", {"auto_now": True, "verbose_name": "Updated"}),
        ("version", "IntegerField", "version", {"default": 0}),
    ]
    assert Poc().status == ""


def test_signatures():
    def parameters(function):
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in found if p.kind is not p.KEYWORD_ONLY]

    queryset, field = manager.HandleRefQuerySet, CreatedDateTimeField
    assert parameters(queryset.since)[1:] == [("timestamp", None), ("version", None), ("deleted", False)]
    assert parameters(queryset.last_change) == [("self", inspect.Parameter.empty)]
    assert parameters(field)[:2] == [("verbose_name", None), ("name", None)]
    assert next(iter(parameters(util.split_ref)))[0] == "string"
    assert parameters(HandleRefModel.delete)[1] == ("hard", False)
    assert [name for name, _ in parameters(public.HandleRefOptions)] == ["cls", "opts"]


def test_managers_and_their_order():
    assert [m.name for m in Poc._meta.managers] == ["handleref", "objects"]
    assert type(Poc._default_manager) is manager.HandleRefManager
    assert type(Poc.objects) is models.Manager and not hasattr(Poc.objects, "since")
    assert type(Poc._base_manager) is models.Manager
    assert isinstance(Org(pk=1).net_set, manager.HandleRefManager)
    assert Org(pk=1).net_set.tag == "net"
    with pytest.raises(AttributeError):
        Net.handleref.prop("nothing")


def test_meta_of_the_base_is_lost_without_inheritance_as_in_django():
    assert HandleRefModel._meta.get_latest_by == "updated" and Net._meta.ordering == ("-updated", "-created")
    assert Poc._meta.get_latest_by == "updated"
    assert (Org._meta.ordering, Org._meta.get_latest_by) == ([], None)


def test_options_and_the_inner_class():
    assert vars(Org._handleref) == {
        "tag": "org", "delete_cascade": ("net_set", "profile"), "custom_option": "kept", "_private": 1
    }  # fmt: skip
    assert OrgBase._handleref.tag == Org.HandleRef.tag == Org.handleref.tag == Org().ref_tag == "org"
    assert Org.handleref.prop("custom_option") == "kept"
    assert Net._handleref.tag == "net" and not hasattr(Net.HandleRef, "tag")
    assert not hasattr(HandleRefModel, "_handleref") and not hasattr(Poc, "HandleRef")
    assert Poc._handleref.delete_cascade == [] and Poc._handleref.delete_cascade is Forced._handleref.delete_cascade


@isolate_apps("tests.handleref")
def test_an_inner_class_that_inherits_passes_its_options_on():
    """django-handleref read what the class itself says and no more: this cascade was lost, and the tag "child"."""

    class Child(OrgBase):
        class HandleRef(OrgBase.HandleRef):
            custom_option = "changed"

    assert Child._handleref.delete_cascade == ("net_set", "profile")
    assert Child._handleref.tag == Child.HandleRef.tag == "org"
    assert (Child._handleref.custom_option, Org._handleref.custom_option) == ("changed", "kept")

    class Grandchild(Child):  # multi-table: has the parent's
        pass

    assert Grandchild._handleref.tag == "org"


@pytest.mark.django_db
def test_the_manager_takes_keywords_only_and_the_queryset_positions_too():
    org = Org.objects.create(name="o")
    gone = Net.objects.create(org=org, name="gone", status="deleted", version=3)
    here = Net.objects.create(org=org, name="here", version=2)
    with pytest.raises(TypeError):
        Net.handleref.since(THEN)
    assert list(Net.handleref.all().since(THEN)) == [here]
    assert list(Net.handleref.all().since(THEN, 2, True)) == [gone]
    assert list(org.net_set.since(deleted=True, version=1).order_by("name")) == [gone, here]
    assert list(org.net_set(manager="handleref").filter(name="here").undeleted()) == [here]
    assert list(Net.handleref.since()) == [here]
    assert Net.handleref.last_change() == here.updated
    assert Net.handleref.last_change(name="gone") == gone.updated
    assert Poc.handleref.last_change() is None


@pytest.mark.django_db
def test_nothing_but_deleted_to_the_letter_is_deleted():
    org = Org.objects.create(name="o")
    capitals = () if connection.vendor == "mysql" else ("DELETED",)  # by whose collation it is the same
    for status in ("", "ok", "pending", *capitals, "deleted"):
        Net.objects.create(org=org, name=status, status=status)
    assert Net.handleref.undeleted().count() == 3 + len(capitals)
    assert Net.handleref.count() == 4 + len(capitals)


@pytest.mark.django_db
def test_created_and_updated_of_save():
    org = Org.objects.create(name="o", created=THEN, updated=THEN)
    assert org.created > THEN and org.updated > THEN
    before = org.updated
    org.save()
    assert org.updated > before and org.created < org.updated


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["created", "updated"])
def test_auto_now_switched_off_at_run_time(monkeypatch, name):
    field = Org._meta.get_field(name)
    monkeypatch.setattr(field, "auto_now_add" if name == "created" else "auto_now", False)
    org = Org.objects.create(name="o", **{name: THEN})
    org.refresh_from_db()
    assert getattr(org, name) == THEN
    Org.handleref.all().soft_delete()
    org.refresh_from_db()
    assert (org.updated == THEN) is (name == "updated")


@pytest.mark.django_db
def test_raw_saves_keep_what_they_are_given():
    row = Org(pk=7, name="o", version=5, created=THEN, updated=THEN, status="ok")
    for found in serializers.deserialize("json", serializers.serialize("json", [row])):
        found.save()
    assert Org.objects.values_list("version", "created", "updated").get(pk=7) == (5, THEN, THEN)


@pytest.mark.django_db
def test_the_fields_serve_on_any_model():
    note = Note.objects.create()
    assert note.made and note.changed
    kwargs = Note._meta.get_field("made").deconstruct()[3]
    assert kwargs == {"auto_now_add": True, "verbose_name": "Created"}
    assert UpdatedDateTimeField(auto_now=False).auto_now is True


def test_migrations_name_the_public_module_and_subclasses_their_own():
    class Mine(CreatedDateTimeField):
        pass

    assert CreatedDateTimeField().deconstruct()[1] == "handleref_sync.models.CreatedDateTimeField"
    assert UpdatedDateTimeField().deconstruct()[1] == "handleref_sync.models.UpdatedDateTimeField"
    assert Mine().deconstruct()[1].startswith("tests.handleref.test_surface.")


@pytest.mark.django_db
def test_a_status_field_of_the_application_s_own():
    org = Org.objects.create(name="o")
    forced = Forced.objects.create(net=Net.objects.create(org=org, name="n"))
    assert (forced.status, Forced._meta.get_field("status").max_length) == ("ok", 12)
    assert Forced.handleref.all().soft_delete() == (1, {"surface.Forced": 1})
    assert not Forced.handleref.undeleted().exists()


@pytest.mark.django_db
def test_unicode_is_still_there():
    org = Org.objects.create(name="nm")
    assert org.__unicode__() == f"nm-org{org.pk}"
    poc = Poc(net=Net.objects.create(org=org, name=""))
    poc.save()
    assert poc.__unicode__() == f"Poc-poc{poc.pk}"
    assert Net.objects.get().__unicode__() == f"-net{poc.net_id}"
    assert str(poc) == f"Poc object ({poc.pk})"
