"""Little in much: nothing to do, one change, a thousand changes; and many conflicts and deletions."""

from __future__ import annotations

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import Node, pair, session

CHANGED = 1000
IDLE = 5
"""Rounds with nothing to do, of which the fastest counts: there is nothing in it but noise."""


def settle(hub: Node, edge: Node) -> None:
    """Bring both to the head of the other's feed, where they stand in real life."""
    hub.do("touch", rows=1)
    edge.do("sync")
    edge.do("touch", rows=1)
    edge.do("sync")


def changes(run: Run) -> None:
    """The same few changes in a small database and in a large one."""
    title = f"Few changes, in {run.rows:,} rows"
    small = max(CHANGED, run.rows // 100)
    case = run.case("changes", title)
    seconds: dict[tuple[str, int], float] = {}
    for rows in sorted({small, run.rows}):
        with pair(run.kind) as (hub, edge):
            for node in (hub, edge):
                node.do("seed", rows=rows, author="hub")
            settle(hub, edge)
            for what in ("nothing", "1 change pulled", "1,000 changes pulled", "1,000 changes pushed"):
                changed = {"n": 0, "1": 1}.get(what[0] if what[1:2] != "," else "", CHANGED)
                if changed:
                    (edge if "pushed" in what else hub).do("touch", rows=changed)
                    report = session(hub, edge)
                    assert report["pushed" if "pushed" in what else "pulled"] == changed, report
                else:
                    report = min((session(hub, edge) for _ in range(IDLE)), key=lambda found: found["seconds"])
                seconds[what, rows] = report["seconds"]
                if rows != run.rows:
                    continue
                case.note(what, "seconds", report["seconds"])
                case.note(what, f"/ in {small:,} rows", report["seconds"] / max(seconds[what, small], 0.001))
                case.note(what, "round trips", report["trips"])
                case.note(what, "bytes", report["bytes"])
                for side in ("hub", "edge"):
                    case.note(what, f"CPU of the {side}, s", report[side]["cpu"])
                    case.note(what, f"statements of the {side}", report[side]["statements"])
                case.note(what, "goal", "1 round trip, ≤ 1.2" if what == "nothing" else "≤ 1.3")


def conflicts(run: Run) -> None:
    """Both sides change the same rows, and neither knows of it."""
    rows = run.some
    case = run.case("conflicts", f"{rows:,} conflicts")
    with pair(run.kind) as (hub, edge):
        hub.do("fill", rows=rows)
        edge.do("sync")
        plain = _changed_alone(hub, edge, rows)
        hub.do("touch", rows=rows)
        edge.do("touch", rows=rows)
        report = session(hub, edge)
        assert report["conflicts"] >= rows, report
        after = session(hub, edge)
        assert (after["pulled"], after["pushed"], after["conflicts"]) == (0, 0, 0), after
    case.note("first round", "seconds", report["seconds"])
    case.note("first round", "the same rows, changed on one side, s", plain)
    case.note("first round", "/ that", report["seconds"] / plain)
    case.note("first round", "bytes a conflict", report["bytes"] / rows)
    for side in ("hub", "edge"):
        case.note("first round", f"CPU of the {side}, s", report[side]["cpu"])
        case.note("first round", f"statements of the {side}", report[side]["statements"])
        case.note("first round", f"peak of the {side}, MiB", report[side]["mib"])


def _changed_alone(hub: Node, edge: Node, rows: int) -> float:
    hub.do("touch", rows=rows)
    return float(session(hub, edge)["seconds"])


def tombstones(run: Run) -> None:
    """Rows that are deleted on the hub, and then on the edge by a sync."""
    rows = run.some
    case = run.case("tombstones", f"{rows:,} deletions")
    with pair(run.kind) as (hub, edge):
        hub.do("fill", rows=rows)
        edge.do("sync")
        here = hub.do("delete", rows=rows)["seconds"]
        report = session(hub, edge)
        assert report["pulled"] == rows and not edge.do("count")["rows"], report
        plain = edge.do("floor_delete", rows=rows)["seconds"]
    case.note("pulled", "seconds", report["seconds"])
    case.note("deleted on the hub", "seconds", here)
    for row, seconds in (("pulled", report["seconds"]), ("deleted on the hub", here)):
        case.note(row, "plain delete, s", plain)
        case.note(row, "/ that", seconds / plain)
    case.note("pulled", "bytes a row", report["bytes"] / rows)
    for side in ("hub", "edge"):
        case.note("pulled", f"CPU of the {side}, s", report[side]["cpu"])
        case.note("pulled", f"statements of the {side}", report[side]["statements"])
