"""Take the triggers off, so that the application works without the library."""

from __future__ import annotations

from typing import Any

from handleref_sync.capture import install
from handleref_sync.management.base import SyncCommand


class Command(SyncCommand):
    help = "Remove all capture triggers. Do this before the app leaves INSTALLED_APPS or its tables are dropped."
    any_node = True

    def run(self, using: str, options: dict[str, Any]) -> None:
        labels = install.uninstall(using)
        self.stdout.write(f"Triggers removed from {len(labels)} tables: {', '.join(labels) or 'none'}.")
        self.stdout.write("Writes are no longer captured. `migrate` puts the triggers back.")
