"""What a database would change without a word is not written to it."""

import dataclasses
from decimal import Decimal

import pytest
from django.db import connections, models

from handleref_sync.capture.base import vendor_for
from handleref_sync.registry import Column
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.values import Unfit
from tests.nodes.network import ALIASES
from tests.testapp.models import Country

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), False),
        (float("inf"), True),
        (0.1 + 0.2, True),
        (Decimal("99999999999999.99"), False),
        (Decimal("9999999999999.99"), True),
        (Decimal("1234567890000000000.00"), True),
        (Decimal("NaN"), False),
        ("text", True),
    ],
)
def test_what_the_database_keeps(db, value, kept):
    kinds = {"sqlite": kept, "postgresql": True, "mysql": isinstance(value, str) or Decimal(value).is_finite()}
    assert vendor_for(connections[A]).keeps(value) is kinds[connections[A].vendor]


@pytest.mark.skipif("connections['default'].vendor != 'sqlite'")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        (models.FloatField(null=True), float("nan")),
        (models.DecimalField(max_digits=22, decimal_places=2), Decimal("99999999999999.99")),
    ],
)
def test_a_change_with_such_a_value_does_not_fit(node, field, value):
    ledger = Ledger(A)
    field.set_attributes_from_name("name")
    field.model = Country
    model = ledger.models["testapp.country"]
    content = Content(ledger, dataclasses.replace(model, columns=(Column("name", "name", field),)))
    good = 1.5 if isinstance(value, float) else Decimal("1.50")
    fits, unfit = content.prepare_rows(["name"], [[good], [value]], {})
    assert isinstance(unfit, Unfit) and not isinstance(fits, Unfit)
