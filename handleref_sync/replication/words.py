"""An entry of the conflict log, as `conflicts.describe` gives it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.apps import apps

from handleref_sync.models import HandleRefModel

BOOKKEEPING = {"updated", "version"}
"""Fields of a HandleRefModel that differ whenever anything does."""


def text(value: Any) -> str:
    """A value for a person: ISO 8601 where it is a time, in quotes where it is a text."""
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, UUID)) else repr(value)


def winner(entry: Mapping[str, Any]) -> str:
    """What is current now."""
    if entry["won"] is None:
        return "nothing is known here of what won"
    if entry["against_written"] is None:
        return "deleted here, and not stamped yet"
    return f"written on {entry['against_node']} at {entry['against_written']}: {entry['won']}"


def differences(entry: Mapping[str, Any]) -> list[str]:
    """A line for each field that differs; for each that was lost, where nothing is left of the record."""
    if entry["won"] != "content":
        return [f"{name}: {text(value)}" for name, value in sorted((entry["values"] or {}).items())]
    differs = entry["differs"]
    try:
        counted = issubclass(apps.get_model(entry["model"]), HandleRefModel)
    except LookupError:
        counted = False
    shown = set(differs) - (BOOKKEEPING if counted else set()) or set(differs)
    return [f"{name}: {text(differs[name][0])} lost against {text(differs[name][1])}" for name in sorted(shown)]
