"""What a fleet does and costs by its topology: ``python -m tests.benchmarks.fleet --nodes 1000``.

Each node writes for an hour of simulated time, and calls its peers at an interval, each at a moment of its own. Then
nobody writes any more, until all hold the same; the sessions of one more interval must move nothing.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.figures import Case, insert
from tests.benchmarks.fleet.node import Exchange, SimulatedNode, session
from tests.benchmarks.fleet.topologies import TOPOLOGIES


@dataclass(frozen=True)
class Costs:
    """What a session costs the side that serves, as measured with databases and HTTP; see docs/scaling.md."""

    session_ms: float = 12.0
    """Of its CPU, with nothing to do and few nodes."""
    trip_ms: float = 20.0
    """More, for each further request."""
    row_us: float = 50.0
    """For each change that it gives or takes."""
    entry_us: float = 3.0
    """For each entry of the two vectors, in each request."""
    grown_us: float = 15.0
    """For each entry of its own vector that grew."""

    def seconds(self, exchange: Exchange) -> float:
        return (
            self.session_ms * 1000
            + self.trip_ms * 1000 * (exchange.trips - 1)
            + self.row_us * exchange.sent
            + self.entry_us * exchange.entries * exchange.trips
            + self.grown_us * exchange.served
        ) / 1e6


HOUR = 3_600_000
START = 1_700_000_000_000


def run(options: argparse.Namespace, name: str) -> dict[str, float]:
    """One history; what it came to. Raises AssertionError where the nodes do not end alike."""
    rng = random.Random(options.seed)
    nodes = [SimulatedNode(f"n{n}") for n in range(options.nodes)]
    calls = TOPOLOGIES[name](options.nodes, rng)
    interval = int(options.interval * 60_000)
    agenda: list[tuple[int, int, int]] = [(START + rng.randrange(interval), caller, 0) for caller in calls]
    writers = range(options.nodes) if options.writers is None else rng.sample(range(options.nodes), options.writers)
    agenda += [(START + rng.randrange(HOUR), n, -1) for n in writers for _ in range(options.writes)]
    heapq.heapify(agenda)
    shared = [nodes[0].write(None, START) for _ in range(options.shared)]
    costs, busy, total = Costs(), defaultdict[int, float](float), Exchange()
    written = len(shared)
    sessions = idle = vectors = 0
    last_write, settled = START, 0
    since = defaultdict[int, int](int)
    while agenda:
        now, number, turn = heapq.heappop(agenda)
        if turn < 0:
            known = [key for key in shared if key in nodes[number].ledger]
            nodes[number].write(rng.choice(known) if known and rng.random() < options.hot else None, now)
            written, last_write = written + 1, now
            continue
        server = calls[number][turn % len(calls[number])]
        exchange = session(nodes[number], nodes[server], now)
        sessions, idle = sessions + 1, idle + (exchange.trips == 1)
        busy[server] += costs.seconds(exchange)
        vectors += exchange.entries
        for what in ("scanned", "sent", "known", "conflicts", "grew"):
            setattr(total, what, getattr(total, what) + getattr(exchange, what))
        total.delays += exchange.delays
        if exchange.sent or exchange.grew:
            since.clear()
            settled = now
        since[number] += 1
        # At rest: since anything last moved, each has called each of its peers.
        if now < START + HOUR or len(since) < len(calls) or any(since[c] < len(p) for c, p in calls.items()):
            heapq.heappush(agenda, (now + interval, number, turn + 1))
    check(nodes)
    hours = max(settled - START, HOUR) / HOUR
    ordered = sorted(total.delays)
    return {
        "writes": written,
        "sessions": sessions,
        "with nothing to do": idle,
        "changes sent, a write and node": total.sent / written / (options.nodes - 1),
        "of them known already": total.known / max(total.sent, 1),
        "stamps read, a change sent": total.scanned / max(total.sent, 1),
        "versions that lost": len({dot for node in nodes for dot in node.losers}),
        "vector entries, a session": vectors / sessions,
        "median delay, min": statistics.median(ordered) / 60_000,
        "99 of 100, min": ordered[int(len(ordered) * 0.99)] / 60_000,
        "at rest after the last write, min": (settled - last_write) / 60_000,
        "busiest server, s of CPU an hour": max(busy.values()) / hours,
        "all servers": sum(busy.values()) / hours,
    }


def check(nodes: list[SimulatedNode]) -> None:
    """G1: the same versions, clocks and vectors everywhere."""
    first = {key: entry.version for key, entry in nodes[0].ledger.items()}
    for node in nodes[1:]:
        assert {key: entry.version for key, entry in node.ledger.items()} == first, f"{node.name} differs"
        assert node.vector == nodes[0].vector, f"{node.name} has another vector"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fleet", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--nodes", type=int, default=1000)
    add("--topology", choices=list(TOPOLOGIES), nargs="+", default=list(TOPOLOGIES))
    add("--writers", type=int, help="how many of the nodes write at all (default: all)")
    add("--writes", type=int, default=1, help="by each of them, within the hour")
    add("--shared", type=int, default=20, help="records that all nodes change")
    add("--hot", type=float, default=0.2, help="the share of writes that go to those")
    add("--interval", type=float, default=5.0, help="minutes between two calls of a node")
    add("--seed", type=int, default=1)
    add("--markdown", action="store_true", help="print the table as docs/scaling.md has it")
    add("--into", metavar="FILE", help="put the table there, between the marks for so many nodes")
    add("--from", dest="saved", metavar="FILE", help="simulate nothing: show what --json kept there")
    add("--json", metavar="FILE")
    options = parser.parse_args()
    said = [f"--nodes {options.nodes}"]
    for name in ("writers", "writes", "shared", "hot", "interval", "seed"):
        if getattr(options, name) != parser.get_default(name):
            said.append(f"--{name} {getattr(options, name)}")
    if options.topology != list(TOPOLOGIES):
        said.append(f"--topology {' '.join(options.topology)}")
    command = f"python -m tests.benchmarks.fleet {' '.join(said)}"
    writers = options.nodes if options.writers is None else options.writers
    often = f"{options.writes} time{'s' if options.writes > 1 else ''} in an hour"
    case = Case(f"{options.nodes:,} nodes, of which {writers:,} write {often}", command)
    if options.saved:
        saved = json.loads(Path(options.saved).read_text())
        case, options.topology = Case(case.title, saved["command"], saved["rows"]), []
    for name in options.topology:
        began = time.perf_counter()
        found = run(options, name)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
        for figure, value in found.items():
            case.note(figure, name, value)
    if options.into:
        insert(Path(options.into), f"fleet of {options.nodes}", case.markdown())
    elif options.markdown:
        print(case.markdown())
    else:
        Console(width=140).print(f"{case.title}: {command}", case.table(), str(asdict(Costs())))
    if options.json:
        kept: dict[str, Any] = {"command": command, "costs": asdict(Costs()), "rows": case.rows}
        Path(options.json).write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
