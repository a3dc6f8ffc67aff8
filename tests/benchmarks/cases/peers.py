"""The same rows by other libraries, at their defaults and tuned, beside ours in the same run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import Process, pair
from tests.benchmarks.peers import installing

HERE = Path(__file__).resolve().parents[1] / "peers"
IDLE, CHANGED = 2, 1000
Pull = Callable[[], dict[str, Any]]


@contextmanager
def ours(run: Run) -> Iterator[tuple[Any, Pull]]:
    with pair("sqlite") as (hub, edge):
        yield hub, lambda: (lambda report: {**report, "rows": report["pulled"]})(edge.do("sync"))


@contextmanager
def morango(run: Run, tuned: bool) -> Iterator[tuple[Any, Pull]]:
    """Tuned: pages of 5,000 instead of 500, and SQLite's journal as ours has it."""
    python = str(installing.morango())
    with _processes([python, "node.py"], HERE / "morango", {"BENCH_TUNED": "1" if tuned else ""}) as (hub, edge):
        for each in (hub, edge):
            each.do("setup")
        edge.do("take", **hub.do("certify"), **hub.do("serve"), chunk=5000 if tuned else 500)
        yield hub, lambda: edge.do("pull")


@contextmanager
def pouchdb(run: Run, tuned: bool) -> Iterator[tuple[Any, Pull]]:
    """Tuned: batches of 1,000 instead of 100, of which the tries of 500 to 5,000 differed little."""
    modules = {"NODE_PATH": str(installing.pouchdb() / "node_modules")}
    options = {"batch_size": 1000, "batches_limit": 10} if tuned else {}
    with _processes(["node", str(HERE / "pouchdb" / "node.js")], None, modules) as (hub, edge):
        url = hub.do("serve")["url"]
        edge.do("setup")
        yield hub, lambda: edge.do("pull", url=url, options=options)


@contextmanager
def _processes(command: list[str], folder: Path | None, environment: dict[str, str]) -> Iterator[list[Process]]:
    with tempfile.TemporaryDirectory(prefix="handleref-bench-") as home:
        made: list[Process] = []
        try:
            for name in ("hub", "edge"):
                place = Path(home) / name
                place.mkdir()
                own = {"BENCH_HOME": str(place), "BENCH_NAME": str(place / "db.sqlite3"), "MORANGO_NODE_ID": name}
                made.append(Process(command, {**environment, **own}, folder or place))
            yield made
        finally:
            for process in made:
                process.end()


def side_by_side(run: Run) -> None:
    """A first pull, nothing to do, and a thousand changes, over HTTP on loopback; start-up is not in it."""
    rows = run.peer_rows
    if run.kind != "sqlite" or not rows:
        return
    case = run.case("peers", f"Beside other libraries, {rows:,} rows")
    contestants: dict[str, Callable[[], Any]] = {
        "handleref_sync": lambda: ours(run),
        "PouchDB 9": lambda: pouchdb(run, False),
        "PouchDB 9, tuned": lambda: pouchdb(run, True),
        "Morango 0.8.15": lambda: morango(run, False),
        "Morango 0.8.15, tuned": lambda: morango(run, True),
    }
    first: dict[str, float] = {}
    for name, contestant in contestants.items():
        try:
            with contestant() as (hub, pull):
                hub.do("fill", rows=rows)
                found = {"first pull": pull()}
                idle = min((pull() for _ in range(IDLE)), key=lambda report: report["seconds"])
                hub.do("touch", rows=min(CHANGED, rows))
                found["nothing to do"], found["1,000 changes"] = idle, pull()
        except installing.Unavailable as error:
            case.note(name, "not measured", str(error))
            print(f"{name} is left out: {error}", flush=True)
            continue
        expected = (rows, 0, min(CHANGED, rows))
        assert tuple(report["rows"] for report in found.values()) == expected, (name, found)
        for figure, report in found.items():
            ours_took = first.setdefault(figure, report["seconds"])
            case.note(name, f"{figure}, s", report["seconds"])
            case.note(name, f"{figure} / ours", report["seconds"] / ours_took)
        if "bytes" in found["first pull"]:
            case.note(name, "bytes a row", found["first pull"]["bytes"] / rows)
