"""Fixtures for all tests."""

import pytest
from django.test import TransactionTestCase

from tests import databases


@pytest.fixture
def node(transactional_db):
    """The default database as a node with nothing captured yet."""
    databases.node("default", "a")
    return "default"


@pytest.fixture(autouse=True, scope="session")
def flushing():
    """After each test that commits, make its databases what they were: Django's flush would take longer than it."""
    original = TransactionTestCase.__dict__["_fixture_setup"]

    def setup(case):
        for using in case._databases_names(include_mirrors=False):
            databases.begin(using)
        return original.__get__(case, case if isinstance(case, type) else type(case))()

    def teardown(case):
        for using in case._databases_names(include_mirrors=False):
            databases.reset(using)

    with pytest.MonkeyPatch.context() as patch:
        kind = classmethod if isinstance(original, classmethod) else (lambda function: function)
        patch.setattr(TransactionTestCase, "_fixture_setup", kind(setup))
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield
