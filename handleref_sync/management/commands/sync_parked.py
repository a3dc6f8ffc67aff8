"""What has arrived and can't be written yet, and why."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication.ledger import local_node
from handleref_sync.replication.parking import describe
from handleref_sync.retrying import retry


class Command(SyncCommand):
    help = "List the changes that wait, and why; --retry tries all of them now."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--retry", action="store_true", help="try all of them now, then list those that are left")

    def run(self, using: str, options: dict[str, Any]) -> None:
        local_node(using)
        if options["retry"]:
            outcome = retry(using)
            if not options["json"]:
                self.stdout.write(f"written or settled: {outcome.applied}, conflicts: {outcome.conflicts}")
        found = describe(using)
        if options["json"]:
            self.print_json(found)
            return
        for entry in found:
            self.stdout.write(f"{entry['model']} {entry['key']}: {entry['in_words']}")
            by = f"    {entry['what']} written on {entry['node']} at {entry['written']}"
            self.stdout.write(
                f"{by}, here since {entry['since']}" + (f" from {entry['peer']}" if entry["peer"] else "")
            )
            if entry["detail"]:
                self.stdout.write(f"    {entry['detail']}")
            self.stdout.write(f"    {entry['advice']}")
        self.stdout.write(f"{len(found)} parked")
