"""This node and its peers at a glance."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from rich.table import Table

from handleref_sync.management.base import SyncCommand
from handleref_sync.models import Parked
from handleref_sync.status import status


class Command(SyncCommand):
    help = "Show this node, its vector, what lags at each peer and why, and what waits."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def run(self, using: str, options: dict[str, Any]) -> None:
        found = status(using)
        if options["json"]:
            self.print_json(found)
            return
        vector = ", ".join(f"{node}:{counter}" for node, counter in sorted(found["vector"].items())) or "empty"
        self.stdout.write(f"node {found['incarnation']}, at sequence {found['sequence']}, vector {vector}")
        if found["baseline"]:
            again = f"sync_init --baseline {found['baseline']}"
            self.stdout.write(
                f"BASELINE of {found['baseline']} not taken to its end: no sync before {again} has ended"
            )
        for lack in found["missing_tables"]:
            self.stdout.write(f"NOT MIGRATED: {lack}")
        if found["missing_triggers"]:
            self.stdout.write(f"NOT CAPTURED: {', '.join(found['missing_triggers'])}; run manage.py migrate")
        words = dict(Parked.Reason.choices)
        parked = ", ".join(f"{n} {words.get(reason, reason)}" for reason, n in sorted(found["parked"].items()))
        state = "settled" if found["settled"] else f"UNSETTLED ({parked})"
        waiting = sum(found["parked"].values())
        self.stdout.write(f"{found['dirty']} dirty, {waiting} parked, {found['conflicts']} open conflicts: {state}")
        if found["parked_overdue"]:
            self.stdout.write(f"{found['parked_overdue']} parked for too long (PARKED_ALERT): see sync_parked")
        if found["dots_reused"]:
            self.stdout.write(f"{found['dots_reused']} parked with two contents under one dot: see sync_parked")
        for label, rows in found["unreadable"].items():
            pk, why = next(iter(rows.items()))
            self.stdout.write(f"{label}: {len(rows)} rows can't be read and do not travel, such as {pk}: {why}")
        for label, names in found["waiting_fields"].items():
            self.stdout.write(
                f"{label}: {', '.join(names)} came from newer nodes; kept until migrate makes the columns"
            )
        if not found["peers"]:
            self.stdout.write("no peers yet: sync_invite here, or sync_join with what another node printed")
            return
        table = Table("peer", "last success", "to pull", "to push", "last error")
        for peer in found["peers"]:
            table.add_row(
                peer["name"] + (" (revoked)" if peer["revoked"] else " (passive)" if peer["passive"] else ""),
                peer["last_success"] or "never",
                "?" if peer["to_pull"] is None else str(peer["to_pull"]),
                str(peer["to_push"]),
                peer["last_error"] or "-",
            )
        self.console().print(table)
