"""The four pages: what they show, to whom, and that nothing odd makes them fail."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from reversion.models import Version

from handleref_sync.admin import HistoryListing, VersionAdmin
from tests.admin.conftest import address, ids, revise
from tests.adminapp.models import Berth, Code, Label, Net, Org, Plain

pytestmark = pytest.mark.django_db
PAGES = ("history", "version", "version_revert", "version_rollback")
# The names that templates of projects rely on.
CONTEXT = {
    "history": (
        "action_form action_list field_count history history_qset listing log_entries model module_name object "
        "object_id opts page_range page_var pagination_required preserved_filters subtitle title version_list_fields"
    ),
    "version": "changes instance object_id opts previous version version_id",
    "version_revert": "changes count instance object_id opts versions",
    "version_rollback": "instance object_id opts version",
}


def page(client, name, obj, *versions, **more):
    if name == "version_revert":
        return client.get(address(obj, name), {"version_id": versions, **more})
    return client.get(address(obj, name, *(versions[:1] if name != "history" else ())), more)


@pytest.fixture
def net(org, root):
    """Its admin has reversion's own VersionAdmin behind ours, other mixins before it, and grappelli's templates."""
    found = revise(Net(name="n0", org=org), root, "first")
    return revise(found, root, "second", name="n1")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("which", ["org", "net"])
def test_each_page_has_the_names_that_templates_rely_on(request, client, name, which):
    obj = request.getfixturevalue(which)
    response = page(client, name, obj, ids(obj)[1])
    assert response.status_code == 200
    for key in CONTEXT[name].split():
        assert key in response.context, key
    assert response.context["opts"] is type(obj)._meta
    used = [template.name for template in response.templates]
    expected = {"history": "object_history", "version": "version_details"}.get(name, name)
    assert used[0] == f"handleref/{'grappelli/' if which == 'net' else ''}{expected}.html"


@pytest.mark.parametrize("folder", ["handleref/", "handleref/grappelli/"])
def test_blocks_have_the_names_that_templates_override(folder):
    from django.template.loader import get_template
    from django.template.loader_tags import BlockNode

    expected = {
        "object_history": {"extrastyle", "content", "pagination_bottom" if "grappelli" in folder else "pagination"},
        "version_details": {"breadcrumbs", "content", "object-tools", "object-tools-items"},
        "version_revert": {"breadcrumbs", "content"},
        "version_rollback": {"breadcrumbs", "content"},
    }
    for name, blocks in expected.items():
        template = get_template(f"{folder}{name}.html").template
        assert blocks <= {node.name for node in template.nodelist.get_nodes_by_type(BlockNode)}


def test_addresses_have_their_names_and_forms(org):
    quoted = Code(text="a_b/c")
    assert address(org, "version", 7) == f"/admin/adminapp/org/{org.pk}/history/7/"
    assert address(org, "version_revert") == f"/admin/adminapp/org/{org.pk}/history/revert/"
    assert address(org, "version_revert_process") == f"/admin/adminapp/org/{org.pk}/history/revert/process/"
    assert address(org, "version_rollback", 7) == f"/admin/adminapp/org/{org.pk}/history/7/rollback/"
    assert address(org, "version_rollback_process", 7).endswith("/history/7/rollback/process/")
    assert address(quoted, "version", 7) == "/admin/adminapp/code/a_5Fb_2Fc/history/7/"


def test_the_list_shows_who_changed_what_and_where(client, org, root):
    response = page(client, "history", org)
    text = response.content.decode()
    newest, *_, oldest = response.context["history"]
    assert newest["id"] == ids(org)[-1] and newest["comment"] == "c4"
    fields = dict(newest["fields"])
    assert list(fields) == [name for name, _ in VersionAdmin.version_list_fields]
    assert fields["version_id"] == newest["id"] and fields["version_user"] == root and fields["status"] == ""
    assert fields["version_changes"] == {
        "name": {"old": "v3", "changed": "v4"},
        "website": {"old": "w1", "changed": "w2"},
    }
    assert dict(oldest["fields"])["version_changes"] is None
    assert fields["version_node"] == "a" and not newest["lost"]
    assert response.context["title"] == "Version History" and response.context["history_qset"].count() == 5
    for shown in ("Version ID", "Object Status", "c4", f'href="{newest["id"]}/"', "v3", "v4", "5 versions"):
        assert shown in text, shown


def test_what_version_list_fields_may_name(client, org, monkeypatch):
    from django.contrib import admin

    model_admin = admin.site.get_model_admin(Org)
    wanted = ["version_data_sorted", "name", "version_changed_fields", "version_comment", "version_model", "nope"]
    monkeypatch.setattr(type(model_admin), "version_list_fields", [(name, name) for name in wanted])
    entry = page(client, "history", org).context["history"][0]
    fields = dict(entry["fields"])
    assert fields["version_data_sorted"] == sorted(fields["version_data_sorted"]) != []
    assert fields["name"] == "v4" and fields["version_changed_fields"] == ["name", "website"]
    assert fields["version_comment"] == "c4" and fields["version_model"] is Org and fields["nope"] == ""


def test_more_than_a_hundred_versions(client, org, root):
    for number in range(120):
        revise(org, root, name=f"x{number}")
    response = page(client, "history", org)
    listing = response.context["listing"]
    assert isinstance(listing, HistoryListing) and repr(listing)
    assert (listing.result_count, listing.multi_page, len(response.context["history"])) == (125, True, 100)
    assert dict(response.context["history"][-1]["fields"])["version_changes"] == {
        "name": {"old": "x19", "changed": "x20"}
    }, "the first of the next page is what it is compared with"
    assert "?p=2" in response.content.decode()
    second = page(client, "history", org, p=2)
    assert [entry["id"] for entry in second.context["history"]] == ids(org)[:25][::-1]
    for odd in ("3", "0", "-1", "x", "999999999999999999999"):
        away = page(client, "history", org, p=odd)
        assert (away.status_code, away["Location"]) == (302, address(org))


def test_the_number_of_queries_does_not_grow_with_the_versions(client, org, root, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    page(client, "history", org)
    with CaptureQueriesContext(connection) as few:
        page(client, "history", org)
    for number in range(40):
        revise(org, root, name=f"x{number}")
    with CaptureQueriesContext(connection) as many:
        page(client, "history", org)
    assert len(many) == len(few), [query["sql"] for query in many]


@pytest.mark.parametrize("which", ["org", "net"])
def test_ticked_versions_lead_to_the_preview(request, client, which):
    obj = request.getfixturevalue(which)
    chosen = ids(obj)[-1:]
    response = client.post(address(obj), {"action": "revert", "version_id": chosen})
    assert response.status_code == 200 and response.context["count"] == 1
    field, by_version = response.context["changes"][0]
    assert field == "name" and list(by_version) == chosen
    before = by_version[chosen[0]]["version"].previous
    text = response.content.decode()
    assert f'name="field_name" value="{before.id}" checked' in text
    assert 'name="field_name" value="0"' in text and f'name="version_id" value="{chosen[0]}"' in text


def test_a_preview_with_the_first_version(client, org):
    response = page(client, "version_revert", org, ids(org)[0])
    assert response.status_code == 200 and response.context["changes"] == []
    assert "nothing to revert" in response.content.decode()
    response = page(client, "version_revert", org, ids(org)[0], ids(org)[1])
    assert [field for field, _ in response.context["changes"]] == ["name", "website"]


@pytest.mark.parametrize("which", ["org", "net"])
def test_the_details_offer_what_makes_sense_once(request, client, which):
    obj = request.getfixturevalue(which)
    first, *_, last = ids(obj)
    for version, revert, rollback in ((first, 0, 1), (last, 1, 0)):
        text = page(client, "version", obj, version).content.decode()
        assert (text.count(f"revert/?version_id={version}"), text.count(f"{version}/rollback/")) == (revert, rollback)


def test_values_are_escaped(client, org, root):
    revise(org, root, "<script>1</script>", name="<script>2</script>")
    revise(org, root, name="<b>")
    for name in PAGES:
        assert b"<script>1" not in page(client, name, org, ids(org)[-1]).content
        assert b"<script>2" not in page(client, name, org, ids(org)[-1]).content


@pytest.mark.parametrize("name", PAGES)
def test_extra_context_is_taken_everywhere(name, rf, root, org):
    from django.contrib import admin
    from django.contrib.messages.storage.cookie import CookieStorage

    request = rf.get("/", {"version_id": ids(org)[1]})
    request.user, request._messages = root, CookieStorage(request)
    model_admin = admin.site.get_model_admin(Org)
    view = {"version": "version_details_view"}.get(name, f"{name}_view")
    arguments = [str(org.pk)] + ([str(ids(org)[1])] if name in ("version", "version_rollback") else [])
    response = getattr(model_admin, view)(request, *arguments, extra_context={"mine": 1, "opts": "mine"})
    assert response.context_data["mine"] == 1 and response.context_data["opts"] == "mine"


class TestOddInput:
    def test_an_unknown_object(self, client, org):
        ghost = Org(pk=99999)
        for name in PAGES:
            assert page(client, name, ghost, ids(org)[1]).status_code == 404
        for bad in ("x", "9" * 30, "9" * 5000, "%00"):
            assert client.get(f"/admin/adminapp/org/{bad}/history/").status_code == 404
            assert client.get(f"/admin/adminapp/code/{bad}/history/").status_code == 404
            assert client.get(f"/admin/adminapp/berth/{bad}/history/1/").status_code == 404

    def test_an_unknown_version(self, client, org):
        for number in (0, 99999, "9" * 30, "9" * 5000):
            base = f"{address(org)}{number}/"
            assert client.get(base).status_code == 404
            assert client.get(f"{base}rollback/").status_code == 404
            assert client.post(f"{base}rollback/process/").status_code == 404
            assert page(client, "version_revert", org, number).status_code == 404

    def test_a_version_of_another_object(self, client, org, root):
        other = revise(revise(Org(name="o0"), root), root, name="o1")
        foreign = ids(other)[0]
        for name in ("version", "version_revert", "version_rollback"):
            assert page(client, name, org, foreign).status_code == 404
        assert client.post(address(org, "version_rollback_process", foreign)).status_code == 404
        assert client.post(address(org, "version_revert_process"), {"field_name": foreign}).status_code == 404
        for obj, name in ((org, "v4"), (other, "o1")):
            obj.refresh_from_db()
            assert obj.name == name

    def test_a_version_of_an_object_of_another_model_with_the_same_key(self, client, org, root):
        net = revise(Net(pk=org.pk, name="n", org=org), root)
        assert client.post(address(org, "version_rollback_process", ids(net)[0])).status_code == 404

    @pytest.mark.parametrize("bad", ["x", "-1", "1.5", "", "٣"])
    def test_a_version_that_is_no_number(self, client, org, bad):
        response = page(client, "version_revert", org, bad)
        assert (response.status_code, response["Location"]) == (302, address(org))

    def test_nothing_chosen_or_an_unknown_action(self, client, org):
        for form in ({"action": "revert"}, {"action": "other", "version_id": ids(org)[1]}, {}):
            response = client.post(address(org), form, follow=True)
            assert response.redirect_chain == [(address(org), 302)]
            assert len(response.context["messages"]) == 1

    def test_a_snapshot_that_can_not_be_read(self, client, org):
        broken = ids(org)[2]
        Version.objects.filter(pk=broken).update(serialized_data="rubbish")
        response = page(client, "history", org)
        assert response.status_code == 200
        assert [entry["id"] for entry in response.context["history"] if entry["unreadable"]] == [
            ids(org)[3],
            broken,
        ], "nor can be told what the one after it changed"
        for name in ("version", "version_revert", "version_rollback"):
            assert page(client, name, org, broken).status_code == 302
        response = client.post(address(org, "version_rollback_process", broken))
        assert response.status_code == 302

    def test_a_model_that_is_not_registered(self, client):
        plain = Plain.objects.create(name="x")
        response = client.get(address(plain))
        assert response.status_code == 200 and "not registered" in response.content.decode()
        assert client.get(f"{address(plain)}1/").status_code == 404


def test_any_kind_of_primary_key(client, root):
    for obj in (Berth(name="0"), Code(text='a_b/c?"d" é', name="0"), Label(text="0")):
        field = "text" if isinstance(obj, Label) else "name"
        revise(obj, root)
        revise(obj, root, **{field: "1"})
        for name in PAGES:
            response = page(client, name, obj, ids(obj)[-1])
            assert response.status_code == 200, (obj, name)
            # Each link that a page has to another of the object's pages leads somewhere.
            for target in ("history", "change"):
                if name != "history":
                    assert address(obj, target) in response.content.decode()
        response = client.post(address(obj, "version_rollback_process", ids(obj)[0]))
        assert response["Location"] == address(obj)
        assert type(obj)._default_manager.filter(**{field: "0"}).count() == 1


class TestPermissions:
    @pytest.fixture
    def staff(self, db):
        return User.objects.create_user("staff", password="x", is_staff=True)

    def may(self, user, *names):
        user.user_permissions.set(
            Permission.objects.filter(codename__in=[f"{n}_org" for n in names], content_type__app_label="adminapp")
        )
        browser = Client()
        browser.force_login(user)
        return browser

    def test_nobody_in_particular_is_sent_to_the_login(self, org):
        for name in PAGES:
            response = page(Client(), name, org, ids(org)[1])
            assert response.status_code == 302
            assert response["Location"].startswith(reverse("admin:login"))

    def test_staff_without_permissions(self, staff, org):
        browser = self.may(staff)
        for name in PAGES:
            assert page(browser, name, org, ids(org)[1]).status_code == 403

    def test_view_is_for_looking(self, staff, org):
        browser = self.may(staff, "view")
        history = page(browser, "history", org)
        assert history.status_code == page(browser, "version", org, ids(org)[1]).status_code == 200
        assert history.context["action_form"] is None and b'type="checkbox"' not in history.content
        assert b"/rollback/" not in page(browser, "version", org, ids(org)[1]).content
        for name in ("version_revert", "version_rollback"):
            assert page(browser, name, org, ids(org)[1]).status_code == 403
        form = {"action": "revert", "version_id": ids(org)[1]}
        assert browser.post(address(org), form).status_code == 403
        assert browser.post(address(org, "version_rollback_process", ids(org)[1])).status_code == 403
        form = {"field_name": ids(org)[1]}
        assert browser.post(address(org, "version_revert_process"), form).status_code == 403
        org.refresh_from_db()
        assert org.name == "v4"

    def test_change_is_for_going_back(self, staff, org):
        browser = self.may(staff, "change")
        for name in PAGES:
            assert page(browser, name, org, ids(org)[1]).status_code == 200
        browser.post(address(org, "version_rollback_process", ids(org)[1]))
        org.refresh_from_db()
        assert org.name == "v1"
