"""What came of applying: counted for the person, and by record for whoever listens."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


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

    def add(self, other: Outcome) -> None:
        """Count `other` in."""
        self.applied += other.applied
        self.conflicts += other.conflicts
        self.parked += other.parked
        for label, keys in other.keys.items():
            self.keys[label] += keys
        for label, names in other.files.items():
            self.files[label] |= names
