"""A superuser's browser, and objects with a history."""

import pytest
import reversion
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from reversion.models import Version

from tests.adminapp.models import Org


@pytest.fixture(autouse=True)
def history(settings):
    """The admin has addresses, and what it shows has versions, for the time of a test."""
    settings.ROOT_URLCONF = "tests.adminapp.urls"
    from tests.adminapp.site import HISTORY

    for model in HISTORY:
        reversion.register(model)
    yield
    for model in HISTORY:
        reversion.unregister(model)


@pytest.fixture
def root(db):
    return User.objects.create_superuser("root", "root@example.com", "secret")


@pytest.fixture
def client(root):
    browser = Client()
    browser.force_login(root)
    return browser


def revise(obj, user=None, comment="", **values):
    """Save `obj` with `values` in a revision of its own."""
    with reversion.create_revision():
        for name, value in values.items():
            setattr(obj, name, value)
        obj.save()
        reversion.set_comment(comment)
        if user is not None:
            reversion.set_user(user)
    obj.refresh_from_db()
    return obj


def ids(obj):
    """The IDs of its versions, oldest first."""
    return list(Version.objects.get_for_object(obj).order_by("pk").values_list("pk", flat=True))


def address(obj, name="history", *more):
    from django.contrib.admin.utils import quote

    meta = obj._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=[quote(obj.pk), *more])


@pytest.fixture
def org(root):
    """An organisation with the names v0 to v4, and a website that changed at v2 and v4."""
    found = revise(Org(name="v0"), root, "first")
    for number in range(1, 5):
        revise(found, root, f"c{number}", name=f"v{number}", website=f"w{number // 2}")
    return found
