"""A new key for this node."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication import keys
from handleref_sync.replication.ledger import local_node


class Command(SyncCommand):
    help = "Make a new key for this node. Peers learn it when they are met; the old one goes when all know it."

    def arguments(self, parser: ArgumentParser) -> None:
        """None of its own."""

    def run(self, using: str, options: dict[str, Any]) -> None:
        name = local_node(using).name
        waiting = keys.rotate(using)
        if waiting:
            self.stdout.write(
                f"{name} has a new key. It is used with each of {', '.join(waiting)} once they have met."
            )
        else:
            self.stdout.write(f"{name} has a new key.")
