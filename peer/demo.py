"""Three nodes as separate processes: they write apart, meet in different orders, and end equal.

Run by ``make demo``. Ends with a status other than 0 if anything differs at the end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MANAGE = Path(__file__).with_name("manage.py")
out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)

# What each site does while it is alone. Every way to write is among them: nothing has to be told to the library.
BOOK = """
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from inspections.models import Airport, Country, Inspection, Inspector
def inspector(name, badge):
    user = User.objects.create_user(name)
    return Inspector.objects.create(user=user, badge=badge)
def inspect(icao, who, grade, remarks):
    airport = Airport.objects.get(icao=icao)
    return Inspection.objects.create(airport=airport, inspector=who, date="2026-05-01", grade=grade, remarks=remarks)
"""
AT_SHIP = """
anna = inspector("anna", "S-1")
inspect("EGLL", anna, "minor", "Runway lights dim at 27L")
inspect("LFPO", anna, "pass", "")
Airport.objects.filter(icao="EGLL").update(city="London (Heathrow)")
Airport.objects.filter(country__code="IS").update(elevation=F("elevation") + 1)
with connection.cursor() as cursor:
    cursor.execute("UPDATE inspections_airport SET name = 'Paris Orly' WHERE icao = 'LFPO'")
Airport.objects.filter(icao="KJFK").update(name="JFK, as the ship sees it")
Airport.objects.get(icao="ENSB").delete(hard=True)
"""
AT_CAMP = """
bert = inspector("bert", "C-1")
inspect("ENGM", bert, "major", "Fence open at the north end")
airport = Airport.objects.get(icao="KJFK"); airport.name = "JFK, as the camp sees it"; airport.save()
airport = Airport.objects.get(icao="ENSB"); airport.city = "Longyearbyen (camp)"; airport.save()
Airport.objects.bulk_update([a for a in Airport.objects.filter(country__code="NO")], ["tz"])
Airport.objects.filter(country__code="FO").update(tz="Atlantic/Faroe (checked)")
Airport.objects.get(icao="LFPG").delete()
"""
AT_HQ = """
Country.objects.filter(code="NO").update(name="Norway")
Airport.objects.filter(icao="EGLL").update(elevation=84)
airport = Airport.objects.get(icao="KJFK"); airport.name = "John F Kennedy, says headquarters"; airport.save()
"""
# The rows themselves, told by what people know them by, not by anything of the library's.
DIGEST = """
import hashlib, json
from django.contrib.auth.models import User
from inspections.models import Airport, Country, Inspection, Inspector
def rows(model, *fields):
    found = model.objects.values_list(*fields, "status", "version", "created", "updated")
    return sorted(json.dumps(row, default=str) for row in found)
everything = [
    rows(Country, "code", "name"),
    rows(Airport, "icao", "country__code", "iata", "name", "city", "elevation", "latitude", "longitude", "tz"),
    rows(Inspector, "badge", "user__username"),
    rows(Inspection, "airport__icao", "inspector__badge", "date", "grade", "remarks"),
    sorted(User.objects.values_list("username", flat=True)),
]
print(json.dumps([hashlib.sha256(json.dumps(everything).encode()).hexdigest(), [len(part) for part in everything]]))
"""


class Site:
    """One node: its own process, its own SQLite file, its own port."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.environment = {
            **os.environ,
            "HANDLEREF_NODE": name,
            "PEER_HOME": str(home),
            "PEER_DEBUG": "1",
            "PYTHONWARNINGS": "default",
        }
        for variable in ("DATABASE_URL", "HANDLEREF_URL", "DJANGO_SETTINGS_MODULE"):
            self.environment.pop(variable, None)  # the demo is about its own three databases, nobody else's
        self.server: subprocess.Popen[str] | None = None
        self.port = 0

    def manage(self, *arguments: str) -> str:
        """The output of a management command; its errors end the demo."""
        done = subprocess.run(
            [sys.executable, str(MANAGE), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: manage.py {' '.join(arguments[:3])} failed\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def do(self, script: str) -> str:
        """Run application code at this site."""
        return self.manage("shell", "--no-imports", "-c", BOOK + script)

    def serve(self) -> str:
        """Start the web server; returns the URL at which other nodes reach it."""
        self.server = subprocess.Popen(
            [sys.executable, str(MANAGE), "serve", "--port", str(self.port)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"{self.name} does not serve: {line}")
        self.port = int(line.rstrip("/\n ").rpartition(":")[2])
        return f"http://127.0.0.1:{self.port}/sync/"

    def stop(self) -> None:
        """Stop the web server, by its pid, and wait for its end."""
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(timeout=30)
        self.server = None

    def sync(self, peer: str) -> dict[str, Any]:
        """Synchronise with `peer` and tell how it went."""
        report: dict[str, Any] = json.loads(self.manage("sync_peer", peer, "--json"))[0]
        conflicts = f", [yellow]{report['conflicts']} conflicts[/]" if report["conflicts"] else ""
        out.print(
            f"  {self.name:>7} ⇄ {peer}: pulled [green]{report['pulled']}[/], pushed [green]{report['pushed']}[/]"
            f"{conflicts}, {report['bytes'] / 1024:,.0f} KiB in {report['seconds']:.2f} s"
        )
        return report


def step(number: int, text: str) -> None:
    out.print(f"\n[bold cyan]{number}.[/] [bold]{text}[/]")


def play(home: Path) -> bool:
    """The whole story. Returns whether all three nodes are equal at its end."""
    hq, ship, camp = sites = [Site(name, home) for name in ("hq", "ship-7", "camp-3")]
    stations = (ship, camp)
    try:
        step(1, "Three empty databases; headquarters loads the airports of the world")
        for site in sites:
            site.manage("migrate", "--verbosity", "0")
        out.print(f"  {hq.manage('load_airports').splitlines()[-1]}")

        step(2, "Two stations join by invitation, and pull everything")
        url = hq.serve()
        for station in stations:
            url, token = hq.manage("sync_invite", station.name, "--url", url).split()[-2:]
            out.print(f"  hq: sync_invite {station.name}   {station.name}: {station.manage('sync_join', url, token)}")
        for station in stations:
            station.sync("hq")

        step(3, "The line goes down. All three go on writing, on the same records and on others")
        hq.stop()
        failed = subprocess.run(
            [sys.executable, str(MANAGE), "sync_peer", "hq"],
            env={**ship.environment},
            capture_output=True,
            text=True,
        )
        out.print(f"  [dim]{(failed.stdout or failed.stderr).strip().splitlines()[0][:110]}…[/]")
        for site, script, what in (
            (hq, AT_HQ, "renames Norway, corrects Heathrow's elevation, renames JFK"),
            (camp, AT_CAMP, "inspects Oslo, renames JFK, edits Svalbard, closes Charles de Gaulle softly"),
            (
                ship,
                AT_SHIP,
                "inspects Heathrow and Orly, bulk updates, raw SQL, renames JFK, deletes Svalbard for good",
            ),
        ):
            site.do(script)
            out.print(f"  {site.name:>7} {what}")
            time.sleep(0.01)

        step(4, "The line is back. They meet, each in its own time")
        hq.serve()
        for station in (camp, ship, camp, ship):
            station.sync("hq")

        step(5, "What lost is in the log, on every node alike")
        log = json.loads(hq.manage("sync_conflicts", "--json"))
        table = Table("conflict", "record", "lost", "written on", "won", "written on", box=None, pad_edge=False)
        for entry in log:
            differing = [name for name in entry["differs"] if name not in ("updated", "created", "version")]
            lost = "; ".join(str(entry["differs"][n][0]) for n in differing) or entry["lost"]
            won = "; ".join(str(entry["differs"][n][1]) for n in differing) or (
                "deletion" if not entry["against"] else ""
            )
            label = entry["model"].rpartition(".")[2]
            table.add_row(entry["id"][:8], f"{label} {entry['key']}", lost, entry["node"], won, entry["against_node"])
        out.print(table)
        same_log = all(logged(site) == logged(hq) for site in stations)
        out.print(f"  {len(log)} losers, the same log on all three: {tick(same_log)}")

        step(6, "A loser is restored at the camp; that is a new write, and it travels")
        loser = next(
            entry for entry in log if entry["node"] == "camp-3" and entry["lost"] == "content" and entry["against"]
        )
        out.print(f"  {camp.manage('sync_conflicts', '--restore', loser['id'][:12])}")
        for station in (camp, ship):
            station.sync("hq")
        name = hq.do("print(Airport.objects.get(icao='KJFK').name)")
        out.print(f"  hq now says: [green]{name}[/]")

        step(7, "A last round moves nothing, and the three are equal")
        quiet = [report["pulled"] + report["pushed"] for report in (station.sync("hq") for station in (ship, camp))]
        digests = {site.name: json.loads(site.do(DIGEST).splitlines()[-1]) for site in sites}
        for site_name, (digest, counts) in digests.items():
            out.print(f"  {site_name:>7} {digest[:24]}…  {sum(counts):,} rows")
        equal = len({json.dumps(d) for d in digests.values()}) == 1
        restored = name == "JFK, as the camp sees it"
        out.print()
        out.print(hq.manage("sync_status"))
        out.print(
            f"\nequal by digest: {tick(equal)}   quiet: {tick(not any(quiet))}   "
            f"same log: {tick(same_log)}   restored: {tick(restored)}"
        )
        return equal and not any(quiet) and same_log and restored and bool(log)
    finally:
        for site in sites:
            site.stop()


def logged(site: Site) -> list[Any]:
    """The conflict log as the node has it, without what is looked up for display."""
    entries = json.loads(site.manage("sync_conflicts", "--json"))
    return sorted((e["id"], e["model"], e["key"], e["node"], json.dumps(e["values"])) for e in entries)


def tick(good: bool) -> str:
    return "[bold green]yes[/]" if good else "[bold red]NO[/]"


if __name__ == "__main__":
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="handleref-demo-") as folder:
        good = play(Path(folder))
    out.print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(0 if good else 1)
