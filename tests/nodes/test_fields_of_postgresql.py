"""The types that only PostgreSQL has, between nodes on it; and a table in a schema of its own."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import connections

from handleref_sync.capture import install
from handleref_sync.models import Parked
from tests.fieldapp.models import Point
from tests.nodes.network import ALIASES, Network

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif("connections['default'].vendor != 'postgresql' or connections['third'].vendor == 'sqlite'"),
]
A, B, C = (ALIASES[name] for name in "abc")
NOON = datetime(2024, 2, 29, 12, 0, 0, 1, UTC)


def values():
    from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange

    return [
        ("numbers", [1, None, -(2**31)]),
        ("numbers", []),
        ("texts", ["", 'a "quoted" {text}', "é\N{ROCKET}", "NULL"]),
        ("moments", [NOON, datetime(1, 1, 1, tzinfo=UTC)]),
        ("decimals", [Decimal("1.50000"), Decimal("123456789012345.12345")]),
        ("points", [Point(1, -2), Point(0, 0)]),
        ("table", [[0.1 + 0.2, 5e-324], [1e308, -1.5]]),
        ("pairs", {"b": "1", "a": None, 'odd "key"': "=>"}),
        ("pairs", {}),
        ("integers", NumericRange(1, 5)),
        ("integers", NumericRange(None, 5)),
        ("integers", NumericRange(empty=True)),
        ("big", NumericRange(-(2**63), None)),
        ("exact", NumericRange(Decimal("0.1"), Decimal("99999999999999999999.5"), "(]")),
        ("days", DateRange(date(1899, 12, 31), date(2024, 2, 29))),
        ("period", DateTimeTZRange(NOON, None, "[]")),
        ("words", "'a':1 'quoted''word':2"),
    ]


@pytest.fixture
def net():
    from tests.postgresapp.models import Elsewhere, Rich

    yield Network("abc", [Rich, Elsewhere])
    for using in (A, B, C):
        Elsewhere.objects.using(using).all().delete()  # what empties the tables between tests does not see this one


def test_what_went_in_comes_out(net):
    from tests.postgresapp.models import Rich

    made = [(Rich.objects.using(A).create(**{name: value}).pk, name, value) for name, value in values()]
    net.heal([("b", "a"), ("c", "b")])
    assert not Parked.objects.using(B).exists()
    Rich.objects.using(C).update(label="changed")  # and back
    kept = [getattr(Rich.objects.using(A).get(pk=pk), name) for pk, name, _ in made]
    net.heal([("c", "b"), ("b", "a")])
    for (pk, name, value), before in zip(made, kept, strict=True):
        assert before == value or name in ("period", "words")
        for using in (A, B, C):
            row = Rich.objects.using(using).get(pk=pk)
            assert getattr(row, name) == before and row.label == "changed"


def test_a_change_from_each_value_to_null_and_back_is_a_write(net):
    from tests.postgresapp.models import Rich

    made = [(Rich.objects.using(A).create(label="x").pk, name, value) for name, value in values()]
    net.ok("b", "a")
    for full in (True, False, True):
        for pk, name, value in made:
            Rich.objects.using(A).filter(pk=pk).update(**{name: value if full else None})
        assert net.ok("b", "a").pulled == len(made)
        for pk, name, _ in made:
            assert getattr(Rich.objects.using(B).get(pk=pk), name) == getattr(Rich.objects.using(A).get(pk=pk), name)


def test_a_table_in_another_schema(net):
    from tests.postgresapp.models import Elsewhere

    assert install.missing(A) == []
    row = Elsewhere.objects.using(A).create(name="one")
    Elsewhere.objects.using(A).bulk_create([Elsewhere(name="two")])
    net.ok("b", "a")
    assert sorted(Elsewhere.objects.using(B).values_list("name", flat=True)) == ["one", "two"]
    with connections[B].cursor() as cursor:
        cursor.execute("UPDATE elsewhere.thing SET name = 'by hand' WHERE name = 'one'")
        cursor.execute("DELETE FROM elsewhere.thing WHERE name = 'two'")
    net.ok("b", "a")
    assert list(Elsewhere.objects.using(A).values_list("pk", "name")) == [(row.pk, "by hand")]
    Elsewhere.objects.using(C).create(name="three")
    net.heal([("c", "b"), ("b", "a")])
    assert Elsewhere.objects.using(A).count() == 2
    assert install.uninstall(A) and "postgresapp.elsewhere" in install.missing(A)
    Elsewhere.objects.using(A).create(name="four")
    install.install(A)
    assert install.missing(A) == []
