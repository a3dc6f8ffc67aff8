"""What travels: canonical msgpack, and its compression.

Canonical means that one value has one form in bytes on every node, so that two nodes may compare contents, or digests
of contents, without asking each other. Everything that comes in is bounded before memory is spent on it.
"""

from __future__ import annotations

import hashlib
import re
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgpack

from handleref_sync.core.uncollected import uncollected
from handleref_sync.exceptions import ConfigurationError, MalformedBody, TooLarge

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # before Python 3.14
    zstd = None
try:
    import zstandard  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # an optional extra
    zstandard = None

MAX_DEPTH = 32
"""Lists and maps inside each other."""
MAX_ITEMS = 1_000_000
"""Elements of one list, or entries of one map."""

MAX_VALUES = 4_000_000
"""Elements of all lists and maps of a message together. An empty list is one byte here, and 64 in memory."""

DECIMAL, MOMENT, NAIVE, DATE, TIME, DURATION, UUID, INTEGER = range(1, 9)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_FIRST_DAY = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000
_MICROSECOND = timedelta(microseconds=1)
_NAN = float("nan")
_PLAIN = frozenset({str, int, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, uuid.UUID})
_ARRIVING = frozenset({*_PLAIN, float})
_NUMBER = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?|NaN|-?Infinity")
_REFUSED = re.compile(r";\s*q=0(?:\.0*)?\s*$", re.IGNORECASE)  # but q=0.5 is only a lower wish
_MAX_DIGITS = 150_000  # more than PostgreSQL's numeric can hold
_INT64 = struct.Struct(">q")
_INT32 = struct.Struct(">i")


def pack(value: Any) -> bytes:
    """The canonical bytes of `value`. Raises ConfigurationError for a type that can't travel."""
    try:
        return msgpack.packb(_canonical(value, 0), default=_extension, unicode_errors="surrogatepass")  # type: ignore[no-any-return,unused-ignore]
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"A value cannot travel: {error}.",
            hint="Exclude its field from replication, or store it in another form.",
        ) from error


def travels(value: Any) -> bool:
    """Whether `value` comes out of `unpack` with the type that it has: `pack` takes a named tuple for a list."""
    if type(value) is list:
        return all(map(travels, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(travels, value.values()))
    return type(value) in _ARRIVING


@uncollected()
def unpack(data: bytes) -> Any:
    """The inverse of `pack`. Raises MalformedBody for whatever `pack` cannot have made."""
    with _reading():
        value = msgpack.unpackb(data, **_options(data))
    _check_shape(value)
    return value


@contextmanager
def _reading() -> Iterator[None]:
    """Raise MalformedBody or TooLarge for what msgpack, or one of the hooks that it calls, raises."""
    try:
        yield
    except (MalformedBody, TooLarge):
        raise
    except MemoryError as error:  # lists in each other, each with a header that promises a million elements
        raise _too_many() from error
    except (ValueError, TypeError, ArithmeticError, msgpack.UnpackException) as error:
        raise _malformed(f"is garbled or cut short ({error or type(error).__name__})") from error


def _options(data: bytes) -> dict[str, Any]:
    count = _counting()
    return {
        "ext_hook": _arriving,
        "list_hook": count,
        "object_hook": count,
        "unicode_errors": "surrogatepass",
        "strict_map_key": True,
        "max_array_len": min(len(data), MAX_ITEMS),
        "max_map_len": min(len(data), MAX_ITEMS),
    }


def _counting() -> Callable[[Any], Any]:
    """What msgpack calls with each list and map of one message, while they are made."""
    left = MAX_VALUES

    def count(made: Any) -> Any:
        nonlocal left
        left -= len(made) + 1
        if left < 0:
            raise _too_many()
        return made

    return count


def unpack_message(data: bytes) -> dict[str, Any]:
    """A message: `unpack`, where anything but a map is refused too."""
    message = unpack(data)
    if not isinstance(message, dict):
        raise _malformed("is not a map")
    return message


class Packed(NamedTuple):
    """A value of a message that is packed already, or not unpacked yet."""

    data: bytes


def pack_message(message: Mapping[str, Any]) -> bytes:
    """`pack`, where a value may be `Packed` before: thousands of rows, while the peer is at those that came first."""
    parts = [msgpack.Packer().pack_map_header(len(message))]
    for name in sorted(message):
        value = message[name]
        parts += pack(name), value.data if type(value) is Packed else pack(value)
    return b"".join(parts)


@uncollected()
def unpack_around(data: bytes, late: str) -> dict[str, Any]:
    """`unpack_message`, but what the message has under the name `late` is `Packed`.

    So who needs the rest at once does not wait until thousands of rows are made.
    """
    message: dict[str, Any] = {}
    with _reading():
        unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)), **_options(data))
        unpacker.feed(data)
        for _ in range(unpacker.read_map_header()):
            name = unpacker.unpack()
            if type(name) is not str:
                raise ValueError("a name that is no text")
            if name == late:
                start = unpacker.tell()
                unpacker.skip()
                message[name] = Packed(data[start : unpacker.tell()])
            else:
                message[name] = unpacker.unpack()
        if unpacker.tell() != len(data):
            raise ValueError("something behind its end")
    _check_shape([value for value in message.values() if type(value) is not Packed])
    return message


def encodings() -> tuple[str, ...]:
    """The compressions that this installation understands, best first."""
    return ("gzip",) if zstd is None and zstandard is None else ("zstd", "gzip")


def choose(accept: str) -> str:
    """The best of our compressions that an Accept-Encoding header names. gzip is always understood."""
    offered = {part.partition(";")[0].strip().lower() for part in accept.split(",") if not _REFUSED.search(part)}
    return next((name for name in encodings() if name in offered), "gzip")


def compress(data: bytes, encoding: str = "gzip") -> bytes:
    """`data` compressed; `encoding` is one of `encodings()`."""
    if encoding == "zstd" and zstd is not None:
        return zstd.compress(data, level=3)  # type: ignore[no-any-return,unused-ignore]
    if encoding == "zstd" and zstandard is not None:
        return zstandard.ZstdCompressor(level=3).compress(data)  # type: ignore[no-any-return,unused-ignore]
    if encoding != "gzip":
        raise _malformed(f"has the unknown encoding {encoding!r}")
    # Level 5: the size of level 6 in a good half of the time. 31: a gzip frame; it bears no time and no name.
    compressor = zlib.compressobj(5, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """The inverse of `compress`, which stops at `limit` bytes: a small body must not become a large memory."""
    try:
        if encoding == "gzip":
            return _gzip(data, limit)
        elif encoding == "zstd" and zstd is not None:
            stream = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})
            plain = stream.decompress(data, limit + 1)
        elif encoding == "zstd" and zstandard is not None:
            stream = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompressobj(read_across_frames=False)
            return _zstandard(data, stream, limit)
        else:
            raise _malformed(f"has the unknown encoding {encoding!r}")
    except Exception as error:
        if isinstance(error, (MalformedBody, TooLarge)):
            raise
        raise _malformed(f"cannot be decompressed ({error})") from error
    if len(plain) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise _malformed("is cut short or has something behind its end")
    return plain  # type: ignore[no-any-return,unused-ignore]


STEP = 16 * 1024 * 1024


def _gzip(data: bytes, limit: int) -> bytes:
    # In steps, so that a bomb is refused before what it came to is copied into one piece.
    stream = zlib.decompressobj(31)
    parts, size = [stream.decompress(data, min(STEP, limit + 1))], 0
    while True:
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if stream.eof or not (parts[-1] or stream.unconsumed_tail):
            break
        parts.append(stream.decompress(stream.unconsumed_tail, min(STEP, limit + 1)))
    if not stream.eof or stream.unused_data:
        raise _malformed("is cut short or has something behind its end")
    return b"".join(parts)


def _zstandard(data: bytes, stream: Any, limit: int) -> bytes:
    # This package's decompressobj knows no limit for its output, so it is fed a little at a time: 4 KiB of a frame
    # can become 128 MiB at the very most (RLE blocks of 128 KiB at 4 bytes each), not without end.
    parts, size = [], 0
    for start in range(0, len(data), 4096):
        if stream.eof:
            break
        part = stream.decompress(data[start : start + 4096])
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    if not stream.eof or stream.unused_data:
        raise _malformed("is cut short or has something behind its end")
    return b"".join(parts)


def _malformed(what: str) -> MalformedBody:
    return MalformedBody(
        f"The body {what}.",
        hint="Try again; if it stays, look at what stands between the two nodes, such as a proxy.",
    )


def _too_many() -> TooLarge:
    return TooLarge(f"The body has more than {MAX_VALUES} values.", hint="Lower PAGE_ROWS on the side that sends.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is over the limit of {limit} bytes after decompression.",
        hint="Lower PAGE_ROWS on the side that sends, or raise MAX_PLAIN on the side that receives.",
    )


def _canonical(value: Any, depth: int) -> Any:
    """`value` with maps sorted and floats normalised; lists without any such thing inside are left as they are."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, float):
        # SQLite does not keep the sign of a zero, nor does anything keep the payload of a NaN.
        return _NAN if value != value else float(value) or 0.0
    if kind is not list and not isinstance(value, (Mapping, list, tuple)):
        return value
    if depth >= MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    if kind is not list and isinstance(value, Mapping):
        # By the bytes of UTF-8, as any language can sort; code points sort alike.
        return {str(key): _canonical(value[key], depth + 1) for key in sorted(value)}
    for item in value:
        # A float that is neither zero nor NaN is its own form.
        if type(item) not in _PLAIN and not (type(item) is float and item and item == item):
            return [item if type(item) in _PLAIN else _canonical(item, depth + 1) for item in value]
    return value


def _check_shape(value: Any) -> None:
    """Refuse what is nested too deeply, and msgpack's own timestamp, which no hook is asked about."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(type(item) is not list and type(item) is not dict for item in level if type(item) not in _ARRIVING):
            raise _malformed("has a value of an unknown extension type")
        level = [
            inner
            for item in level
            if type(item) not in _ARRIVING
            for inner in (item.values() if type(item) is dict else item)
            if type(inner) not in _ARRIVING
        ]
        if not level:
            return
    raise _malformed(f"is nested deeper than {MAX_DEPTH}")


def _number(value: Decimal) -> str:
    """Plain notation, no trailing zeros, no sign on zero. By text: arithmetic would round to the context's digits."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, str):
        return "NaN" if value.is_nan() else str(value)
    if abs(exponent) + len(value.as_tuple().digits) > _MAX_DIGITS:
        raise ValueError("a decimal has too many digits")
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if not value else text


def _microseconds(value: timedelta) -> int:
    return value // _MICROSECOND


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _extension(value: Any) -> Any:
    # datetime before date: every datetime is a date.
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return msgpack.ExtType(NAIVE, _INT64.pack(_microseconds(value - _NAIVE_EPOCH)))
        return msgpack.ExtType(MOMENT, _INT64.pack(_microseconds(value - _EPOCH)))
    if isinstance(value, Decimal):
        return msgpack.ExtType(DECIMAL, _number(value).encode())
    if isinstance(value, date):
        return msgpack.ExtType(DATE, _INT32.pack(value.toordinal() - _FIRST_DAY))
    if isinstance(value, time) and value.tzinfo is None:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return msgpack.ExtType(TIME, _INT64.pack(seconds * 1_000_000 + value.microsecond))
    if isinstance(value, timedelta):
        return msgpack.ExtType(DURATION, _signed(_microseconds(value)))
    if isinstance(value, uuid.UUID):
        return msgpack.ExtType(UUID, value.bytes)
    if isinstance(value, int):  # only one that is too big for msgpack comes here
        return msgpack.ExtType(INTEGER, _signed(value))
    raise TypeError(f"{type(value).__name__} is not a type of the protocol")


def _arriving(code: int, data: bytes) -> Any:
    try:
        if code == MOMENT:
            return _EPOCH + timedelta(microseconds=_INT64.unpack(data)[0])
        if code == DECIMAL:
            text = data.decode("ascii") if len(data) <= _MAX_DIGITS + 2 else ""
            if not _NUMBER.fullmatch(text):
                raise ValueError("not a decimal number in canonical form")
            return Decimal(text)
        if code == NAIVE:
            return _NAIVE_EPOCH + timedelta(microseconds=_INT64.unpack(data)[0])
        if code == DATE:
            return date.fromordinal(_INT32.unpack(data)[0] + _FIRST_DAY)
        if code == TIME:
            microseconds = _INT64.unpack(data)[0]
            if not 0 <= microseconds < _DAY:
                raise ValueError("not a time of day")
            return (_NAIVE_EPOCH + timedelta(microseconds=microseconds)).time()
        if code == DURATION:
            if len(data) > 16:
                raise ValueError("too long")
            return timedelta(microseconds=int.from_bytes(data, "big", signed=True))
        if code == UUID:
            return uuid.UUID(bytes=data)
        if code == INTEGER:
            if len(data) > _MAX_DIGITS // 2:
                raise ValueError("too long")
            return int.from_bytes(data, "big", signed=True)
    except (ValueError, ArithmeticError, struct.error) as error:
        raise _malformed(f"has a bad value of extension type {code} ({error})") from error
    raise _malformed(f"has a value of the unknown extension type {code}")


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes of `value`, in hexadecimal."""
    return hashlib.sha256(pack(value)).hexdigest()
