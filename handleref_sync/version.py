"""Versions of objects, the difference between two, and going back to one."""

from handleref_sync.versioning.history import Diff, ReversionVersion, UnreadableVersion, Version
from handleref_sync.versioning.reverting import ReversionReverter, Reverter

__all__ = ["Diff", "ReversionReverter", "ReversionVersion", "Reverter", "UnreadableVersion", "Version"]
