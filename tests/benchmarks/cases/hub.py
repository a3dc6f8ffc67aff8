"""Many edges that call one hub at once, while the hub's own application writes."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import Node, several

PROCESSES, FEWER = 4, (2, 1)
"""Of the hub's server."""
DRIVERS = 2
"""Processes in which the edges are: as many as this machine is likely to have cores."""
ROWS = 20
"""That an edge writes before each of its rounds."""
PAUSE = 0.02
"""Seconds between two writes of the hub's application."""


def edges_at_once(run: Run) -> None:
    """Each edge writes a few rows, syncs, and begins anew; all that one wrote has to reach all others."""
    if run.kind != "postgresql" or not run.edges:
        return
    case = run.case("hub", f"A hub on PostgreSQL, each edge with {ROWS} new rows a round")
    # And fewer processes for the number in the middle: how the throughput grows with them.
    middle = sorted(run.edges)[len(run.edges) // 2]
    for count, processes in [*((edges, PROCESSES) for edges in run.edges), *((middle, few) for few in FEWER)]:
        with several(run.kind, "hub") as (hub,), tempfile.TemporaryDirectory(prefix="handleref-bench-") as home:
            url = hub.do("serve", processes=processes)["url"]
            writer = Node("hub", run.kind, Path(home), database=hub.database)
            alone = writer.do("write_for", seconds=min(2.0, run.seconds), pause=PAUSE)
            drivers = [Node("driver", "sqlite", Path(home)) for _ in range(min(DRIVERS, count))]
            try:
                names = [[f"edge-{n}" for n in range(count)][at :: len(drivers)] for at in range(len(drivers))]
                for driver, some in zip(drivers, names, strict=True):
                    for name, key in driver.do("make_edges", names=some, home=home)["keys"].items():
                        hub.do("peer", name=name, key=key)
                    driver.do("know_hub", names=some, key=hub.key, url=url)
                for driver, some in zip(drivers, names, strict=True):
                    driver.begin("sync_for", names=some, seconds=run.seconds, rows=ROWS)
                waits = writer.do("write_for", seconds=run.seconds, pause=PAUSE)
                answers = [driver.answer() for driver in drivers]
            finally:
                for node in (*drivers, writer):
                    node.end()
        broken = [text for answer in answers for text in answer["broken"]]
        assert not broken, broken
        seconds = max(answer["seconds"] for answer in answers)
        lengths = sorted(length for answer in answers for length in answer["lengths"])
        row = f"{count} edge{'s' if count > 1 else ''}, {processes} process{'es' if processes > 1 else ''}"
        case.note(row, "sessions a second", sum(answer["sessions"] for answer in answers) / seconds)
        case.note(row, "rows in, a second", sum(answer["pushed"] for answer in answers) / seconds)
        case.note(row, "rows out, a second", sum(answer["pulled"] for answer in answers) / seconds)
        case.note(row, "a session, s", statistics.median(lengths))
        case.note(row, "the longest, s", lengths[-1])
        case.note(row, "a write on the hub, ms", waits["median"] * 1000)
        case.note(row, "the longest, ms", waits["longest"] * 1000)
        case.note(row, "the longest without edges, ms", alone["longest"] * 1000)
