"""Let tombstones go that nobody needs any more."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication.purging import Purge, purge


class Command(SyncCommand):
    help = "Drop the tombstones of deleted records that every peer has acknowledged."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--keep", type=float, default=30.0, metavar="DAYS", help="keep what was deleted within that (default: 30)"
        )
        parser.add_argument(
            "--older-than",
            type=float,
            metavar="DAYS",
            help="first forget the peers that lack a deletion of that age: they have to be paired again",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would go, and drop nothing")
        parser.add_argument("--json", action="store_true", help="print what was done as JSON")

    def run(self, using: str, options: dict[str, Any]) -> None:
        late = options["older_than"]
        report = purge(
            using,
            keep=timedelta(days=max(options["keep"], 0)),
            older_than=None if late is None else timedelta(days=max(late, 0)),
            dry_run=options["dry_run"],
        )
        if options["json"]:
            self.print_json(report.as_dict())
        else:
            self.stdout.write(in_words(report, options["dry_run"]))


def in_words(report: Purge, dry_run: bool) -> str:
    """What a purge did, a line for each thing that an operator may want to act on."""
    lines = [f"forgotten, to be paired again: {', '.join(report.forgotten)}"] if report.forgotten else []
    lines += [f"{name} has not acknowledged {count}" for name, count in sorted(report.waiting.items())]
    if report.uncovered:
        lines.append(f"{report.uncovered} have to stay: not all that was known of them came in a whole exchange")
    if report.young:
        lines.append(f"{report.young} are too young")
    lines.append(f"{report.purged} of {report.tombstones} tombstones {'would go' if dry_run else 'dropped'}")
    return "\n".join(lines)
