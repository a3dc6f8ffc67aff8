"""Whatever bytes come, the decoder gives a value or refuses; what it gives can be packed again, and is bounded."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handleref_sync import wire
from handleref_sync.exceptions import MalformedBody, SyncError, TooLarge
from handleref_sync.replication.conflicts import lost_values, moment
from handleref_sync.replication.hello import Hello
from handleref_sync.replication.page import from_message
from handleref_sync.replication.values import Unfit
from handleref_sync.transport import auth, pairing
from tests.fuzz.mutation import NASTY, mutate

HELLO = {
    "node": "b",
    "protocols": [1],
    "seen": {"a": 3},
    "vector": {"a": 3, "b": 4},
    "models": ["testapp.tag"],
    "relay": True,
    "clock": 1_700_000_000_000,
    "cursor": [3, "abc"],
    "cursor_scope": "0123456789abcdef",
}
PAGE = {
    "models": [["testapp.tag", ["name"]], ["testapp.item", ["name", "status"]]],
    "nodes": ["b", "a"],
    "rows": [
        [0, "k", 0, 4, None, 5 << 16, ["t"]],
        [1, "b:1", 0, 3, [[0, 3], [1, 2]], 4 << 16, ["i", ""]],
        [1, "b:2", 0, 3, [[0, 3], [1, 2]], 4 << 16, None],
        [0, "l", 0, 5, [[0, 5]], 9 << 16, ["t"], [["x", 1, 0, 4, "old"]]],
    ],
    "cursor": [4, "token"],
    "head": True,
    "whole": True,
    "vector": {"a": 3, "b": 4},
    "behind": 0,
}
PAIR = {
    "invite": 1,
    "name": "b",
    "public_key": bytes(32),
    "url": "https://b.example/sync",
    "protocol": 1,
    "nonce": bytes(16),
    "proof": bytes(32),
}
leaves = (
    st.integers(0, len(NASTY) - 1).map(NASTY.__getitem__)
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
chance = st.randoms(use_true_random=False)


def or_refused(read, *kinds):
    """What `read` gives; None if it refuses in one of the ways that it may."""
    try:
        return read()
    except kinds as error:
        if isinstance(error, SyncError):
            assert error.hint and error.status in (400, 401, 413, 426)
            assert len(error.sentence()) < 1000
        return None


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    value = or_refused(lambda: wire.unpack(data), MalformedBody, TooLarge)
    packed = wire.pack(value)
    assert wire.pack(wire.unpack(packed)) == packed


@settings(deadline=None, max_examples=60)
@given(values, chance)
def test_bytes_that_were_good_once(value, random):
    data = bytearray(wire.pack({"value": value, "page": PAGE}))
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] = random.randrange(256)
    or_refused(lambda: wire.unpack(bytes(data)), MalformedBody, TooLarge)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd", "", "br", "x" * 100]), chance)
def test_any_compressed_bytes(data, encoding, random):
    or_refused(lambda: wire.decompress(data, encoding, 1000), MalformedBody, TooLarge)
    for name in wire.encodings():
        body = bytearray(wire.compress(data, name))
        assert wire.decompress(bytes(body), name, 1000) == data
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)
        plain = or_refused(
            lambda body=body, name=name: wire.decompress(bytes(body), name, 1000), MalformedBody, TooLarge
        )
        assert plain is None or len(plain) <= 1000


@settings(deadline=None, max_examples=120)
@given(chance, st.integers(1, 4))
def test_a_page(random, times):
    page = or_refused(lambda: from_message(mutate(random, PAGE, times), 10), MalformedBody, TooLarge)
    for change in page.changes if page else ():
        assert str(change.version.clock) == str(type(change.version.clock).parse(str(change.version.clock)))


@settings(deadline=None, max_examples=120)
@given(chance, st.integers(1, 4))
def test_a_hello(random, times):
    or_refused(lambda: Hello.from_message(mutate(random, HELLO, times)), SyncError)


@settings(deadline=None, max_examples=60)
@given(chance, st.integers(1, 3))
def test_a_claim(random, times):
    message = mutate(random, PAIR, times)
    body = wire.compress(wire.pack(message))
    head = auth.Request("POST", "http://node/sync/v1/pair/", {})
    assert or_refused(lambda: pairing.claim(head, body, message), SyncError) is None


@settings(deadline=None, max_examples=60)
@given(values | st.just({"fields": ["a"], "values": [1]}), chance)
def test_the_content_of_an_entry_of_the_conflict_log(value, random):
    for data in (
        wire.pack(value),
        wire.pack(value)[:-1],
        wire.pack(mutate(random, {"fields": ["a"], "values": [value]}, 1)),
    ):
        content = or_refused(lambda data=data: lost_values(data), Unfit)
        assert content is None or all(isinstance(name, str) for name in content)


@pytest.mark.parametrize("timestamp", [-(2**63), -1, 0, 2**63 - 1])
def test_the_time_of_an_entry(timestamp):
    assert moment(timestamp)


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000 + b"\x00",
        (b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000) * 6,
        b"\xdf\x00\x0f\x42\x40" * 40,
        b"\xdd\x00\x1e\x84\x80" + b"\xc0" * 2_000_000,
        b"\x91" * 5000,
        b"\x9f" * 5000,
        b"\xc9\x00\x01\x38\x80\x08" + b"\x7f" * 80_000,
        b"\xc7\x20\x06" + b"\x7f" * 32,
        b"\xc7\x03\x010e9",
    ],
)
def test_small_bytes_that_want_to_be_large_values(data):
    with pytest.raises((MalformedBody, TooLarge)):
        wire.unpack(data)


def test_values_are_counted_before_they_are_all_there():
    million = b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000
    with pytest.raises(TooLarge, match="more than 4000000 values"):
        wire.unpack(b"\x96" + million * 6)
    assert len(wire.unpack(b"\x91" + million)[0]) == 1_000_000


@pytest.mark.parametrize("encoding", wire.encodings())
def test_a_bomb_ends_at_the_limit(encoding):
    bomb = gzip.compress(bytes(10**7)) if encoding == "gzip" else wire.compress(bytes(10**7), encoding)
    with pytest.raises(TooLarge):
        wire.decompress(bomb, encoding, 10**6)
