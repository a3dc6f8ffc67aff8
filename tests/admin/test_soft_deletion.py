""" "Delete selected" as a soft deletion."""

import re

import pytest
from django.contrib.admin import ModelAdmin, site
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from reversion.models import Version

from handleref_sync.admin import VersionAdmin, soft_delete_selected
from tests.admin.conftest import ids
from tests.adminapp.models import Label, Net, Org

pytestmark = pytest.mark.django_db


@pytest.fixture
def orgs(root):
    found = [Org.objects.create(name=f"o{number}") for number in range(3)]
    for number, org in enumerate(found[:2]):
        Net.objects.create(name=f"n{number}", org=org)
    return found


def choose(client, rows, **more):
    meta = rows[0]._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    form = {"action": "delete_selected", ACTION_CHECKBOX_NAME: [row.pk for row in rows], **more}
    return client.post(url, form, follow="post" in more)


def statuses(model):
    return list(model.objects.order_by("pk").values_list("status", flat=True))


def test_the_page_says_that_it_is_a_soft_deletion_and_of_what(client, orgs):
    response = choose(client, orgs[:2])
    text = response.content.decode()
    assert response.status_code == 200 and "soft deletion" in text and "status “deleted”" in text
    assert dict(response.context["model_count"]) == {"Orgs": 2, "Nets": 2}
    for shown in ("o0", "o1", "n0", "n1"):
        assert shown in text
    assert not re.search(r"\bo2\b", text.partition("<h2>Objects")[2])  # a token may have any two letters
    assert statuses(Org) == ["", "", ""], "nothing before it is confirmed"


def test_confirmed_it_marks_them_and_what_is_below(client, orgs):
    response = choose(client, orgs[:2], post="yes")
    assert "Soft-deleted 2 orgs." in response.content.decode()
    assert statuses(Org) == ["deleted", "deleted", ""] and statuses(Net) == ["deleted", "deleted"]
    assert {entry.object_id for entry in LogEntry.objects.filter(action_flag=DELETION)} == {
        str(org.pk) for org in orgs[:2]
    }


def test_it_is_in_the_history_of_each_row(client, root, orgs):
    choose(client, orgs[:2], post="yes")
    for row in (*orgs[:2], *Net.objects.all()):
        version = Version.objects.get_for_object(row).first()
        assert version.field_dict["status"] == "deleted"
        assert version.revision.user == root and "soft-deleted" in version.revision.comment
    assert ids(orgs[2]) == []


def test_what_is_deleted_already_is_left_alone(client, orgs):
    orgs[0].delete()
    before = Org.objects.get(pk=orgs[0].pk).updated
    response = choose(client, orgs[:2])
    assert dict(response.context["model_count"]) == {"Orgs": 1, "Nets": 1}
    response = choose(client, orgs[:2], post="yes")
    assert "Soft-deleted 1 org." in response.content.decode()
    assert Org.objects.get(pk=orgs[0].pk).updated == before
    response = choose(client, orgs[:1])
    assert "deleted already" in response.content.decode()


def test_a_long_list_is_counted(client, orgs):
    Net.objects.bulk_create(Net(name=f"more{number}", org=orgs[0]) for number in range(300))
    response = choose(client, orgs)
    assert dict(response.context["model_count"])["Nets"] == 302
    assert "… and 202 more" in response.content.decode()


@pytest.fixture
def staff(db):
    return User.objects.create_user("staff", password="x", is_staff=True)


def allow(user, *codenames):
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    browser = Client()
    browser.force_login(user)
    return browser


def test_it_takes_the_delete_permission(staff, orgs):
    browser = allow(staff, "change_org", "view_org")
    for form in ({}, {"post": "yes"}):
        response = choose(browser, orgs, **form)
        assert "soft deletion" not in response.content.decode() if hasattr(response, "content") else True
    assert statuses(Org) == ["", "", ""]


def test_and_the_one_for_what_is_below(staff, orgs):
    browser = allow(staff, "change_org", "delete_org")
    response = choose(browser, orgs)
    assert response.context["perms_lacking"] == {"net"} and b'name="post"' not in response.content
    assert choose(browser, orgs, post="yes").status_code == 403
    assert statuses(Org) == ["", "", ""]
    browser = allow(staff, "change_org", "delete_org", "delete_net")
    choose(browser, orgs, post="yes")
    assert statuses(Org) == ["deleted"] * 3


def function(actions):
    """What "delete_selected" calls; Django 6.1 has a class for it, older ones a tuple."""
    found = actions["delete_selected"]
    return found[0] if isinstance(found, tuple) else found.func


def test_it_keeps_the_name_by_which_projects_take_it_out(rf, root):
    class Without(VersionAdmin):
        def get_actions(self, request, **kwargs):
            actions = super().get_actions(request, **kwargs)
            del actions["delete_selected"]
            return actions

    class Own(VersionAdmin):
        actions = ("delete_selected",)

        def delete_selected(self, request, queryset):
            raise NotImplementedError

    request = rf.get("/")
    request.user = root
    assert function(VersionAdmin(Org, site).get_actions(request)) is soft_delete_selected
    assert "delete_selected" not in Without(Org, site).get_actions(request)
    assert function(Own(Org, site).get_actions(request)) is Own.delete_selected
    assert function(VersionAdmin(Label, site).get_actions(request)) is function(
        ModelAdmin(Label, site).get_actions(request)
    )


def test_models_without_a_status_are_deleted_for_good(client):
    label = Label.objects.create(text="x")
    choose(client, [label], post="yes")
    assert not Label.objects.exists()


def test_a_cascade_that_can_not_be_followed(client, orgs, monkeypatch):
    monkeypatch.setattr(Org._handleref, "delete_cascade", ("net_set", "nothing_of_the_kind"))
    response = choose(client, orgs, post="yes")
    assert "nothing_of_the_kind" in response.content.decode() and statuses(Org) == ["", "", ""]
    monkeypatch.setattr(Net._handleref, "delete_cascade", ("org",))  # up, and down again: a circle
    monkeypatch.setattr(Org._handleref, "delete_cascade", ("net_set",))
    choose(client, orgs[:1], post="yes")
    assert statuses(Org) == ["deleted", "", ""] and statuses(Net) == ["deleted", ""]


def test_it_works_with_any_manager(client, orgs, monkeypatch):
    admin = site.get_model_admin(Org)
    monkeypatch.setattr(admin, "get_queryset", lambda request: Org.objects.all())
    choose(client, orgs[:1], post="yes")
    assert statuses(Org) == ["deleted", "", ""] and statuses(Net) == ["deleted", ""]
