"""Hybrid logical clock timestamps.

A timestamp is one signed 64-bit integer: 48 bits of milliseconds since 1970 (UTC), then 16 bits that count
events within a millisecond. Integers compare as the timestamps do, in Python and in SQL alike.

Source: S. Kulkarni, M. Demirbas et al., "Logical Physical Clocks and Consistent Snapshots in Globally
Distributed Databases" (2014). We compare timestamps only between versions of *one record*, so the clock is kept
per record and not per database: there is no hot row that every writer must touch.
"""

from __future__ import annotations

LOGICAL_BITS = 16
LOGICAL_MASK = (1 << LOGICAL_BITS) - 1
MAX_MILLISECONDS = (1 << 47) - 1
"""The year 6429. One bit less than 48, because SQL has no unsigned 64-bit integer."""
MAX_TIMESTAMP = (MAX_MILLISECONDS << LOGICAL_BITS) | LOGICAL_MASK


def pack(milliseconds: int, logical: int = 0) -> int:
    """The timestamp of `milliseconds` since 1970 and a logical count. Raises ValueError out of range."""
    if not 0 <= milliseconds <= MAX_MILLISECONDS:
        raise ValueError(f"milliseconds out of range: {milliseconds}")
    if not 0 <= logical <= LOGICAL_MASK:
        raise ValueError(f"logical count out of range: {logical}")
    return (milliseconds << LOGICAL_BITS) | logical


def milliseconds(timestamp: int) -> int:
    """The wall-clock part, in milliseconds since 1970."""
    return timestamp >> LOGICAL_BITS


def logical(timestamp: int) -> int:
    """The logical part, 0 to 65535."""
    return timestamp & LOGICAL_MASK


def tick(previous: int | None, now_ms: int) -> int:
    """The timestamp of a write at wall-clock `now_ms` of a record whose version had `previous`.

    Always greater than `previous`: a clock that was set back must not make a later write lose to an earlier one.
    The logical count overflows into the milliseconds, which is right: order is what counts.
    """
    now = max(now_ms, 0) << LOGICAL_BITS
    return now if previous is None else max(previous + 1, now)


def too_far_ahead(timestamp: int, now_ms: int, limit_ms: int) -> bool:
    """Whether `timestamp` lies more than `limit_ms` after `now_ms`. Such a one must never be ticked from."""
    return milliseconds(timestamp) > now_ms + limit_ms
