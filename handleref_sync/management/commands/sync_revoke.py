"""Believe a peer no more."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication import lives
from handleref_sync.replication.ledger import local_node


class Command(SyncCommand):
    help = "Refuse everything that a peer signs from now on, as when its key was stolen. What it brought stays."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the peer")

    def run(self, using: str, options: dict[str, Any]) -> None:
        me, name = local_node(using).name, options["name"]
        lives.revoke(using, name)
        self.stdout.write(
            f"{me} refuses {name} from now on. Revoke it on every node that knows it."
            f" It may come back with a new key: sync_invite {name}. If it is gone for good: sync_forget {name}."
        )
