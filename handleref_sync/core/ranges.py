"""Finding where two sets differ, by digests over ranges: range-based set reconciliation.

After A. Meyer, "Range-Based Set Reconciliation" (2023). Both sides order their items by position and give, for a
range of positions, the number of items in it and the sum of their digests. Where the two agree the range is done
with; where not, it is split, until few enough items are left to name them one by one. So a few differences among many
items cost a few messages: as many as a range can be split, whatever the number of differences.

The position of an item is the hash of its key, and a range is all positions that begin with the same hexadecimal
digits. That has three reasons. Every database sorts texts in its own way, and numbers have no order that two nodes
share. Hashes lie evenly, so a range holds about as many items as any other of its size, whatever the keys look like.
And the bounds are known before the first item is seen: one pass over unsorted items sums up all ranges at once, in
memory that does not grow with them.

The sum is by addition, modulo 2^64 in each half of a digest. It can be built in any order and from parts. What it has
to withstand is chance: that two different sets have the same sum has a probability of 2^-128. Somebody who chooses
items could make sums that agree. But who may do that is a paired node, which could just as well answer with our own
sums; all it would gain is that its own faults go unnoticed. An exclusive or would do less: an item that occurs twice
would be one that does not occur.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

DIGITS = "0123456789abcdef"
BRANCHES = len(DIGITS)
DEPTH = 4
"""The most digits of a range: there are at most 65,536 of the smallest ones."""
FEW = 32
"""A range with no more items than this on either side is named item by item."""
DIGEST = 16
"""Bytes of an item's digest."""
_HALF = 2**64 - 1


def position(key: str) -> int:
    """Where the item with this key stands: the first 64 bits of a hash, as far as ranges go."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def within(position: int, prefixes: Mapping[int, set[int]]) -> bool:
    """Whether a position is in one of these ranges; see `numbered`."""
    return any(position >> (64 - 4 * length) in numbers for length, numbers in prefixes.items())


def numbered(prefixes: Sequence[str]) -> dict[int, set[int]]:
    """Ranges by the number of their digits, as numbers."""
    found: dict[int, set[int]] = {}
    for prefix in prefixes:
        found.setdefault(len(prefix), set()).add(int(prefix, BRANCHES) if prefix else 0)
    return found


def depth_for(count: int) -> int:
    """How finely to sum up this many items: few in each of the smallest ranges, and never more than DEPTH digits."""
    return next((depth for depth in range(DEPTH) if BRANCHES**depth * BRANCHES >= count), DEPTH)


class Summary(NamedTuple):
    """A range of one side: how many items it has, and the sum of their digests, in two halves."""

    items: int
    high: int
    low: int

    def digest(self) -> bytes:
        """The sum as bytes."""
        return self.high.to_bytes(8, "big") + self.low.to_bytes(8, "big")

    @classmethod
    def of(cls, items: int, digest: bytes) -> Summary:
        """The inverse of the two parts. Raises ValueError where they are none."""
        if len(digest) != DIGEST or items < 0:
            raise ValueError("not the sum of a range")
        return cls(items, int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big"))


class Summaries:
    """One side's items, summed up in ranges of `depth` digits: 24 bytes for each, however many items there are."""

    def __init__(self, depth: int, columns: Sequence[bytes] = ()) -> None:
        self.depth = depth
        size = BRANCHES**depth
        self._counts, self._highs, self._lows = (array("Q", data) for data in columns or [bytes(8 * size)] * 3)
        if {len(self._counts), len(self._highs), len(self._lows)} != {size}:
            raise ValueError("not the ranges of this depth")
        self._shift = 64 - 4 * depth

    def add(self, position: int, digest: bytes) -> None:
        """Count one item in."""
        number = position >> self._shift
        self._counts[number] += 1
        self._highs[number] = (self._highs[number] + int.from_bytes(digest[:8], "big")) & _HALF
        self._lows[number] = (self._lows[number] + int.from_bytes(digest[8:], "big")) & _HALF

    def of(self, prefix: str) -> Summary:
        """The sum of one range, which is not finer than the depth."""
        size = BRANCHES ** (self.depth - len(prefix))
        first = (int(prefix, BRANCHES) if prefix else 0) * size
        part = slice(first, first + size)
        return Summary(sum(self._counts[part]), sum(self._highs[part]) & _HALF, sum(self._lows[part]) & _HALF)

    def parts(self, prefix: str) -> list[Summary]:
        """The sums of the ranges into which one is split."""
        return [self.of(prefix + digit) for digit in DIGITS]

    def columns(self) -> list[bytes]:
        """To be kept; this machine only can read it."""
        return [column.tobytes() for column in (self._counts, self._highs, self._lows)]


class Descent:
    """The side that asks: which ranges to have split next, and which to have named item by item."""

    def __init__(self, mine: Summaries, theirs: Summary, depth: int) -> None:
        self._mine = mine
        self._depth = min(mine.depth, depth)
        self.split: list[str] = []
        """Ranges that differ and have many items."""
        self.listed: list[str] = []
        """Ranges that differ and have few, or are the smallest."""
        self._judge("", theirs)

    def take(self, most: int) -> list[str]:
        """The next ranges to ask about; each is to be answered."""
        taken, self.split = self.split[:most], self.split[most:]
        return sorted(taken)

    def answer(self, prefix: str, parts: Sequence[Summary]) -> None:
        """What the other side has in the parts of a range."""
        for digit, theirs in zip(DIGITS, parts, strict=True):
            self._judge(prefix + digit, theirs)

    def _judge(self, prefix: str, theirs: Summary) -> None:
        mine = self._mine.of(prefix)
        if mine == theirs:
            return
        few = max(mine.items, theirs.items) <= FEW
        (self.listed if few or len(prefix) == self._depth else self.split).append(prefix)


def differing(mine: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Keys of the items that one side lacks or has otherwise."""
    return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))


def ranges_of(value: Any, longest: int = DEPTH) -> list[str]:
    """Ranges from a message. Raises TypeError or ValueError unless they are in order and have nothing in common."""
    if not isinstance(value, list):
        raise TypeError("ranges that are no list")
    before: str | None = None
    for prefix in value:
        if not isinstance(prefix, str):
            raise TypeError(f"{prefix!r} is no text")
        if len(prefix) > longest or not set(prefix) <= set(DIGITS):
            raise ValueError(f"{prefix[:20]!r} is no range")
        if before is not None and (prefix <= before or prefix.startswith(before)):
            raise ValueError("ranges that are not in order, or overlap")
        before = prefix
    return value
