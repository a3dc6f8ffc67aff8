"""What lost against what, and how to have it back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from handleref_sync.management.base import SyncCommand
from handleref_sync.replication.conflicts import describe, restore
from handleref_sync.replication.words import differences, winner


class Command(SyncCommand):
    help = "List the versions that lost a conflict; --restore ID writes one back as a new write."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")
        parser.add_argument("--restore", metavar="ID", help="write this loser back (the beginning of its ID will do)")
        parser.add_argument("--all", action="store_true", help="list those that were restored or dismissed, too")

    def run(self, using: str, options: dict[str, Any]) -> None:
        if options["restore"] is not None:
            conflict = restore(using, options["restore"])
            self.stdout.write(f"Restored {conflict.model} {conflict.key} as {conflict.node} had written it.")
            return
        found = describe(using, everything=options["all"] or options["json"])
        if options["json"]:
            self.print_json(found)
            return
        for entry in found:
            done = " (restored)" if entry["restored"] else " (dismissed)" if entry["dismissed"] else ""
            self.stdout.write(f"{entry['id'][:12]}  {entry['model']} {entry['key']}{done}")
            self.stdout.write(f"    lost: written on {entry['node']} at {entry['written']}: {entry['lost']}")
            if entry["why"]:
                self.stdout.write(f"      {entry['why']}")
            self.stdout.write(f"    won:  {winner(entry)}")
            for line in differences(entry):
                self.stdout.write(f"      {line}")
        self.stdout.write(f"{len(found)} conflict{'' if len(found) == 1 else 's'}")
