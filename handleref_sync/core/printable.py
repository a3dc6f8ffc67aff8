"""Somebody else's words, made safe to show."""

from __future__ import annotations


def printable(value: object, length: int) -> str:
    """Text of somebody else's, such that it can neither flood a terminal, a log or a column, nor command them."""
    text = value[:length] if isinstance(value, str) else ""
    return "".join(character if character.isprintable() else " " for character in text).strip()
