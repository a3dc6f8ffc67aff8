"""A node is gone for good."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication import lives
from handleref_sync.replication.ledger import local_node


class Command(SyncCommand):
    help = "Take a peer out that is gone for good: nothing waits for it any more. What it wrote stays."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the peer")

    def run(self, using: str, options: dict[str, Any]) -> None:
        me, name = local_node(using).name, options["name"]
        lives.forget(using, name)
        self.stdout.write(f"{me} does not know {name} any more. Forget it on every node that knows it.")
