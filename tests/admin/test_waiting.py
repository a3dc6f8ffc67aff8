"""Parked changes and the conflict log in the admin."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from handleref_sync import wire
from handleref_sync.models import Conflict, Node, Parked
from handleref_sync.replication.stamping import stamp
from tests.testapp.models import Item, Tag

pytestmark = pytest.mark.django_db(databases=["default", "second", "third"])


@pytest.fixture
def parked(db):
    return Parked.objects.create(
        model="testapp.tag",
        key="00000000-0000-0000-0000-000000000001",
        node=Node.objects.get(name="a"),
        counter=10**6,
        clock=f"a:{10**6}",
        timestamp=1 << 16,
        data=wire.pack({"fields": ["name"], "values": ["a tag"]}),
        reason=Parked.Reason.LOCKED,
        detail="somebody held it",
        peer="b",
        sequence=10**9,
    )


@pytest.fixture
def conflict(db):
    return Conflict.objects.create(
        id="f" * 40,
        model="testapp.tag",
        key="00000000-0000-0000-0000-000000000002",
        node="b",
        counter=7,
        timestamp=1 << 16,
        data=wire.pack({"fields": ["name"], "values": ["lost"]}),
    )


def act(client, model, action, *rows):
    address = reverse(f"admin:handleref_sync_{model}_changelist")
    answer = client.post(address, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_says_why_and_the_page_what_to_do(client, parked):
    page = client.get(reverse("admin:handleref_sync_parked_changelist") + "?q=somebody").content.decode()
    assert "the application held its row locked" in page and "somebody held it" in page
    page = client.get(reverse("admin:handleref_sync_parked_change", args=[parked.pk])).content.decode()
    assert "the next sync tries again" in page and "name: a tag" in page


def test_a_collision_names_the_row_that_has_the_value(client, parked):
    item = Item.objects.create(name="dup")
    data = wire.pack({"fields": ["name"], "values": ["dup"]})
    Parked.objects.update(model="testapp.item", key="b:7", reason=Parked.Reason.UNIQUE, data=data)
    page = client.get(reverse("admin:handleref_sync_parked_change", args=[parked.pk])).content.decode()
    assert f"name=&#x27;dup&#x27; is taken by the testapp.item with primary key {item.pk}" in page
    Item.objects.update(name="free")
    page = client.get(reverse("admin:handleref_sync_parked_change", args=[parked.pk])).content.decode()
    assert "is taken" not in page and "somebody held it" in page


def test_trying_again(client, parked):
    page = act(client, "parked", "retry", parked)
    assert "1 written, 0 still waiting." in page
    assert Tag.objects.get().name == "a tag" and not Parked.objects.exists()


def test_a_loser_is_shown_and_written_back(client, conflict):
    page = client.get(reverse("admin:handleref_sync_conflict_change", args=[conflict.pk])).content.decode()
    assert "name: lost" in page and "1970-01-01T00:00:00.001+00:00" in page
    assert "nothing is known here of what won" in page
    assert "is written back" in act(client, "conflict", "restore", conflict)
    assert Tag.objects.get().name == "lost"
    stamp("default")
    Tag.objects.update(name="current")
    page = client.get(reverse("admin:handleref_sync_conflict_change", args=[conflict.pk])).content.decode()
    assert ": content<br>name: &#x27;lost&#x27; lost against &#x27;current&#x27;" in page
    Tag.objects.all().delete()
    stamp("default")
    page = client.get(reverse("admin:handleref_sync_conflict_change", args=[conflict.pk])).content.decode()
    assert re.search("written on a at [^ ]+: deletion<", page)


def test_one_that_can_not_be_written_back_is_said(client, conflict):
    Conflict.objects.update(model="nowhere.at_all")
    assert "is not replicated here" in act(client, "conflict", "restore", conflict)


def test_dismissing(client, conflict):
    assert "1 dismissed." in act(client, "conflict", "dismiss", conflict)
    assert Conflict.objects.get().dismissed


def test_a_deletion_and_what_is_no_content(client, conflict):
    for data, says in ((None, "a deletion"), (b"\xc1", "MalformedBody"), (wire.pack({}), "KeyError")):
        Conflict.objects.update(data=data)
        page = client.get(reverse("admin:handleref_sync_conflict_change", args=[conflict.pk])).content.decode()
        assert says in page


def test_nobody_adds_changes_or_deletes_them_and_who_may_only_look_has_no_actions(client, parked):
    address = reverse("admin:handleref_sync_parked_change", args=[parked.pk])
    assert client.post(address, {"model": "x"}).status_code == 403
    assert client.get(reverse("admin:handleref_sync_parked_add")).status_code == 403
    assert client.post(reverse("admin:handleref_sync_parked_delete", args=[parked.pk])).status_code == 403
    user = User.objects.create_user("looker", password="secret", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_parked"))
    browser = Client()
    browser.force_login(user)
    act(browser, "parked", "retry", parked)
    assert Parked.objects.exists()
