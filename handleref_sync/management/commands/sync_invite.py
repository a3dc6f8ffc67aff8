"""Invite another node to pair with this one."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.management.base import SyncCommand
from handleref_sync.models import Peer
from handleref_sync.transport import pairing


class Command(SyncCommand):
    help = "Print the command that pairs another node with this one: a URL and a token for one use."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the other node's ID, such as ship-7")
        parser.add_argument("--url", help="where the other node reaches this one (default: HANDLEREF_SYNC['URL'])")
        parser.add_argument("--ttl", type=int, help="seconds that the token lives (default: INVITE_TTL)")

    def run(self, using: str, options: dict[str, Any]) -> None:
        name, url, ttl = options["name"], options["url"], options["ttl"]
        if ttl is not None and ttl < 1:
            raise ConfigurationError(
                f"A token can't live for {ttl} seconds.", hint="Give --ttl a number of 1 or more."
            )
        ttl = settings.invite_ttl if ttl is None else ttl
        token = pairing.invite(using, name, url=url or "", ttl=ttl)
        self.stdout.write(f"python manage.py sync_join {url or settings.url} {token}")
        self.stderr.write(f"Run this on {name} within {in_words(ttl)}; the token is good for one use.")
        if Peer.objects.using(using).filter(name=name).exists():
            self.stderr.write(
                f"{name} is paired already: whoever joins with this token takes its place, with another key and URL. "
                "Don't use it for a second database with this ID."
            )


def in_words(seconds: int) -> str:
    """A duration for a person, in the largest unit that it is a multiple of."""
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    name, unit = next((name, unit) for name, unit in units if seconds % unit == 0)
    count = seconds // unit
    return f"{count} {name}{'' if count == 1 else 's'}"
