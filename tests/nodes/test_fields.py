"""Every type of field, from every database to every other: what went in comes out, or it is parked, never altered."""

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connections, transaction
from django.db.models.fields.files import FieldFile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from handleref_sync.checks import check_files
from handleref_sync.models import Parked, ReplicatedModel
from handleref_sync.signals import files_named
from tests.fieldapp.models import Everything, Kind, Point, PointField
from tests.nodes.network import ALIASES, Network, tick

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")
FIELDS = [f.name for f in Everything._meta.local_concrete_fields if f.name not in ("id", "loud", "label")]


def texts(size, **characters):
    return st.text(st.characters(codec="utf-8", exclude_characters="\0", **characters), max_size=size)


def integers(bits, *, positive=False):
    low = 0 if positive else -(2 ** (bits - 1))
    return st.integers(low, 2 ** (bits - 1) - 1) | st.sampled_from([low, 2 ** (bits - 1) - 1])


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts(8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(5), inner, max_size=3),
    max_leaves=8,
)
words = st.lists(st.text("abcé", min_size=1, max_size=5), max_size=3)
VALUES = {
    "label": st.text("abc", max_size=20),
    "char": texts(40),
    "text": texts(200),
    "slug": st.from_regex(r"[-\w]{0,50}", fullmatch=True, alphabet="abc-_09"),
    "email": st.emails().filter(lambda text: len(text) < 255),
    "url": st.sampled_from(["https://example.org/é?x=%20", ""]),
    "file": st.sampled_from(["plans/été.pdf", "a b.txt"]),
    "image": st.sampled_from(["photos/1.png", ""]),
    "path": st.sampled_from(["/tmp", ""]),
    "address": st.ip_addresses().map(str),
    "small": integers(16),
    "integer": integers(32),
    "big": integers(64),
    "positive_small": integers(16, positive=True),
    "positive": integers(32, positive=True),
    "positive_big": integers(64, positive=True),
    "kind": st.sampled_from(Kind.values),
    "boolean": st.booleans(),
    "real": st.floats(allow_nan=True),
    "decimal": st.decimals(-(10**20) + 1, 10**20 - 1, places=10)
    | st.sampled_from(list(map(Decimal, ("0", "-0.0", "1E+5")))),
    "date": st.dates(),
    "moment": st.datetimes(timezones=st.just(UTC)) | st.just(datetime(1850, 1, 1, 0, 0, 0, 1, UTC)),
    "time": st.times(),
    "duration": st.timedeltas(timedelta(days=-(10**5)), timedelta(days=10**5)),
    "uuid": st.uuids(),
    "binary": st.binary(max_size=50),
    "document": documents,
    "point": st.builds(Point, integers(32), integers(32)),
    "words": words,
    "by_another_name": texts(20),
    "left_to_the_database": integers(32),
}
# Null where a field may be.
ROWS = st.fixed_dictionaries(
    {}, optional={n: s if n in ("label", "left_to_the_database") else st.none() | s for n, s in VALUES.items()}
)


def row_of(using, pk):
    """All values of a row as the application reads them, in a form in which equal means the same in every respect."""
    row = Everything.objects.using(using).get(pk=pk)
    values = {name: exactly(row.serializable_value(name)) for name in FIELDS}
    return {**values, "document": repr(plain(row.document))}


def exactly(value):
    if isinstance(value, memoryview):
        value = bytes(value)
    if isinstance(value, FieldFile):
        value = value.name
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex() if value else "0.0"  # there is one zero on the wire
    if isinstance(value, Decimal):
        return str(value.normalize()) if value else "0"
    return type(value).__name__, repr(plain(value))


def plain(value):
    """A JSON document without what is no part of it: the order of keys, and how a great number is written."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return int(Decimal(repr(value))) if abs(value) >= 1e16 else value or 0.0
    return value


def write(using, values):
    """Write a row as the application would; None if this database refuses it."""
    try:
        with transaction.atomic(using=using):
            row = Everything.objects.using(using).create(**values)
            row.refresh_from_db()  # SQLite takes decimals that Django can't read back
            return row.pk
    except (
        DataError,
        IntegrityError,
        OperationalError,
        ProgrammingError,
        ArithmeticError,
        ValueError,
    ):  # NaN on SQLite, some UUIDs and infinities on MariaDB
        return None


def arrives_or_waits(here, there, pk, problem=""):
    """The row is at `there` just as it is at `here`; else it is not there at all, but parked."""
    if Everything.objects.using(there).filter(pk=pk).exists():
        assert row_of(there, pk) == row_of(here, pk), problem
    else:
        parked = Parked.objects.using(there).filter(model="fieldapp.everything", key=str(pk)).first()
        assert parked, (here, there, row_of(here, pk), [m.unreadable for m in ReplicatedModel.objects.using(here)])
        assert parked.reason == Parked.Reason.INVALID
        assert connections[here].vendor != connections[there].vendor, parked.detail


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(rows=st.lists(ROWS, min_size=10, max_size=20))
def test_what_went_in_comes_out(net, rows):
    written = []
    for number, values in enumerate(rows):
        home = (A, B, C)[number % 3]
        pk = write(home, values)
        if pk is not None:
            written.append((home, pk))
    for here, there in (("b", "a"), ("c", "a"), ("b", "a")):
        net.ok(here, there)
    for home, pk in written:
        for there in {A, B, C} - {home}:
            arrives_or_waits(home, there, pk)
    # And back: who changes another field of a row leaves all the others as they are, everywhere.
    before = [(home, pk, row_of(home, pk)) for home, pk in written]
    tick()
    for home, pk in written:
        for there in {A, B, C} - {home}:
            Everything.objects.using(there).filter(pk=pk).update(label="changed")
    for here, there in (("b", "a"), ("c", "a"), ("b", "a"), ("c", "a")):
        net.ok(here, there)
    for home, pk, values in before:
        assert row_of(home, pk) == values


@pytest.fixture
def net():
    return Network("abc", [Everything])


ODD = [
    ("char", ""),
    ("char", "\N{ROCKET}\N{COMBINING ACUTE ACCENT}"),
    ("text", " trailing "),
    ("text", "with\r\nlines\n"),
    ("text", "\U0010ffff"),
    ("big", 2**63 - 1),
    ("big", -(2**63)),
    ("positive_big", 2**63 - 1),
    ("real", 5e-324),
    ("real", 1.7976931348623157e308),
    ("real", 0.1 + 0.2),
    ("decimal", Decimal("12345.0000000001")),
    ("date", date(1, 1, 1)),
    ("date", date(9999, 12, 31)),
    ("moment", datetime(1899, 12, 31, 23, 59, 59, 999999, UTC)),
    ("moment", datetime(2024, 2, 29, 12, 0, 0, 1, UTC)),
    ("time", time(23, 59, 59, 999999)),
    ("duration", -timedelta(microseconds=1)),
    ("duration", timedelta(days=10**5, microseconds=1)),
    ("uuid", uuid.UUID(int=0)),
    ("binary", b""),
    ("binary", b"\x00\xff"),
    ("document", {"b": [1, 1.0, "é\N{ROCKET}", None, True], "a": {}}),
    ("document", []),
    ("address", "2001:db8::ff00:42:8329"),
    ("address", "::ffff:10.0.0.1"),
    ("point", Point(-1, 2)),
    ("words", []),
    ("words", ["a", "b"]),
]
"""Values that every database holds, and so they arrive on each of them from each of them."""


def test_the_odd_ones(net):
    made = [(using, write(using, {name: value})) for using in (A, B, C) for name, value in ODD]
    net.heal([("b", "a"), ("c", "a")])
    for home, pk in made:
        for there in {A, B, C} - {home}:
            assert row_of(there, pk) == row_of(home, pk)
    assert not Parked.objects.using(A).exists()


def test_what_the_database_makes_itself_is_made_at_each(net):
    row = Everything.objects.using(A).create(label="quiet")
    net.heal([("b", "a")])
    there = Everything.objects.using(B).get(pk=row.pk)
    assert there.loud == "QUIET" and there.left_to_the_database == 7
    there.left_to_the_database = 8
    there.save()
    net.heal([("b", "a")])
    row.refresh_from_db()
    assert row.left_to_the_database == 8


def test_null_stays_null_and_json_null_stays_that(net):
    nothing = Everything.objects.using(A).create()
    document = Everything.objects.using(A).create(document=[None])
    net.heal([("b", "a")])
    assert row_of(B, nothing.pk) == row_of(A, nothing.pk)
    assert (
        Everything.objects.using(B).values_list("char", "real", "document", "point").get(pk=nothing.pk) == (None,) * 4
    )
    assert Everything.objects.using(B).get(pk=document.pk).document == [None]


def test_nul_is_parked_where_a_text_cannot_have_it(net):
    pk = write(A, {"text": "a\0b"})
    if pk is None:  # PostgreSQL refuses it at once
        assert connections[A].vendor == "postgresql"
        return
    net.ok("b", "a")
    net.ok("c", "a")
    for there in (B, C):
        if connections[there].vendor == "postgresql":
            assert not Everything.objects.using(there).exists() and Parked.objects.using(there).count() == 1
        else:
            assert row_of(there, pk) == row_of(A, pk)


def test_who_moves_files_learns_which(net):
    heard = []

    def listen(sender, names, node, using, **kwargs):
        heard.append((sender, names, node, using))

    assert [message.id for message in check_files(Everything)] == ["handleref_sync.W004"]
    files_named.connect(listen, sender=Everything)
    try:
        assert check_files(Everything) == []
        Everything.objects.using(A).create(file="plans/1.pdf", image="photos/1.png")
        Everything.objects.using(A).create(file="plans/1.pdf")
        net.ok("b", "a")
        net.ok("b", "a")
    finally:
        files_named.disconnect(listen, sender=Everything)
    assert heard == [(Everything, [("file", "plans/1.pdf"), ("image", "photos/1.png")], "a", B)]


def test_a_value_that_its_field_cannot_prepare_does_not_stop_the_rest(net, monkeypatch):
    bad = Everything.objects.using(A).create(point=Point(1, 2))
    good = Everything.objects.using(A).create(label="good", point=Point(3, 4))

    def prepared(self, value):
        return [object()] if value.x == 1 else f"{value.x},{value.y}"  # no type of the protocol

    monkeypatch.setattr(PointField, "get_prep_value", prepared)
    monkeypatch.setattr(PointField, "value_to_string", lambda self, obj: self.unheard_of)
    net.ok("b", "a")
    assert [row.pk for row in Everything.objects.using(B).all()] == [good.pk]
    (noted,) = [m.unreadable for m in ReplicatedModel.objects.using(A).all() if m.unreadable]
    assert list(noted) == [str(Everything._meta.pk.get_db_prep_value(bad.pk, connections[A]))]


@pytest.mark.skipif("len({c.vendor for c in connections.all()}) > 1")
def test_times_without_a_zone_stay_as_they_stand(net, settings):
    settings.USE_TZ = False
    moment = datetime(1899, 12, 31, 23, 59, 59, 999999)
    row = Everything.objects.using(A).create(moment=moment, time=time(0, 0, 0, 1))
    net.heal([("b", "a")])
    there = Everything.objects.using(B).get(pk=row.pk)
    assert there.moment == moment and there.moment.tzinfo is None and there.time == time(0, 0, 0, 1)
