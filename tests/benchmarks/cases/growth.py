"""How what should not grow grows: a round with nothing to do, and the memory of a first pull."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.cases.changes import IDLE, settle
from tests.benchmarks.cases.run import Run
from tests.benchmarks.figures import Case
from tests.benchmarks.nodes import pair, session

SMALL = 1000


def nothing_to_do(run: Run) -> None:
    """By rows, by models, and by nodes in the vector."""
    case = run.case("idle", f"A round with nothing to do, up to {run.rows:,} rows")
    for rows in sorted({SMALL, *(n for n in (run.rows // 10, run.rows) if n > SMALL)}):
        _idle(run, case, rows)
    for models in run.models:
        _idle(run, case, SMALL, models=models)
    for nodes in run.nodes:
        _idle(run, case, SMALL, nodes=nodes)


def _idle(run: Run, case: Case, rows: int, models: int = 0, nodes: int = 0) -> None:
    with pair(run.kind, models=models) as (hub, edge):
        for node in (hub, edge):
            node.do("seed", rows=rows, author="hub")
            node.do("meet_nodes", nodes=nodes)
        settle(hub, edge)
        report = min((session(hub, edge) for _ in range(2 * IDLE)), key=lambda found: found["seconds"])
        row = (
            f"{rows:,} rows" + (f", {models} more models" if models else "") + (f", {nodes:,} nodes" if nodes else "")
        )
        _note(case, row, report)
        if nodes:
            hub.do("advance_nodes")
            hub.do("touch", rows=1)
            _note(case, f"not idle: 1 change, and {nodes:,} nodes have gone on", session(hub, edge))


def _note(case: Case, row: str, report: dict[str, Any]) -> None:
    case.note(row, "ms", report["seconds"] * 1000)
    case.note(row, "round trips", report["trips"])
    case.note(row, "bytes", report["bytes"])
    for side in ("hub", "edge"):
        case.note(row, f"CPU of the {side}, ms", report[side]["cpu"] * 1000)
        case.note(row, f"statements of the {side}", report[side]["statements"])


def memory(run: Run) -> None:
    """The peak of each side in a first pull and in a first push, of few rows and of many."""
    few, many = min(10_000, run.rows // 10), run.rows
    case = run.case("memory", f"Peak memory, {many:,} rows against {few:,}")
    found = {}
    for writer, what in enumerate(("first pull", "first push")):
        with pair(run.kind) as nodes:
            for rows, start in ((few, 0), (many, few)):
                nodes[writer].do("fill", rows=rows, start=start)
                report = session(*nodes)
                for side in ("hub", "edge"):
                    found[what, side, rows] = report[side]["mib"]
    for what in ("first pull", "first push"):
        for side in ("hub", "edge"):
            small, large = found[what, side, few], found[what, side, many]
            case.note(f"{what}, the {side}", f"MiB at {few:,}", small)
            case.note(f"{what}, the {side}", f"MiB at {many:,}", large)
            case.note(f"{what}, the {side}", "ratio", large / small)
            case.note(f"{what}, the {side}", "goal", "≤ 1.3")
