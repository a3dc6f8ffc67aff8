"""First pulls and pushes, of several shapes and sizes, beside their floors."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.cases.run import Run
from tests.benchmarks.figures import Case
from tests.benchmarks.nodes import Node, pair, session, several

SIDES = ("hub", "edge")
BULK, BYTES, DISK = "/ bulk_create", "bytes a row", "ledger / table on disk"
GOALS = {BULK: "≤ 1.0", BYTES: "≤ 60", DISK: "≤ 0.75"}
"""For rows of eleven columns."""
MANY = 1_000_000
"""So many rows take long: they are of the first shape only, unless others are asked for."""
DUMPED = 100_000
"""More rows than this are not dumped and loaded: it takes long, and says nothing more."""


def pull(run: Run) -> None:
    """An edge that has nothing pulls all that the hub has."""
    _each(run, "pull", "First pull", "pulled", writer=0)


def push(run: Run) -> None:
    """An edge pushes all that it has to a hub that has nothing."""
    _each(run, "push", "First push", "pushed", writer=1)


def _each(run: Run, name: str, what: str, count: str, writer: int) -> None:
    with several(run.kind, "floor") as (floor,):
        for rows in run.sizes:
            case = run.case(name, f"{what} of {rows:,} rows")
            for shape in run.shapes if rows < MANY or run.all_shapes else run.shapes[:1]:
                with pair(run.kind, reversion=shape == "history") as nodes:
                    nodes[writer].do("fill", rows=rows, shape=shape)
                    report = session(*nodes)
                    assert report[count] >= rows, report
                    reader = nodes[1 - writer]
                    assert reader.do("count", shape=shape)["rows"] == rows
                    size = reader.do("size", shape=shape)
                    floors = _floors(floor, reader.database, rows, shape)
                _note(case, shape, report, report["bytes"] / report[count], floors, size["ledger"] / size["table"])


def _note(case: Case, shape: str, report: dict[str, Any], wire: float, floors: dict[str, float], disk: float) -> None:
    figures = {
        "seconds": report["seconds"],
        "bulk_create, s": floors["bulk_create"],
        BULK: report["seconds"] / floors["bulk_create"],
        "driver alone, s": floors["raw"],
        "/ driver alone": report["seconds"] / floors["raw"],
        **({"dumpdata, then loaddata, s": floors["loaddata"]} if "loaddata" in floors else {}),
        BYTES: wire,
        **{f"CPU of the {side}, s": report[side]["cpu"] for side in SIDES},
        **{f"peak of the {side}, MiB": report[side]["mib"] for side in SIDES},
        **{f"statements of the {side}": report[side]["statements"] for side in SIDES},
        DISK: disk,
    }
    for figure, value in figures.items():
        case.note(figure, shape, value)
        if figure in GOALS and report["pulled"]:
            case.note(figure, "goal for rows", GOALS[figure])


def _floors(floor: Node, database: str, rows: int, shape: str) -> dict[str, float]:
    """In a database that has nothing else to do."""
    found: dict[str, Any] = {"bulk_create": floor.do("floor_bulk_create", rows=rows, shape=shape)["seconds"]}
    raw = floor.do("floor_raw", kind=floor.kind, name=database, rows=rows, shape=shape)
    found["raw"] = raw["rows"] + raw["stamps"]
    if shape == "rows" and rows <= DUMPED:
        loaded = floor.do("floor_dump_and_load", rows=rows, shape=shape)
        found["loaddata"] = loaded["dump"] + loaded["load"]
    return found
