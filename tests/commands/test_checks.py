"""Each check, by the mistake that it is there for."""

import pytest
from django.core.checks import run_checks
from django.db import connections, models
from django.test.utils import isolate_apps

from handleref_sync import checks
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.models import LocalNode


def found(**options):
    return {m.id: m for m in run_checks(**options) if (m.id or "").startswith("handleref_sync")}


def test_a_sound_project_has_nothing_to_say():
    assert found() == {}


@pytest.mark.parametrize(
    ("setting", "check", "says"),
    [
        ({"NODE": "a", "MODLES": []}, "E001", "unknown key: MODLES"),
        ({"NODE": "a", "MODELS": "auth.User"}, "E001", "not a list"),
        ({"NODE": "a", "MODELS": ["auth.Usr"]}, "E001", "names 'auth.usr'"),
        ({"NODE": "Not A Slug"}, "E001", "'Not A Slug'"),
        ({"NODE": 7}, "E001", "is 7"),
        (["a"], "E001", "not a dict"),
        ({}, "E002", "not set"),
        ({"NODE": "a", "DATABASE": "nowhere"}, "E003", "no such alias"),
        ({"NODE": "a", "MODELS": {"testapp.Tag": {"identity": "name"}}}, "E004", "identity is 'name'"),
        ({"NODE": "a", "MODELS": {"auth.User": {"identity": "pk"}}}, "E004", "assigns by itself"),
    ],
)
def test_a_wrong_setting_is_named(settings, setting, check, says):
    settings.HANDLEREF_SYNC = setting
    message = found()[f"handleref_sync.{check}"]
    assert says in message.msg and message.hint


@isolate_apps("tests")
def test_models_that_cannot_travel():
    class Parent(models.Model):
        class Meta:
            app_label = "nowhere"

    class Child(models.Model):
        parent = models.OneToOneField(Parent, models.CASCADE, primary_key=True)

        class Meta:
            app_label = "nowhere"

    class Neighbour(models.Model):
        parent = models.ForeignKey(Parent, models.CASCADE)

        class Meta:
            app_label = "nowhere"

    assert [m.id for m in checks.check_model(Child, [Child])] == ["handleref_sync.E004"]
    assert [m.id for m in checks.check_model(Neighbour, [Neighbour])] == ["handleref_sync.W001"]
    assert checks.check_model(Neighbour, [Neighbour, Parent]) == []


@pytest.mark.django_db(transaction=True, databases=["default", "second"])
def test_the_database_is_checked_when_asked(settings):
    install.install("default", node="a")
    assert found(databases=["default"]) == {}
    assert found(databases=["second"]) == {}
    vendor_for(connections["default"]).uninstall("testapp_item")
    assert "testapp.item" in found(databases=["default"])["handleref_sync.W002"].msg
    install.install("default", node="a")
    LocalNode.objects.update(name="other")
    assert "'other'" in found(databases=["default"])["handleref_sync.E005"].msg
