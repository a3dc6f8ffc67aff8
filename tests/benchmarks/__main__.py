"""The figures of the library, each beside its floor from the same run: ``python -m tests.benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


class Node:
    """A worker process and its database."""

    def __init__(self, name: str, kind: str, home: Path) -> None:
        self.kind, self.database = kind, f"handleref_bench_{uuid.uuid4().hex[:10]}"
        place = self.database if kind == "postgresql" else str(home / f"{self.database}.sqlite3")
        if kind == "postgresql":
            self._postgres(f"CREATE DATABASE {self.database}")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "BENCH_NODE": name,
            "BENCH_KIND": kind,
            "BENCH_NAME": place,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.key = self.do("setup")["key"]

    def _postgres(self, statement: str) -> None:
        import psycopg

        server = {
            "host": os.environ.get("PGHOST", "localhost"),
            "port": os.environ.get("PGPORT", "5432"),
            "user": os.environ.get("PGUSER", "postgres"),
            "password": os.environ.get("PGPASSWORD", ""),
        }
        with psycopg.connect(**server, dbname="postgres", autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(statement)

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a node ended while it did {command}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        if self.kind == "postgresql":
            self._postgres(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


@contextmanager
def pair(kind: str) -> Iterator[tuple[Node, Node]]:
    """A hub that serves and an edge that calls, each new."""
    with tempfile.TemporaryDirectory(prefix="handleref-bench-") as home:
        nodes: list[Node] = []
        try:
            for name in ("hub", "edge"):
                nodes.append(Node(name, kind, Path(home)))
            hub, edge = nodes
            hub.do("peer", name="edge", key=edge.key)
            edge.do("peer", name="hub", key=hub.key, url=hub.do("serve")["url"])
            yield hub, edge
        finally:
            for node in nodes:
                node.end()


class Figures:
    """Measured values by name; each name has its goal."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = defaultdict(list)
        self.goals: dict[str, str] = {}

    def note(self, name: str, value: float, goal: str = "") -> None:
        self.found[name].append(value)
        self.goals[name] = goal

    def table(self) -> Table:
        table = Table("figure", "median", "least", "most", "goal")
        for name, found in self.found.items():
            shown = [f"{value:,.2f}" for value in (statistics.median(found), min(found), max(found))]
            table.add_row(name, *shown, self.goals[name])
        return table


def first_pull(kind: str, rows: int, figures: Figures) -> None:
    with pair(kind) as (hub, edge):
        hub.do("fill", rows=rows)
        floor = edge.do("floor", rows=rows)["seconds"]
        report = edge.do("sync")
        assert report["pulled"] == rows, report
        figures.note("floor: bulk_create, s", floor)
        figures.note("first pull, s", report["seconds"])
        figures.note("first pull / bulk_create", report["seconds"] / floor, "<= 2 now, 1 later")
        figures.note("bytes on the wire, a row", report["bytes"] / rows, "<= 60")
        figures.note("peak memory of the hub, MiB", hub.do("memory")["mib"])
        figures.note("peak memory of the edge, MiB", edge.do("memory")["mib"])
        size = edge.do("size")
        figures.note("ledger / table on disk", size["ledger"] / size["table"], "<= 0.75")
        idle = min((edge.do("sync") for _ in range(5)), key=lambda r: r["seconds"])
        figures.note(f"nothing to do at {rows:,} rows, s", idle["seconds"])
        figures.note("nothing to do, round trips", idle["trips"], "1")
        hub.do("touch", rows=1000)
        changed = edge.do("sync")
        figures.note(f"1,000 changed of {rows:,}, s", changed["seconds"])
    with pair(kind) as (hub, edge):
        small, few = 10_000, 1_000
        hub.do("fill", rows=few)
        edge.do("sync")
        few_idle = min((edge.do("sync") for _ in range(5)), key=lambda r: r["seconds"])["seconds"]
        figures.note("nothing to do, against 1,000 rows", idle["seconds"] / few_idle, "<= 1.2")
        hub.do("fill", rows=small - few, start=few)
        edge.do("sync")
        hub.do("touch", rows=1000)
        figures.note(
            "1,000 changed, against 1,000 of 10,000", changed["seconds"] / edge.do("sync")["seconds"], "<= 1.3"
        )


def writes(kind: str, rows: int, figures: Figures) -> None:
    goals = {"save": ("<= 1.35", "<= 1.2"), "bulk_create": ("<= 1.25", "<= 1.25"), "delete": ("<= 1.35", "<= 1.2")}
    with pair(kind) as (hub, _):
        found = hub.do("writes", rows=rows)
        for name, goal in goals.items():
            ratio = found[f"{name} captured"] / found[f"{name} plain"]
            figures.note(f"{name} captured / plain", ratio, goal[kind == "postgresql"])


CASES = {"first_pull": first_pull, "writes": writes}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--writes", type=int, default=2_000, help="rows of the single-write figures")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--only", choices=list(CASES), action="append")
    parser.add_argument("--json", metavar="FILE", help="write what was found there as well")
    options = parser.parse_args()
    results = {}
    for kind in options.database or ["sqlite"]:
        figures = Figures()
        for _ in range(options.repeat):
            for name in options.only or CASES:
                CASES[name](kind, options.writes if name == "writes" else options.rows, figures)
        Console(width=110).print(f"\n{kind}, {options.rows:,} rows, {options.repeat} runs", figures.table())
        results[kind] = figures.found
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
