"""Each check, by the mistake that it is there for."""

import pytest
from django.db import connections, models
from django.test.utils import isolate_apps

from handleref_sync import checks, declared, registry
from handleref_sync.capture import install
from handleref_sync.capture.base import vendor_for
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import LocalNode, Peer
from tests.messages import found
from tests.testapp.models import Airport, Country

# Not only the checks of databases ask them: Django's own check of JSON fields does, too.
pytestmark = pytest.mark.django_db(databases=["default", "second", "third"])


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
        ({"NODE": "a", "MODELS": ["handleref_sync.LocalNode"]}, "E013", "names handleref_sync.localnode"),
        ({"NODE": "a", "MODELS": {"handleref_sync.Conflict": {}}}, "E013", "names handleref_sync.conflict"),
        ({"NODE": "a", "URL": "127.0.0.1:8000/sync/"}, "E001", "'URL'] is '127.0.0.1:8000/sync/'"),
        ({"NODE": "a", "URL": "ftp://hq.example/sync/"}, "E001", "'ftp://hq.example/sync/'"),
        ({"NODE": "a", "URL": "https:///sync/"}, "E001", "'https:///sync/'"),
        ({"NODE": "a", "URL": "https://hq.example:x/"}, "E001", "'https://hq.example:x/'"),
        ({"NODE": "a", "URL": "https://hq.example/sync/?a=1"}, "E001", "a=1"),
        ({}, "E002", "not set"),
        ({"NODE": "a", "DATABASE": "nowhere"}, "E003", "no such alias"),
        ({"NODE": "a", "MODELS": {"testapp.Tag": {"identity": "name"}}}, "E004", "identity is 'name'"),
        ({"NODE": "a", "MODELS": {"auth.User": {"identity": ["nickname"]}}}, "E004", "names nickname"),
        ({"NODE": "a", "MODELS": {"auth.User": {"identity": ["last_login"]}}}, "E004", "names last_login"),
        ({"NODE": "a", "MODELS": {"testapp.Tag": {"identity": ["name"]}}}, "E004", "not assigned by the database"),
        ({"NODE": "a", "MODELS": {"testapp.Tag": {"identity": "origin"}}}, "E004", "not assigned by the database"),
    ],
)
def test_a_wrong_setting_is_named(settings, setting, check, says):
    settings.HANDLEREF_SYNC = setting
    message = found()[f"handleref_sync.{check}"]
    assert says in message.msg and message.hint


@pytest.mark.parametrize("label", ["LocalNode", "Peer", "Invite", "Nonce", "Stamp", "Parked"])
def test_a_table_of_the_library_is_not_replicated(settings, label):
    settings.HANDLEREF_SYNC = {"NODE": "a", "MODELS": [f"handleref_sync.{label}"]}
    with pytest.raises(ConfigurationError, match="a table of the library itself"):
        registry.model_classes()


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("https://a.example/sync/", True),
        ("https://a.example/sync", True),
        ("https://a.example/below/sync/", True),
        ("https://a.example/", False),
        ("https://a.example/syn/", False),
        ("https://a.example/sync/v1/", False),
        ("", True),
    ],
)
def test_a_url_that_leads_elsewhere(settings, url, leads):
    settings.ROOT_URLCONF = "tests.transport.conftest"
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "URL": url}
    message = found().get("handleref_sync.W008")
    assert (message is None) is leads
    if message is not None:
        assert repr(url) in message.msg and "include" in message.hint
    settings.ROOT_URLCONF = "tests.adminapp.urls"
    assert ("handleref_sync.W008" in found()) is bool(url)


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


@pytest.mark.parametrize(
    ("option", "value", "number"),
    [
        ("resolver", "nothing.at.all", "E007"),
        ("resolver", 7, "E007"),
        ("renamed", ["old"], "E008"),
        ("renamed", {"code": "name"}, "E008"),
        ("renamed", {"old": "nothing"}, "E008"),
        ("renamed", {"one": "two", "two": "one"}, "E008"),
    ],
)
def test_an_option_that_makes_no_sense_is_an_error(option, value, number, monkeypatch):
    monkeypatch.setattr(Country.HandleRef, option, value, raising=False)
    (found,) = checks.check_options(Country)
    assert found.id == f"handleref_sync.{number}" and found.hint


def test_a_field_travels_under_the_first_name_that_it_had(monkeypatch):
    monkeypatch.setattr(Country.HandleRef, "renamed", {"a": "b", "b": "name"}, raising=False)
    assert declared.names(Country) == ({"name": "a"}, {"b": "a", "name": "a"})


@isolate_apps("tests")
def test_models_without_a_table_of_their_own():
    class Base(models.Model):
        class Meta:
            app_label = "nowhere"

    class Proxy(Base):
        class Meta:
            app_label = "nowhere"
            proxy = True

    class Swapped(models.Model):
        class Meta:
            app_label = "nowhere"
            swappable = "AUTH_USER_MODEL"

    for model, says in ((Proxy, "is a proxy of nowhere.Base"), (Swapped, "is swapped out for auth.User")):
        (message,) = checks.check_model(model, [model])
        assert message.id == "handleref_sync.E004" and says in message.msg


@isolate_apps("tests")
def test_a_model_that_a_router_keeps_out(settings):
    class Elsewhere(models.Model):
        class Meta:
            app_label = "nowhere"

    class Router:
        def allow_migrate(self, db, app_label, **hints):
            return app_label != "nowhere"

    settings.DATABASE_ROUTERS = [Router()]
    (message,) = checks.check_model(Elsewhere, [Elsewhere])
    assert message.id == "handleref_sync.E009" and message.hint


@pytest.mark.parametrize(
    ("exclude", "says"),
    [
        (("nothing",), "no such field"),
        (("id",), "primary key"),
        (("country",), "would have nothing"),
        ("name", "no such"),
    ],
)
def test_what_cannot_be_excluded(exclude, says, monkeypatch):
    monkeypatch.setattr(Airport, "HandleRef", type("HandleRef", (), {"exclude": exclude}), raising=False)
    messages = checks.check_excluded(Airport)
    assert messages and all(m.id == "handleref_sync.E011" and m.hint for m in messages) and says in messages[0].msg


def test_what_may_be_excluded(monkeypatch):
    options = type("HandleRef", (), {"exclude": ("elevation", "extra", "name")})
    monkeypatch.setattr(Airport, "HandleRef", options, raising=False)
    assert not checks.check_excluded(Airport)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("", False),
        ("https://hq.example/sync", False),
        ("http://localhost:8000/sync", False),
        ("http://ship.localhost/sync", False),
        ("http://127.0.0.1:8000/sync", False),
        ("http://[::1]:8000/sync", False),
        ("http://hq.example/sync", True),
        ("HTTP://hq.example/sync", True),
        ("http://10.0.0.7/sync", True),
        ("http://localhost.example/sync", True),
        ("http://[broken/sync", False),  # E001 says that it is none
    ],
)
def test_plain_http_to_another_machine_is_said_before_deployment(settings, url, plain):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "URL": url}
    assert "handleref_sync.W013" not in found()
    messages = found(include_deployment_checks=True)
    assert ("handleref_sync.W013" in messages) == plain
    if plain:
        message = messages["handleref_sync.W013"]
        assert url in message.msg and message.hint


@pytest.mark.django_db(transaction=True, databases=["default", "second", "third"])
def test_plain_http_to_a_peer_is_said_where_the_database_is_asked():
    install.install("default", node="a")
    for name, url in (("b", "http://b.example/sync"), ("c", "https://c.example/sync"), ("d", "")):
        Peer.objects.create(name=name, url=url, public_key=b"")
    assert "handleref_sync.W013" not in found(include_deployment_checks=True)
    assert "handleref_sync.W013" not in found(databases=["default"])
    message = found(databases=["default"], include_deployment_checks=True)["handleref_sync.W013"]
    assert "peer b is http://b.example/sync" in message.msg and message.hint
