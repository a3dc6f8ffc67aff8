"""The way from a write to a number: of rows that were there before, and of new ones."""

from __future__ import annotations

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import several


def existing(run: Run) -> None:
    """A table that was full before it was replicated."""
    case = run.case("stamping", f"Stamps for {run.rows:,} rows that were there before")
    with several(run.kind, "hub") as (hub,):
        hub.do("without_capture", rows=run.rows)
        hub.do("begin")
        found = hub.do("stamp_existing")
        ended = hub.do("ended")
        plain = hub.do("floor_update", rows=run.rows)["seconds"]
    total = found["noted"] + found["stamped"]
    for row, seconds in (("noted at migrate", found["noted"]), ("numbered", found["stamped"]), ("both", total)):
        case.note(row, "seconds", seconds)
        case.note(row, "one UPDATE of the rows, s", plain)
        case.note(row, "/ that", seconds / plain)
    case.note("both", "statements", ended["statements"])
    case.note("both", "peak, MiB", ended["mib"])


def ready_to_ship(run: Run) -> None:
    """New rows until a peer could read them: written, captured, and stamped."""
    case = run.case("ready", f"{run.writes:,} new rows until they can be shipped")
    with several(run.kind, "hub") as (hub,):
        found = hub.do("ready_to_ship", rows=run.writes)["seconds"]
    for way in ("save", "bulk_create"):
        with_it, plain = found[f"{way} captured"], found[f"{way} plain"]
        case.note(way, "captured and stamped, µs a row", with_it / run.writes * 1e6)
        case.note(way, "plain, µs a row", plain / run.writes * 1e6)
        case.note(way, "/ plain", with_it / plain)
        case.note(way, "goal", "≤ 1.5")
