"""What came of applying: counted for the person, and by record for whoever listens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from handleref_sync.registry import Replicated


@dataclass
class Outcome:
    """`applied` stamps changed, `conflicts` losers were logged, `parked` changes have to wait."""

    applied: int = 0
    conflicts: int = 0
    parked: int = 0
    keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Keys of the records whose rows changed, by model label."""
    files: dict[str, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))
    """Files that written rows name, by model label: (field, name of the file), in the order in which they came."""

    def names(self, model: Replicated, fields: Sequence[str], values: Sequence[Any] | None) -> None:
        """Note the files that a row names which was given `values`."""
        if model.files and values is not None:
            for name, value in zip(fields, values, strict=True):
                if value and name in model.files:
                    self.files[model.label][model.own_name(name), value] = None

    def add(self, other: Outcome) -> None:
        """Count `other` in."""
        self.applied += other.applied
        self.conflicts += other.conflicts
        self.parked += other.parked
        for label, keys in other.keys.items():
            self.keys[label] += keys
        for label, names in other.files.items():
            self.files[label] |= names
