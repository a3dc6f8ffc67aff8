"""The column and the filter that say where a row was written."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from handleref_sync.admin import NodeFilter
from tests.adminapp.models import Label, Org
from tests.nodes.network import Network

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second", "third"])


@pytest.fixture
def client():
    browser = Client()
    browser.force_login(User.objects.create_superuser("root", "", "x"))
    return browser


@pytest.fixture
def network():
    """Node a is what the admin shows; b has written one row of each kind."""
    found = Network("ab")
    for model, field in ((Org, "name"), (Label, "text")):
        model.objects.using("second").create(**{field: "of b"})
        model.objects.create(**{field: "of a"})
    found.heal([("a", "b")])
    return found


def listed(client, model, **query):
    response = client.get(f"/admin/adminapp/{model._meta.model_name}/", query)
    assert response.status_code == 200, response.get("Location")
    field = "text" if model is Label else "name"
    admin = response.context["cl"].model_admin
    return {getattr(row, field): admin.written_at(row) for row in response.context["cl"].result_list}


@pytest.mark.parametrize("model", [Org, Label])
def test_the_column(client, network, model):
    assert listed(client, model) == {"of a": "a", "of b": "b"}
    assert b"Written at" in client.get(f"/admin/adminapp/{model._meta.model_name}/").content


@pytest.mark.parametrize("model", [Org, Label])
def test_the_filter(client, network, model):
    assert listed(client, model, written_at="a") == {"of a": "a"}
    assert listed(client, model, written_at="b") == {"of b": "b"}
    assert listed(client, model, written_at="nobody") == {}
    text = client.get(f"/admin/adminapp/{model._meta.model_name}/").content.decode()
    assert "?written_at=a" in text and "?written_at=b" in text


def test_the_list_can_be_sorted_by_it(client, network):
    assert list(listed(client, Org, o="3")) == ["of a", "of b"]
    assert list(listed(client, Org, o="-3")) == ["of b", "of a"]


def test_a_write_counts_before_it_is_stamped(client, network):
    for model, field in ((Org, "name"), (Label, "text")):
        model.objects.filter(**{field: "of b"}).update(**{field: "of b, edited here"})
        assert listed(client, model, written_at="b") == {}
        assert listed(client, model, written_at="a") == {"of a": "a", "of b, edited here": "a"}
        assert listed(client, model) == {"of a": "a", "of b, edited here": "a"}
    network.heal([("a", "b")])
    assert listed(client, Org, written_at="a") == {"of a": "a", "of b, edited here": "a"}


def test_incarnations_of_a_node_are_one(client, network):
    from handleref_sync.models import Node

    Node.objects.filter(name="b").update(name="b~k3f9")
    assert listed(client, Org, written_at="b") == {"of b": "b"}
    names = [name for name, _ in NodeFilter(None, {}, Org, client_admin()).lookup_choices]
    assert names == ["a", "b"]


def client_admin():
    from django.contrib.admin import site

    return site.get_model_admin(Org)


@pytest.mark.parametrize("model", [Org, Label])
def test_no_query_a_row(client, network, model):
    url = f"/admin/adminapp/{model._meta.model_name}/"
    client.get(url)
    with CaptureQueriesContext(connection) as few:
        client.get(url)
    field = "text" if model is Label else "name"
    for number in range(30):
        model.objects.create(**{field: f"x{number}"})
    with CaptureQueriesContext(connection) as many:
        client.get(url)
    assert len(many) == len(few), [query["sql"] for query in many]


def test_a_database_that_is_no_node_yet(client):
    from handleref_sync.models import Capture, LocalNode, Node, Stamp

    Org.objects.create(name="x")
    Capture.objects.all().delete()
    Stamp.objects.all().delete()
    LocalNode.objects.all().delete()
    Node.objects.all().delete()
    assert set(listed(client, Org)) == {"x"}
