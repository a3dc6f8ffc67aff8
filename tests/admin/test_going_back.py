"""The two addresses that write."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from reversion.models import Revision

from handleref_sync.admin import VersionAdmin
from handleref_sync.version import ReversionReverter
from tests.admin.conftest import address, ids, revise
from tests.adminapp.models import Net, Org

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch", "options"])
def test_only_post_writes(client, org, method):
    for url in (address(org, "version_rollback_process", ids(org)[1]), address(org, "version_revert_process")):
        response = getattr(client, method)(f"{url}?field_name={ids(org)[1]}")
        assert response.status_code == 405 and response["Allow"] == "POST"
    org.refresh_from_db()
    assert org.name == "v4"


def test_a_form_of_another_site_is_refused(root, org):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(root)
    assert browser.post(address(org, "version_rollback_process", ids(org)[1])).status_code == 403
    assert browser.post(address(org, "version_revert_process"), {"field_name": ids(org)[1]}).status_code == 403


def test_a_rollback(client, root, org):
    response = client.post(address(org, "version_rollback_process", ids(org)[1]), follow=True)
    assert response.redirect_chain == [(address(org), 302)]
    assert "Rolled back" in response.content.decode()
    org.refresh_from_db()
    assert (org.name, org.website) == ("v1", "w0")
    revision = Revision.objects.order_by("pk").last()
    assert revision.user == root and revision.comment.startswith("rollback to version ")
    assert LogEntry.objects.get().object_id == str(org.pk)
    assert ids(org)[-1] == response.context["history"][0]["id"]


def test_fields_are_reverted_each_to_its_own_version(client, org):
    form = {"field_name": ids(org)[1], "field_website": ids(org)[3], "field_size": 0, "version_id": ids(org)[2]}
    response = client.post(address(org, "version_revert_process"), form)
    assert response["Location"] == address(org)
    org.refresh_from_db()
    assert (org.name, org.website) == ("v1", "w1")


def test_zero_leaves_a_field_alone(client, org):
    before = Revision.objects.count()
    response = client.post(
        address(org, "version_revert_process"), {"field_name": 0, "field_website": ""}, follow=True
    )
    assert response.redirect_chain == [(address(org), 302)] and "nothing was reverted" in response.content.decode()
    org.refresh_from_db()
    assert org.name == "v4" and Revision.objects.count() == before


@pytest.mark.parametrize("form", [{"field_x": "y"}, {"field_name": "-3"}, {"field_name": "1e3"}])
def test_versions_that_are_no_numbers(client, org, form):
    response = client.post(address(org, "version_revert_process"), form)
    assert (response.status_code, response["Location"]) == (302, address(org))
    assert Org.objects.get().name == "v4"


@pytest.mark.parametrize("field", ["x", "id", "version", "created"])
def test_fields_that_are_not_for_reverting(client, org, field):
    form = {f"field_{field}": ids(org)[1]}
    response = client.post(address(org, "version_revert_process"), form, follow=True)
    assert response.redirect_chain == [(address(org), 302)] and field in str(next(iter(response.context["messages"])))
    found = Org.objects.get()
    assert (found.pk, found.name) == (org.pk, "v4")


@pytest.fixture
def orphan(org, root):
    """A soft-deleted child of a soft-deleted parent, and the version in which it was alive."""
    net = revise(Net(name="n", org=org), root)
    revise(net, root, name="n1")
    org.delete()
    return net


def test_errors_are_shown_in_the_preview_and_nothing_is_written(client, orphan):
    response = client.post(address(orphan, "version_rollback_process", ids(orphan)[0]))
    assert response.status_code == 200
    assert response.templates[0].name == "handleref/grappelli/version_rollback.html"
    assert "v4" in response.context["errors"]["non_field_errors"][0] and "v4" in response.content.decode()
    chosen = ids(orphan)
    form = {"field_status": chosen[0], "field_name": 0, "version_id": chosen}
    response = client.post(address(orphan, "version_revert_process"), form)
    assert response.status_code == 200
    assert response.templates[0].name == "handleref/grappelli/version_revert.html"
    assert "v4" in response.context["errors"]["non_field_errors"][0]
    name = next(choice for choice in response.context["choices"] if choice["field"] == "name")
    assert name["keep"], "what was chosen is still chosen"
    orphan.refresh_from_db()
    assert (orphan.status, orphan.name) == ("deleted", "n1")


def test_what_the_application_objects_to_is_shown_and_logged(client, org, monkeypatch, caplog):
    class Broken(ReversionReverter):
        def rollback(self, instance, version, **kwargs):
            super().rollback(instance, version, **kwargs)
            raise RuntimeError("the disk is full")

        revert_fields = rollback

    monkeypatch.setattr(VersionAdmin, "reverter_cls", Broken)
    response = client.post(address(org, "version_rollback_process", ids(org)[1]))
    assert response.status_code == 200 and "Internal Error" in response.content.decode()
    assert (
        "the disk is full" in response.context["errors"]["non_field_errors"][0] and "the disk is full" in caplog.text
    )
    org.refresh_from_db()
    assert org.name == "v4", "what it had written is undone"


def test_a_row_that_vanishes_meanwhile(client, org, monkeypatch):
    from django.contrib import admin

    model_admin = admin.site.get_model_admin(Org)
    found = Org.objects.get()
    monkeypatch.setattr(model_admin, "_instance", lambda *args, **kwargs: found)
    version = ids(org)[1]
    real = model_admin._version
    monkeypatch.setattr(model_admin, "_version", lambda *args: (real(*args), Org.objects.all().delete())[0])
    assert client.post(address(found, "version_rollback_process", version)).status_code == 404


def test_going_back_does_not_undo_what_was_written_since_the_page_was_made(client, org, root):
    # The row is read again under a lock: an edit between the request's first read and the write stays.
    form = {"field_name": ids(org)[1]}
    Org.objects.update(website="edited elsewhere")
    client.post(address(org, "version_revert_process"), form)
    org.refresh_from_db()
    assert (org.name, org.website) == ("v1", "edited elsewhere")
