"""Invite another node to pair with this one."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.conf import NODE_ID, settings
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.management.base import SyncCommand
from handleref_sync.transport import pairing


class Command(SyncCommand):
    help = "Print the command that pairs another node with this one: a URL and a token for one use."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the other node's ID, such as ship-7")
        parser.add_argument("--url", help="where the other node reaches this one (default: HANDLEREF_SYNC['URL'])")
        parser.add_argument("--ttl", type=int, help="seconds that the token lives (default: INVITE_TTL)")

    def run(self, using: str, options: dict[str, Any]) -> None:
        name, url = options["name"], options["url"] or settings.url
        if not NODE_ID.match(name):
            raise ConfigurationError(
                f"{name!r} is no node ID.", hint="A node ID has lower-case letters, digits and dashes."
            )
        if not url:
            raise ConfigurationError(
                "This node has no URL at which the other one could reach it.",
                hint="Set HANDLEREF_SYNC['URL'] or give --url, such as --url http://hq.example/sync/.",
            )
        ttl = options["ttl"] or settings.invite_ttl
        token = pairing.invite(using, name, url=url, ttl=ttl)
        self.stdout.write(f"manage.py sync_join {url} {token}")
        self.stderr.write(f"Run this on {name} within {ttl // 60} minutes; the token is good for one use.")
