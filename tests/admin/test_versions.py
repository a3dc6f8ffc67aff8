"""Version, ReversionVersion, Diff and the reverters, as code calls them."""

import datetime
from types import SimpleNamespace

import pytest
import reversion
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.test import override_settings
from reversion.models import Revision
from reversion.models import Version as Stored

from handleref_sync.version import Diff, ReversionReverter, ReversionVersion, Reverter, UnreadableVersion, Version
from tests.admin.conftest import ids, revise
from tests.adminapp.models import Berth, Code, Label, Net, Org, Plain

pytestmark = pytest.mark.django_db


def versions(obj):
    return [ReversionVersion(pk) for pk in ids(obj)]


def said():
    return Revision.objects.order_by("pk").last().comment


def test_the_base_class_demands_what_a_store_must_give():
    bare = Version(None)
    for name in ("date", "user", "id", "comment", "data", "data_sorted", "model", "previous", "next"):
        with pytest.raises(NotImplementedError):
            getattr(bare, name)
    assert (bare.node, bare.peer, bare.lost) == (None, None, False)


def test_what_a_version_tells(org, root):
    third = versions(org)[2]
    assert (third.user, third.comment, third.model) == (root, "c2", Org)
    assert third.id == ids(org)[2] and isinstance(third.date, datetime.datetime) and third.written == third.date
    assert third.data["name"] == "v2"
    assert [name for name, _ in third.data_sorted] == sorted(third.data)
    assert third.previous.data["name"] == "v1" and third.next.data["name"] == "v3"
    assert third.changes(third.previous) == {
        "name": {"old": "v1", "changed": "v2"},
        "website": {"old": "w0", "changed": "w1"},
    }
    assert third.changed_fields(third.previous) == ["name", "website"]


def test_the_ends_of_a_history(org):
    first, *_, last = versions(org)
    assert first.previous is None and first.changes(None) is None and first.changed_fields(None) is None
    assert isinstance(last.next, ReversionVersion) and last.next.version is None
    nobody = last.next
    assert (nobody.id, nobody.user, nobody.date, nobody.comment, nobody.model, nobody.previous) == (None,) * 6
    assert nobody.data == {} and nobody.node is None and not nobody.lost and nobody.next.version is None


def test_versions_are_found_by_instance_number_or_text(org):
    stored = Stored.objects.get(pk=ids(org)[1])
    for given in (stored, stored.pk, str(stored.pk)):
        assert ReversionVersion(given).data["name"] == "v1"
    with pytest.raises(ValueError, match="no version ID"):
        ReversionVersion("x")
    with pytest.raises(Stored.DoesNotExist):
        ReversionVersion(987654)


def test_versions_of_a_row_that_is_gone_keep_their_order(org):
    found = versions(org)
    org.delete(hard=True)
    again = ReversionVersion(found[2].id)
    assert again.previous.id == found[1].id and again.next.id == found[3].id


def test_a_summary_leaves_out_a_first_version(org):
    first, second, third, *_ = versions(org)
    summary = ReversionVersion.changes_summary([first, second, third])
    assert [field for field, _ in summary] == ["name", "website"]
    assert list(dict(summary)["name"]) == [second.id, third.id]
    assert dict(summary)["name"][third.id] == {"version": third, "old": "v1", "changed": "v2"}
    assert ReversionVersion.changes_summary([first]) == []


def test_a_diff_formats_as_it_always_did():
    before = {"a": None, "b": 1.5, "c": "x", "d": True, "e": datetime.date(2020, 1, 1), "gone": 1, "z": 1}
    after = {"a": 2, "b": None, "c": [1], "d": False, "e": None, "new": 5, "none": None, "z": "1", "version": 9}
    a, b = SimpleNamespace(version=1, data=before), SimpleNamespace(version=1, data=after)
    assert Diff(a, b).changes == {
        "a": {"old": "None", "changed": "2"},
        "b": {"old": "1.5", "changed": "None"},
        "c": {"old": "x", "changed": [1]},
        "d": {"old": True, "changed": False},
        "e": {"old": "2020-01-01", "changed": "None"},
        "new": {"old": "None", "changed": "5"},
        "z": {"old": 1, "changed": "1"},
    }
    assert Diff.diff_ignore_fields == ["version", "created", "updated"]
    assert Diff(SimpleNamespace(version=None), b).changes == {}


def test_a_snapshot_that_can_not_be_read_says_so(org):
    Stored.objects.filter(pk=ids(org)[1]).update(serialized_data='[{"model": "adminapp.org", "fields": 3}]')
    with pytest.raises(UnreadableVersion):
        ReversionVersion(ids(org)[1]).data  # noqa: B018
    with pytest.raises(ValidationError):
        ReversionReverter().rollback(org, ReversionVersion(ids(org)[1]))


def test_fields_are_reverted_in_a_revision(org, root):
    found = versions(org)
    ReversionReverter().revert_fields(org, {"name": found[1], "website": found[3]}, user=root)
    org.refresh_from_db()
    assert (org.name, org.website) == ("v1", "w1")
    revision = Revision.objects.order_by("pk").last()
    numbers = ", ".join(dict.fromkeys(str(found[n].data["version"]) for n in (1, 3)))
    assert revision.comment == f"reverted some fields via versions: {numbers}" and revision.user == root
    assert len(ids(org)) == 6


def test_a_rollback_leaves_identity_times_and_the_count_of_revisions(org, root):
    found, created, counted = versions(org), org.created, org.version
    ReversionReverter().rollback(org, found[1], user=root)
    org.refresh_from_db()
    assert (org.name, org.website, org.created) == ("v1", "w0", created)
    assert org.version >= counted and Org.objects.count() == 1
    assert said() == f"rollback to version {found[1].data['version']}"


def test_a_rollback_with_a_version_of_another_object_does_not_touch_that_one(org, root):
    other = revise(Org(name="other"), root)
    ReversionReverter().rollback(other, versions(org)[0])
    other.refresh_from_db()
    org.refresh_from_db()
    assert (other.name, org.name) == ("v0", "v4")


@pytest.mark.parametrize("field", ["id", "version", "created", "updated", "nope"])
def test_fields_that_are_not_for_reverting(org, field):
    with pytest.raises(ValidationError) as caught:
        ReversionReverter().revert_fields(org, {field: versions(org)[0]})
    assert field in caught.value.message_dict["non_field_errors"][0]


def test_what_is_not_valid_is_not_written(org, root):
    revise(org, root, code="A", name="with a code")
    old = versions(org)[-1]
    revise(org, root, code=None, name="without")
    revise(Org(name="taker", code="A"), root)
    with pytest.raises(ValidationError) as caught:
        ReversionReverter().rollback(org, old)
    assert "code" in caught.value.message_dict
    assert (org.name, org.code) == ("without", None), "the object in memory is as it was"
    org.refresh_from_db()
    assert org.name == "without"


@pytest.mark.parametrize("status", ["", "ok", "pending"])
def test_a_child_is_not_brought_back_below_a_deleted_parent(org, root, status):
    net = revise(Net(name="n", org=org, status=status), root)
    old = versions(net)[0]
    org.delete()
    net.refresh_from_db()
    assert net.status == "deleted" and not hasattr(Net, "HandleRef")
    for write in (
        lambda: ReversionReverter().rollback(net, old),
        lambda: ReversionReverter().revert_fields(net, {"status": old}),
        lambda: Reverter().validate_status_change(net, status),
        lambda: Reverter().validate_parent_status(net, org, status),
    ):
        with pytest.raises(ValidationError) as caught:
            write()
        assert "v4" in caught.value.message_dict["non_field_errors"][0]
    Reverter().validate_status_change(net, "deleted")
    ReversionReverter().revert_fields(net, {"name": old})


def test_a_parent_that_has_no_inner_class_counts_too(root):
    # Net has no inner HandleRef class; seen from a child of it, it is a parent like any other.
    net = Net(name="n", status="deleted")
    child = SimpleNamespace(
        _meta=SimpleNamespace(
            concrete_fields=[SimpleNamespace(name="net", is_relation=True, related_model=Net)],
        ),
        net=net,
    )
    with pytest.raises(ValidationError):
        Reverter().validate_status_change(child, "ok")


def test_a_parent_that_is_gone_is_an_error_of_its_field(org, root):
    other = revise(Org(name="other"), root)
    net = revise(Net(name="n", org=org), root)
    old = versions(net)[0]
    revise(net, root, org=other)
    org.delete(hard=True)
    with pytest.raises(ValidationError) as caught:
        ReversionReverter().rollback(net, old)
    assert "org" in caught.value.message_dict


def test_many_to_many_fields_go_back_as_well(org, root):
    red, blue = Label.objects.create(text="red"), Label.objects.create(text="blue")
    with reversion.create_revision():
        org.labels.set([red])
        org.save()
    with reversion.create_revision():
        org.labels.set([blue])
        org.save()
    old = versions(org)[-2]
    ReversionReverter().rollback(org, old)
    assert list(org.labels.all()) == [red]
    red.delete()
    with pytest.raises(ValidationError) as caught:
        ReversionReverter().revert_fields(org, {"labels": old})
    assert str(red.pk or "") in caught.value.message_dict["labels"][0]
    assert list(org.labels.all()) == []


def test_any_kind_of_primary_key(root):
    for obj in (Berth(name="one"), Code(text="a_b/c", name="one"), Label(text="one")):
        attribute = "text" if isinstance(obj, Label) else "name"
        revise(obj, root)
        revise(obj, root, **{attribute: "two"})
        old = versions(obj)[0]
        ReversionReverter().rollback(obj, old)
        obj.refresh_from_db()
        assert getattr(obj, attribute) == "one"
        assert type(obj)._default_manager.count() == 1
    assert said().startswith("rollback to version"), "for a model without revision numbers the ID"


def test_the_plain_reverter_writes_no_revision(org):
    before = len(ids(org))
    Reverter().rollback(org, versions(org)[0])
    assert Org.objects.get().name == "v0" and len(ids(org)) == before


def test_models_that_are_not_registered_have_no_versions():
    from handleref_sync.versioning.history import is_recorded, versions_of

    plain = Plain.objects.create(name="x")
    assert not is_recorded(Plain) and not versions_of(plain).exists()


def test_without_reversion_what_needs_it_says_so(org):
    from handleref_sync.versioning.history import versions_of

    found = versions(org)[0]
    with override_settings(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "handleref_sync"]):
        for use in (lambda: ReversionVersion(1), lambda: versions_of(org), lambda: _rollback(org, found)):
            with pytest.raises(ImproperlyConfigured, match="django-reversion"):
                use()


def _rollback(obj, version):
    ReversionReverter().rollback(obj, version)
