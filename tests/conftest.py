"""Fixtures for all tests."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections
from django.db.models import Count, Max
from django.test import TransactionTestCase

from handleref_sync.capture import install
from handleref_sync.conf import settings

MADE = {"django_content_type": "contenttypes.ContentType", "auth_permission": "auth.Permission"}
"""Tables that `migrate` fills, and few tests touch."""
_tables: dict[str, list[str]] = {}
_first: dict[str, list[dict[str, int]]] = {}


@pytest.fixture
def node(transactional_db):
    """The default database as a node with nothing captured yet."""
    install.install("default", node="a")
    return "default"


@pytest.fixture(autouse=True, scope="session")
def flushing():
    """Empty only the tables that have rows after each test, and leave content types and permissions where they are.

    Django's own flush empties all and makes those anew. With three databases, on a server, it takes longer than most
    tests.
    """
    original = TransactionTestCase.__dict__["_fixture_setup"]

    def setup(case):
        for using in case._databases_names(include_mirrors=False):
            _first.setdefault(using, _made(using))
        return original.__get__(case, case if isinstance(case, type) else type(case))()

    def teardown(case):
        for using in case._databases_names(include_mirrors=False):
            flush(using)

    with pytest.MonkeyPatch.context() as patch:
        kind = classmethod if isinstance(original, classmethod) else (lambda function: function)
        patch.setattr(TransactionTestCase, "_fixture_setup", kind(setup))
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield


def flush(using):
    connection = connections[using]
    if _made(using) != _first[using]:
        call_command("flush", verbosity=0, interactive=False, database=using, allow_cascade=True)
        _first[using] = _made(using)
        return
    if using not in _tables:
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        _tables[using] = [name for name in names if name not in MADE]
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT {number} FROM (SELECT 1 AS one) x WHERE EXISTS (SELECT 1 FROM {quote(name)})"
                for number, name in enumerate(_tables[using])
            )
        )
        full = [_tables[using][number] for (number,) in cursor.fetchall()]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), full, allow_cascade=True))
    if using == settings.database:
        install.install(using)  # as post_migrate does after Django's flush


def _made(using):
    return [apps.get_model(label).objects.using(using).aggregate(Count("pk"), Max("pk")) for label in MADE.values()]
