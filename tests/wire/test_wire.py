"""The wire format: what goes in comes out, in one form only, and garbage is refused in one way only."""

import contextlib
import gzip
import math
import uuid
import zlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import msgpack
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from handleref_sync import wire
from handleref_sync.exceptions import ConfigurationError, MalformedBody, TooLarge

text = st.text(st.characters(), max_size=20)  # lone surrogates included: databases hold them
moments = st.datetimes(timezones=st.just(UTC))
numbers = st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(allow_nan=False, places=6)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=20)
    | numbers
    | moments
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5), max_leaves=20
)


def typed(value):
    """The value with its types, for 1 == True == 1.0 == Decimal(1)."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return type(value), value, getattr(value, "tzinfo", None)


class TestRoundTrip:
    @given(values)
    @settings(max_examples=400)
    @example(-0.0)
    @example([Decimal("-0"), Decimal("1E+5"), Decimal("Infinity"), Decimal("-Infinity")])
    @example([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    @example([datetime.min, datetime.max, date.min, date.max, time.max, timedelta.min, timedelta.max])
    @example([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    @example("\ud800 \x00 \U0010ffff")
    @example([math.inf, -math.inf, 5e-324, 1.7976931348623157e308])
    @example({"": {}, "a": [], "b": [[[]]]})
    def test_what_goes_in_comes_out(self, value):
        packed = wire.pack(value)
        arrived = wire.unpack(packed)
        assert typed(arrived) == typed(value)
        assert wire.pack(arrived) == packed

    def test_nan(self):
        assert math.isnan(wire.unpack(wire.pack(math.nan)))
        assert wire.unpack(wire.pack(Decimal("NaN"))).is_nan()

    @given(st.decimals(allow_nan=False, allow_infinity=False))
    def test_no_digit_of_a_decimal_is_lost(self, value):
        assert wire.unpack(wire.pack(value)) == value

    def test_a_decimal_of_a_thousand_digits(self):
        value = Decimal("1." + "123456789" * 111 + "5")
        assert str(wire.unpack(wire.pack(value))) == str(value)

    @given(moments, st.integers(-14 * 60, 14 * 60))
    def test_a_moment_keeps_its_microseconds_and_loses_its_zone(self, moment, offset):
        try:
            there = moment.astimezone(timezone(timedelta(minutes=offset)))
        except OverflowError:
            assume(False)
        arrived = wire.unpack(wire.pack(there))
        assert (arrived, arrived.tzinfo) == (moment, UTC)


class TestCanonical:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (Decimal("1.50"), Decimal("1.5")),
            (Decimal("100"), Decimal("1E+2")),
            (Decimal("-0.00"), Decimal("0")),
            (Decimal("0E+3"), Decimal("0")),
            (Decimal("NaN"), Decimal("sNaN123")),
            (-0.0, 0.0),
            (math.nan, -math.nan),
            (math.nan, float("inf") - float("inf")),
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
            ({"é": 1, "z": 2, "\U00010000": 3, "\uffff": 4}, {"\uffff": 4, "\U00010000": 3, "z": 2, "é": 1}),
            ((1, 2), [1, 2]),
            ([(-0.0,)], [[0.0]]),
            (
                datetime(2024, 1, 1, 12, tzinfo=UTC),
                datetime(2024, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            ),
            (timedelta(hours=25), timedelta(days=1, seconds=3600)),
            (uuid.UUID(int=7), uuid.UUID("00000000-0000-0000-0000-000000000007")),
        ],
    )
    def test_equal_values_are_equal_bytes(self, one, other):
        assert wire.pack(one) == wire.pack(other)
        assert wire.pack({"in": [one]}) == wire.pack({"in": [other]})
        assert wire.digest(one) == wire.digest(other)

    @given(st.dictionaries(text, scalars, max_size=8), st.randoms(use_true_random=False))
    def test_the_order_of_a_map_does_not_matter(self, value, random):
        items = list(value.items())
        random.shuffle(items)
        assert wire.pack(dict(items)) == wire.pack(value)

    @given(st.dictionaries(text, st.none(), max_size=8))
    def test_keys_stand_in_the_order_of_their_utf8(self, value):
        keys = list(wire.unpack(wire.pack(value)))
        assert keys == sorted(keys, key=lambda key: key.encode("utf-8", "surrogatepass"))

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=3), st.integers(0, 20))
    def test_zeros_behind_a_decimal_do_not_matter(self, value, zeros):
        sign, digits, exponent = value.as_tuple()
        assert wire.pack(Decimal((sign, digits + (0,) * zeros, exponent - zeros))) == wire.pack(value)

    @given(scalars, scalars)
    def test_values_of_different_types_are_different_bytes(self, one, other):
        same = type(one) is type(other) and one == other
        assert (wire.pack(one) == wire.pack(other)) == (same and typed(one) == typed(other))

    @pytest.mark.parametrize("value", [object(), {1}, 1j, time(1, tzinfo=UTC), Decimal("1E+200000"), range(3)])
    def test_what_cannot_travel_says_so(self, value):
        with pytest.raises(ConfigurationError, match="cannot travel"):
            wire.pack({"x": [value]})


class TestGarbage:
    @given(st.binary(max_size=200))
    @settings(max_examples=1000)
    @example(b"")
    @example(b"\xc1")
    @example(b"\xdd\xff\xff\xff\xff")
    @example(b"\xdf\xff\xff\xff\xff")
    @example(b"\xc6\xff\xff\xff\xff")
    @example(b"\xc9\xff\xff\xff\xff\x01")
    @example(b"\x81\x01\x02")
    @example(b"\x81\x90\x02")
    @example(b"\xa1\xff")
    def test_random_bytes_raise_nothing_but_malformed(self, data):
        try:
            value = wire.unpack(data)
        except MalformedBody as error:
            assert error.reason == "malformed"
        else:
            wire.pack(value)

    @given(st.integers(-128, 127), st.binary(max_size=24))
    @settings(max_examples=500)
    def test_any_extension_raises_nothing_but_malformed(self, code, data):
        packed = msgpack.packb(msgpack.ExtType(code, data)) if code >= 0 else b"\xc7" + bytes([len(data), 256 + code])
        try:
            value = wire.unpack([packed, packed + data][code < 0])
        except MalformedBody:
            return
        assert code in range(1, 9)
        wire.pack(value)

    @given(values, st.data())
    def test_cut_short(self, value, data):
        packed = wire.pack(value)
        with pytest.raises(MalformedBody):
            wire.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])

    @given(values, st.binary(min_size=1, max_size=10))
    def test_something_behind_the_end(self, value, rest):
        with pytest.raises(MalformedBody):
            wire.unpack(wire.pack(value) + rest)

    @given(values, st.data())
    def test_a_changed_byte_raises_nothing_but_malformed(self, value, data):
        packed = bytearray(wire.pack(value))
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(MalformedBody):
            wire.pack(wire.unpack(bytes(packed)))

    @pytest.mark.parametrize("code", [0, 9, 42, 127])
    def test_unknown_extension(self, code):
        with pytest.raises(MalformedBody, match=f"unknown extension type {code}"):
            wire.unpack(msgpack.packb({"a": [msgpack.ExtType(code, b"x")]}))

    @pytest.mark.parametrize("place", [lambda x: x, lambda x: [x], lambda x: {"a": {"b": [1, x]}}])
    def test_the_timestamp_of_msgpack(self, place):
        with pytest.raises(MalformedBody, match="extension"):
            wire.unpack(msgpack.packb(place(msgpack.Timestamp(1, 2))))

    @pytest.mark.parametrize(
        "number", ["1.50", "-0", "+1", " 1", "1e5", "01", ".5", "1.", "sNaN", "inf", "٣", "1\n", ""]
    )
    def test_a_decimal_in_another_form(self, number):
        with pytest.raises(MalformedBody):
            wire.unpack(msgpack.packb(msgpack.ExtType(wire.DECIMAL, number.encode())))

    def test_depth(self):
        def nested(depth):
            value = []
            for _ in range(depth - 1):
                value = [value]
            return value

        assert wire.unpack(wire.pack(nested(wire.MAX_DEPTH))) == nested(wire.MAX_DEPTH)
        with pytest.raises(ConfigurationError, match="nested deeper"):
            wire.pack(nested(wire.MAX_DEPTH + 1))
        for prefix in (b"\x91", b"\x81\xa1a"):
            for depth in (wire.MAX_DEPTH + 1, 500, 5000, 200_000):
                with pytest.raises(MalformedBody):
                    wire.unpack(prefix * depth + b"\x90")

    def test_a_list_that_claims_to_be_long(self):
        with pytest.raises(MalformedBody):
            wire.unpack(b"\xdd\x7f\xff\xff\xff" + b"\xc0" * 100)

    @pytest.mark.parametrize("value", [[], 1, None, "text", b"{}"])
    def test_a_message_is_a_map(self, value):
        with pytest.raises(MalformedBody, match="not a map"):
            wire.unpack_message(wire.pack(value))


def around(data):
    """The message by way of `unpack_around`, with its rows unpacked."""
    message = wire.unpack_around(data, "rows")
    if "rows" in message:
        message["rows"] = wire.unpack(message["rows"].data)
    return message


class TestAroundTheRows:
    @given(st.dictionaries(st.sampled_from(["cursor", "rows", "vector"]) | text, values, max_size=5))
    def test_what_is_packed_before_is_in_its_place(self, message):
        parts = {name: wire.Packed(wire.pack(value)) if name == "rows" else value for name, value in message.items()}
        assert wire.pack_message(parts) == wire.pack_message(message) == wire.pack(message)

    @given(st.dictionaries(st.sampled_from(["cursor", "rows", "vector"]) | text, values, max_size=5))
    def test_it_is_the_same_message(self, message):
        data = wire.pack(message)
        assert typed(around(data)) == typed(wire.unpack_message(data))

    def test_the_rows_stay_packed(self):
        message = wire.unpack_around(wire.pack({"rows": [[1], [2]], "head": True}), "rows")
        assert message == {"head": True, "rows": wire.Packed(wire.pack([[1], [2]]))}

    @given(st.dictionaries(st.sampled_from(["cursor", "rows"]), values, max_size=2), st.data())
    def test_what_is_refused_whole_is_refused_so_too(self, message, data):
        packed = bytearray(wire.pack(message))
        place = data.draw(st.integers(0, len(packed)))
        packed[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
        found = []
        for read in (wire.unpack_message, around):
            try:
                found.append(typed(read(bytes(packed))))
            except MalformedBody as error:
                found.append(type(error))
        assert found[0] == found[1]

    @pytest.mark.parametrize("data", [b"", b"\x81", b"\x81\xa4rows", b"\x90", b"\x81\x01\x02", b"\x80\x80"])
    def test_what_is_no_message(self, data):
        with pytest.raises(MalformedBody):
            wire.unpack_around(data, "rows")


@pytest.mark.parametrize("encoding", wire.encodings())
class TestCompression:
    @given(st.binary(max_size=3000))
    def test_round_trip(self, encoding, data):
        packed = wire.compress(data, encoding)
        assert wire.decompress(packed, encoding, len(data)) == data
        assert wire.compress(data, encoding) == packed

    @pytest.mark.parametrize("size", [1001, 5_000_000])
    def test_the_limit_holds(self, encoding, size):
        packed = wire.compress(b"\x00" * size, encoding)
        with pytest.raises(TooLarge, match="over the limit of 1000 bytes"):
            wire.decompress(packed, encoding, 1000)
        assert len(wire.decompress(packed, encoding, size)) == size

    @given(st.binary(max_size=300))
    def test_random_bytes(self, encoding, data):
        with pytest.raises((MalformedBody, TooLarge)):
            wire.decompress(data, encoding, 1000)

    @given(st.binary(max_size=300), st.data())
    def test_cut_short(self, encoding, data, more):
        packed = wire.compress(data, encoding)
        with pytest.raises(MalformedBody):
            wire.decompress(packed[: more.draw(st.integers(0, len(packed) - 1))], encoding, 1000)

    @given(st.binary(max_size=300), st.binary(min_size=1, max_size=30))
    def test_something_behind_the_end(self, encoding, data, rest):
        with pytest.raises(MalformedBody):
            wire.decompress(wire.compress(data, encoding) + rest, encoding, 1000)

    def test_a_second_frame(self, encoding):
        with pytest.raises(MalformedBody):
            wire.decompress(wire.compress(b"a", encoding) + wire.compress(b"b", encoding), encoding, 1000)


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["", "br", "deflate", "identity", "GZIP", "gzip, gzip"])
    def test_an_unknown_encoding(self, encoding):
        with pytest.raises(MalformedBody, match="unknown encoding"):
            wire.decompress(b"x", encoding, 10)

    def test_deflate_is_not_gzip(self):
        with pytest.raises(MalformedBody):
            wire.decompress(zlib.compress(b"x"), "gzip", 10)

    def test_a_gzip_of_another_maker_is_read(self):
        assert wire.decompress(gzip.compress(b"x" * 100), "gzip", 100) == b"x" * 100

    def test_the_choice(self):
        best = wire.encodings()[0]
        assert wire.choose("") == wire.choose("br") == wire.choose("*") == wire.choose("gzip;q=1.0, br") == "gzip"
        assert wire.choose(", ".join(wire.encodings())) == wire.choose("GZIP, Zstd;q=0.5") == best
        assert wire.choose("zstd;q=0, gzip") == wire.choose("zstd;q=0") == "gzip"
