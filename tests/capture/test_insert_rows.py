"""Many rows at once, as the applier writes them, on every database."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from handleref_sync.capture.base import vendor_for
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = Country._meta.db_table
COLUMNS = ["id", "status", "created", "updated", "version", "code", "name"]


def rows(count, start=0):
    moment = "2024-01-02 03:04:05"
    return [(n + 1, "ok", moment, moment, 0, f"{n:x}", f"Country % {n}") for n in range(start, start + count)]


@pytest.mark.parametrize("count", [0, 1, 2, 49, 50, 51, 120])
def test_each_row_is_there_as_it_was_given(count):
    with transaction.atomic():
        vendor_for(connection).insert_rows(TABLE, COLUMNS, rows(count))
    found = Country.objects.order_by("pk").values_list("pk", "code", "name")
    assert list(found) == [(n + 1, f"{n:x}", f"Country % {n}") for n in range(count)]


@pytest.mark.parametrize("guilty", [3, 118])
def test_one_that_is_refused_takes_all_with_it(guilty):
    given = rows(120)
    given[guilty] = (*given[guilty][:-2], None, "no code")
    with pytest.raises(IntegrityError), transaction.atomic():
        vendor_for(connection).insert_rows(TABLE, COLUMNS, given)
    assert not Country.objects.exists()


def test_there_are_fewer_statements_than_rows():
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        vendor_for(connection).insert_rows(TABLE, COLUMNS, rows(120))
    assert len(queries) <= 2
