"""Versions that peers brought, and those that lost a conflict."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from reversion.models import Version

from handleref_sync.core import hlc
from handleref_sync.version import ReversionReverter, ReversionVersion
from handleref_sync.versioning import history
from tests.admin.conftest import address, ids
from tests.adminapp.models import Org

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def mark(monkeypatch):
    """Say where a version comes from."""
    known = {}
    monkeypatch.setattr(
        history, "sources_of", lambda revisions, using: {pk: known[pk] for pk in revisions if pk in known}
    )

    def one(version_id, node="ship-7", peer="hq", lost=False):
        revision = Version.objects.get(pk=version_id).revision_id
        known[revision] = SimpleNamespace(
            node=node, timestamp=hlc.pack(int(NOON.timestamp() * 1000)), peer=peer, lost=lost, conflict=None
        )

    return one


@pytest.fixture
def lost(org, mark):
    """v2 came from ship-7 by way of hq, v3 came and lost."""
    mark(ids(org)[2])
    mark(ids(org)[3], lost=True)
    return ReversionVersion(ids(org)[3])


def test_whence_a_version_comes(org, lost):
    brought, local = ReversionVersion(ids(org)[2]), ReversionVersion(ids(org)[1])
    assert (brought.node, brought.peer, brought.written, brought.lost) == ("ship-7", "hq", NOON, False)
    assert (local.node, local.peer, local.written, local.lost) == ("a", None, local.date, False)
    assert lost.lost and lost.node == "ship-7"


def test_a_loser_is_no_link_of_the_chain(org, lost):
    third, fourth, fifth = map(ReversionVersion, ids(org)[2:])
    assert fifth.previous.id == third.id and third.next.id == fifth.id, "nothing builds on the one between"
    assert fourth.previous.id == third.id and fourth.next.id == fifth.id
    assert fifth.changes(fifth.previous)["name"] == {"old": "v2", "changed": "v4"}


def test_the_newest_version_may_be_a_loser(org, mark):
    mark(ids(org)[4], lost=True)
    assert ReversionVersion(ids(org)[3]).next.version is None
    assert ReversionVersion(ids(org)[4]).next.version is None


def test_the_list_marks_it(client, org, lost):
    response = client.get(address(org))
    entries = {entry["id"]: entry for entry in response.context["history"]}
    assert [entry["id"] for entry in entries.values() if entry["lost"]] == [lost.id]
    assert entries[ids(org)[2]]["node"] == "ship-7" and entries[ids(org)[2]]["peer"] == "hq"
    changes = {pk: dict(entry["fields"])["version_changes"] for pk, entry in entries.items()}
    assert changes[ids(org)[4]]["name"] == {"old": "v2", "changed": "v4"}
    assert changes[lost.id]["name"] == {"old": "v4", "changed": "v3"}, "what writing it back would change"
    text = response.content.decode()
    assert text.count("handleref-lost") == 1 and "brought by hq" in text and "in a sync with hq" in text


def test_a_list_whose_columns_are_a_project_s_own_marks_it_too(client, org, lost, monkeypatch):
    from handleref_sync.admin import VersionAdmin

    monkeypatch.setattr(VersionAdmin, "version_list_fields", [("version_id", "ID"), ("name", "Name")])
    text = client.get(address(org)).content.decode()
    assert text.count("handleref-lost") == 1 and ">lost<" in text and "c4" in text


def test_its_details_offer_to_write_it_back(client, org, lost):
    text = client.get(address(org, "version", lost.id)).content.decode()
    assert "lost a conflict" in text and "Write this version back" in text and "revert/?" not in text
    client.post(address(org, "version_rollback_process", lost.id))
    org.refresh_from_db()
    assert (org.name, org.website) == ("v3", "w1")
    newest = client.get(address(org)).context["history"][0]
    assert not newest["lost"] and newest["node"] == "a", "the rollback is a write of this node"


def test_a_preview_offers_the_loser_s_own_values(client, org, lost):
    fifth = ids(org)[4]
    response = client.get(address(org, "version_revert"), {"version_id": [fifth, lost.id]})
    offered = {
        choice["field"]: [(option["version"].id, option["value"], option["checked"]) for option in choice["options"]]
        for choice in response.context["choices"]
    }
    assert offered == {
        "name": [(ids(org)[2], "v2", True), (lost.id, "v3", False)],
        "website": [(ids(org)[2], "w1", True), (lost.id, "w1", False)],
    }
    client.post(address(org, "version_revert_process"), {"field_name": lost.id, "field_website": 0})
    org.refresh_from_db()
    assert (org.name, org.website) == ("v3", "w2")


def test_a_loser_alone_is_what_the_preview_starts_from(client, org, lost):
    response = client.get(address(org, "version_revert"), {"version_id": lost.id})
    choices = {choice["field"]: choice for choice in response.context["choices"]}
    assert set(choices) == {"name", "website"}
    assert choices["name"]["options"][0]["version"].id == lost.id and choices["name"]["options"][0]["checked"]


def test_going_back_to_a_loser_from_code(org, lost):
    ReversionReverter().rollback(org, lost)
    assert Org.objects.get().name == "v3"
