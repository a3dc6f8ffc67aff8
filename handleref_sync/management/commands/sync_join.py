"""Pair this node with the one that printed an invitation."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.transport import pairing


class Command(SyncCommand):
    help = "Pair with the node whose sync_invite printed this URL and token."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="as sync_invite printed it")
        parser.add_argument("token", help="as sync_invite printed it")

    def run(self, using: str, options: dict[str, Any]) -> None:
        peer = pairing.join(using, options["url"], options["token"])
        self.stdout.write(f"Paired with {peer.name}. Now run: python manage.py sync_peer {peer.name}")
