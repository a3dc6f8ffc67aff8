"""What all commands of the library share."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from handleref_sync.capture import schema
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError, SyncError
from handleref_sync.models import Peer
from handleref_sync.replication.again import said


class SyncCommand(BaseCommand):
    """A command on one node. Its errors are one sentence that says what to do, never a traceback."""

    any_node = False
    """Whether it runs in a database that is another node than the settings say, too."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", help="alias of the database that is this node (default: the setting)")
        self.arguments(parser)

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the command's own arguments."""

    def handle(self, *args: Any, **options: Any) -> None:
        using = options.pop("database")
        try:
            using = settings.database if using is None else using
            schema.refuse_unknown(using)
            with said(using):
                if not (self.any_node or options.get("new_node")):  # what gives a copy a node ID of its own
                    schema.refuse_another_node(using)
                self.run(using, options)
        except SyncError as error:
            raise CommandError(error.sentence()) from error

    def run(self, using: str, options: dict[str, Any]) -> None:
        """Do the work on the node at alias `using`."""
        raise NotImplementedError

    def paired(self, using: str, name: str) -> Peer:
        """The peer `name`. Raises ConfigurationError where there is none."""
        peer = Peer.objects.using(using).filter(name=name).first()
        if peer is None:
            raise ConfigurationError(f"There is no peer {name}.", hint="Pair with it first: sync_join.")
        return peer

    def print_json(self, value: Any) -> None:
        """One JSON document on standard output."""
        self.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str))

    def console(self) -> Console:
        """For tables: as wide as the terminal, and plain text where there is none."""
        stream: Any = getattr(self.stdout, "_out", sys.stdout)
        return Console(file=stream, width=None if stream.isatty() else 140, highlight=False)
