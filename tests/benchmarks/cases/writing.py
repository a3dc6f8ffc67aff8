"""What capture costs the writers."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import Node, several

WRITERS = 8
GOALS = {"save": ("≤ 1.35", "≤ 1.2"), "delete": ("≤ 1.35", "≤ 1.2"), "bulk_create": ("≤ 1.25", "≤ 1.25")}
WIDTH = {"bulk_create": 100, "update of 100": 100, "delete of 100": 100}


def one_writer(run: Run) -> None:
    """Each way to write, a hundred writes in a transaction, and each in its own."""
    with several(run.kind, "hub") as (hub,):
        for commit, how in (("batch", "a hundred in a transaction"), ("each", "each in its own transaction")):
            rows = run.writes if commit == "batch" else max(100, run.writes // 5)
            _note(run, f"One writer, {how}", "writes", hub.do("writes", rows=rows, commit=commit)["seconds"], rows)


def eight_writers(run: Run) -> None:
    """Eight processes that write at once, into the same tables of one server."""
    if run.kind != "postgresql":
        return
    with several(run.kind, "hub") as (hub,):
        writers = [Node("hub", run.kind, Path(), database=hub.database) for _ in range(WRITERS)]
        rows = max(100, run.writes // 5)
        try:
            for number, writer in enumerate(writers):
                writer.begin("writes", rows=rows, commit="each", salt=number + 1)
            answers = [writer.answer()["seconds"] for writer in writers]
        finally:
            for writer in writers:
                writer.end()
    found = {name: sum(answer[name] for answer in answers) for name in answers[0]}
    _note(run, f"{WRITERS} writers, each write in its own transaction", "writers", found, rows * WRITERS)


def _note(run: Run, title: str, name: str, found: dict[str, float], rows: int) -> None:
    case = run.case(name, title)
    for what in (name.removesuffix(" captured") for name in found if name.endswith(" captured")):
        captured, plain = found[f"{what} captured"], found[f"{what} plain"]
        case.note(what, "captured, µs a row", captured / rows * 1e6)
        case.note(what, "plain, µs a row", plain / rows * 1e6)
        case.note(what, "/ plain", captured / plain)
        case.note(what, "goal", GOALS.get(what.split()[0], ("", ""))[run.kind == "postgresql"])
