"""The parts of a message, each of the right type, in range, and such that every database here can keep it.

The invariant: what has passed can be written to the ledger of any vendor and read back as it was. A node name with a
comma in it, say, would be part of a clock that nobody can parse again. Sizes are bounded before anything is built.
"""

from __future__ import annotations

import re
from typing import Any

from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import TooLarge
from handleref_sync.models.ledger import KEY_LENGTH

MAX_COUNTER = 2**63 - 1
MAX_NODES = 10_000
"""Entries of a version vector or a clock, and nodes and models that a page names."""
MAX_FIELDS = 5_000
"""Fields of a model: more than a table can have columns, on any database."""
NAME_LENGTH, LABEL_LENGTH, TOKEN_LENGTH = 100, 200, 40
NODE = re.compile(r"[a-z0-9][a-z0-9-]{0,59}(?:~[A-Za-z0-9_-]{1,39})?")
"""A node ID, or one and the token of its incarnation: `NAME_LENGTH` characters at most."""


def text(value: Any, most: int, what: str) -> str:
    """A text of at most `most` characters. Raises TypeError, ValueError or TooLarge; `what` is its name there."""
    if type(value) is not str:
        raise TypeError(f"{what} of type {type(value).__name__}")
    if len(value) > most:
        raise too_many(f"{what} of {len(value)} characters", most)
    return portable((value,), what)[0]


def portable(texts: tuple[str, ...], what: str) -> tuple[str, ...]:
    """`texts`, which every database can keep: no NUL, which PostgreSQL refuses, and no half of a character."""
    joined = "".join(texts)
    if "\x00" in joined:
        raise ValueError(f"{what} with a NUL in it")
    try:
        joined.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} that is not valid Unicode") from None
    return texts


def keys(values: tuple[Any, ...]) -> None:
    """Check the keys of many records at once."""
    if not set(map(type, values)) <= {str}:
        raise TypeError("a record without a key")
    longest = max(map(len, values), default=0)
    if longest > KEY_LENGTH:
        raise too_many(f"a key of {longest} characters", KEY_LENGTH)
    portable(values, "a key")


def unfit_key(key: str) -> str | None:
    """Why a record with this key can't travel; None if it can."""
    try:
        keys((key,))
    except TooLarge as error:
        return error.message
    except ValueError as error:
        return f"It has {error}."
    return None


def octets(value: Any, lengths: tuple[int, ...], what: str) -> bytes:
    """Bytes of one of these lengths."""
    if type(value) is not bytes or len(value) not in lengths:
        raise ValueError(f"{what} that is none")
    return value


def label(value: Any) -> str:
    return text(value, LABEL_LENGTH, "a model label")


def node(value: Any) -> str:
    """The name of an incarnation."""
    if type(value) is not str or not NODE.fullmatch(value):
        raise ValueError("a name that is not a node's")
    return value


def nodes(values: Any) -> list[str]:
    """The names of incarnations, in a list of bounded length."""
    return [node(value) for value in some(values, MAX_NODES, "nodes")]


def some(value: Any, most: int, what: str) -> list[Any]:
    """A list of at most `most` elements."""
    if type(value) is not list:
        raise TypeError(f"a list of {what} of type {type(value).__name__}")
    if len(value) > most:
        raise too_many(f"{len(value)} {what}", most)
    return value


def fields(value: Any) -> tuple[str, ...]:
    """The names of a model's fields, each once."""
    names = tuple(text(name, LABEL_LENGTH, "a field name") for name in some(value, MAX_FIELDS, "fields"))
    if len(set(names)) != len(names):
        raise ValueError("a field that is named twice")
    return names


def integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"a {type(value).__name__} in the place of an integer")
    return value


def counter(value: Any) -> int:
    """An integer that is not negative and that a database can hold."""
    if not 0 <= integer(value) <= MAX_COUNTER:
        raise ValueError("an integer that is out of range")
    return int(value)


def cursor(value: Any) -> tuple[int, str]:
    sequence, token = some(value, 2, "parts of a cursor")
    return counter(sequence), text(token, TOKEN_LENGTH, "a token")


def vector(value: Any) -> VersionVector:
    """A version vector."""
    if type(value) is not dict:
        raise TypeError(f"a version vector of type {type(value).__name__}")
    if len(value) > MAX_NODES:
        raise too_many(f"{len(value)} entries of a version vector", MAX_NODES)
    return VersionVector({node(name): counter(number) for name, number in value.items()})


def clock(value: Any, names: list[str]) -> VersionVector:
    """A clock, in which nodes are positions in `names`."""
    entries = some(value, MAX_NODES, "entries of a clock")
    return VersionVector({names[counter(position)]: counter(number) for position, number in entries})


def too_many(what: str, most: int) -> TooLarge:
    return TooLarge(
        f"The message has {what}, over the limit of {most}.",
        hint="Look at what the side that sends has there; no other node would take it either.",
    )
