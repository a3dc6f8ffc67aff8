"""A field is of another type, or narrower, at the node that gets its value."""

import dataclasses
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import models

from handleref_sync import registry
from handleref_sync.registry import Column
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.values import Unfit
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def content(field):
    field.set_attributes_from_name("name")
    field.model = Country
    described = registry.replicated("default")["testapp.country"]
    column = Column("name", "name", field)
    return Content(Ledger("default"), dataclasses.replace(described, columns=(column,)))


@pytest.mark.parametrize(
    ("field", "fits", "does_not"),
    [
        (models.IntegerField(), 5, "5"),
        (models.IntegerField(), 1, True),
        (models.CharField(max_length=5), "5", 5),
        (models.BooleanField(), True, 1),
        (models.FloatField(), 1.0, 1),
        (models.DecimalField(max_digits=6, decimal_places=2), Decimal("1.2"), Decimal("1.239")),
        (models.DecimalField(max_digits=6, decimal_places=2), Decimal("100"), "100"),
        (models.DateField(), date(2024, 2, 29), datetime(2024, 2, 29, tzinfo=UTC)),
        (models.DateTimeField(), datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29"),
    ],
)
def test_what_does_not_fit_is_refused_and_never_converted(field, fits, does_not):
    here = content(field)
    assert here.prepare(["name"], [fits], {})
    with pytest.raises(Unfit, match="name"):
        here.prepare(["name"], [does_not], {})
    (prepared, refused) = here.prepare_rows(["name"], [[fits], [does_not]], {})
    assert isinstance(refused, Unfit) and not isinstance(prepared, Unfit)
