"""Make a database that has rows already ready to be replicated."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.baseline import BaselineReport, take_baseline
from handleref_sync.conf import settings
from handleref_sync.management.base import SyncCommand
from handleref_sync.management.progress import progress_bar
from handleref_sync.replication import lives, place
from handleref_sync.replication.hello import refuse_unfinished
from handleref_sync.replication.ledger import local_node
from handleref_sync.replication.stamping import stamp
from handleref_sync.transport.client import HttpTransport


class Command(SyncCommand):
    help = "Stamp the rows that are there already, or say what happened to this database."

    def arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--baseline", metavar="PEER", help="this database began as a copy of that peer's: equal rows do not cross"
        )
        what.add_argument(
            "--restored", action="store_true", help="this database came from a backup: never use a dot again"
        )
        what.add_argument("--moved", action="store_true", help="this is the node that it was, at another place")
        what.add_argument(
            "--new-node", action="store_true", help="this copy of a node's database becomes the node NODE"
        )
        parser.add_argument("--json", action="store_true", help="print what was done as JSON")

    def run(self, using: str, options: dict[str, Any]) -> None:
        local, name = local_node(using), options["baseline"]
        if options["restored"]:
            found = lives.restored(using)
            text = f"{local.name} goes on as {found}. What peers have of its lost writes comes back with sync_peer."
            return self._print({"incarnation": found}, text, options)
        if options["moved"]:
            found = lives.moved(using)
            return self._print({"place": found}, f"{local.name} is at {found or 'no lasting place'} now.", options)
        if options["new_node"]:
            was = lives.become(using)
            text = f"This copy of {was} is {settings.node} now, with a key of its own. Pair it: sync_join."
            return self._print({"was": was, "node": settings.node}, text, options)
        if name is None:
            refuse_unfinished(local)
            place.check(using)
            with progress_bar(local.name, quiet=options["json"]) as progress:
                done = stamp(using, lambda count: progress("stamp", count, 0))
            self._print({"stamped": done}, f"{done} record{'' if done == 1 else 's'} stamped", options)
            return
        peer = self.paired(using, name)
        transport = HttpTransport(using, peer)
        try:
            with progress_bar(name, quiet=options["json"]) as progress:
                report = take_baseline(using, peer, transport, progress)
        finally:
            transport.close()
        self._print(report.as_dict(), in_words(report), options)

    def _print(self, found: dict[str, Any], text: str, options: dict[str, Any]) -> None:
        if options["json"]:
            self.print_json(found)
        else:
            self.stdout.write(text)


def in_words(report: BaselineReport) -> str:
    """What taking a baseline came to, a line for each model."""
    lines = [
        f"{label}: {report.same[label]} the same, {report.differ[label]} differ"
        for label in sorted(report.same | report.differ)
    ]
    lines.append(
        f"{report.peer}: fetched {report.fetched}, conflicts {report.conflicts}, parked {report.parked}. "
        f"Now run: python manage.py sync_peer {report.peer}"
    )
    return "\n".join(lines)
