"""The figures of the library, each beside its floor from the same run: ``python -m tests.benchmarks --help``.

Without arguments: every case, small enough for a few minutes. ``--full`` is what docs/performance.md is made of.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import databases
from tests.benchmarks.cases import CASES, Run
from tests.benchmarks.cases.stages import profile
from tests.benchmarks.figures import Figures, Report, comparison, insert
from tests.benchmarks.nodes import several

SHAPES = ("rows", "narrow", "wide", "foreign keys", "origin keys", "history")
QUICK: dict[str, Any] = {
    "size": [10_000],
    "rows": 50_000,
    "some": 5000,
    "writes": 1000,
    "seconds": 4.0,
    "edges": [1, 10],
    "models": [100],
    "nodes": [1000],
    "peer_rows": 1000,
    "repeat": 1,
}
FULL: dict[str, Any] = {
    "size": [10_000, 100_000, 1_000_000],
    "rows": 1_000_000,
    "some": 10_000,
    "writes": 5000,
    "seconds": 20.0,
    "edges": [1, 10, 50],
    "models": [10, 50, 200],
    "nodes": [10, 100, 1000],
    "peer_rows": 50_000,
    "repeat": 3,
}


KNOWN = {**CASES, "profile": profile}


def main() -> int:
    options = parse()
    began = time.monotonic()
    if options.saved:
        found, failures = Report.read(options.saved), 0
    else:
        found, failures = measure(options)
    show(options, found)
    if options.json:
        found.write(options.json)
    print(f"{time.monotonic() - began:.0f} s, {failures} failed", file=sys.stderr)
    return min(failures, 1)


def measure(options: argparse.Namespace) -> tuple[Report, int]:
    """What was found, and how many cases failed."""
    chosen = {name: case for name, case in KNOWN.items() if name in options.only}
    found, failures = Report(), 0
    for kind in options.database:
        figures = found.figures[kind] = Figures(command(options, kind))
        found.machines[kind] = machine(kind)
        # One run of all cases after the other, so that the machine's moods hit all of them.
        for number in range(options.repeat):
            run = run_of(options, kind, figures)
            for name, case in chosen.items():
                started = time.monotonic()
                try:
                    case(run)
                except Exception as error:  # the other cases have nothing to do with it
                    failures += 1
                    traceback.print_exception(error)
                print(f"{kind}, run {number + 1}, {name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return found, failures


def show(options: argparse.Namespace, found: Report) -> None:
    """As tables on the terminal, or as Markdown, there or in a page of the docs."""
    console = Console(width=options.width)
    saved = Report.read(options.compare).figures if options.compare else {}
    for kind, figures in found.figures.items():
        about = found.machines[kind]
        if options.markdown or options.into:
            on = f"{about['database']}, Python {about['python']}, Django {about['django']}, {about['cores']} cores."
            text = "\n".join((f"{on}\n", *(case.markdown() for case in figures.cases.values())))
            if options.into:
                insert(
                    Path(options.into), f"{'profile' if options.only == ['profile'] else 'figures'} of {kind}", text
                )
            else:
                print(text)
            continue
        console.print(f"\n{kind}: " + ", ".join(f"{name} {value}" for name, value in about.items()))
        for case in figures.cases.values():
            console.print(f"\n[bold]{case.title}[/bold]\n{case.command}", case.table(), sep="\n", highlight=False)
        if kind in saved:
            console.print("", comparison(saved[kind], figures))


def run_of(options: argparse.Namespace, kind: str, figures: Figures) -> Run:
    """One run as the options have it."""
    return Run(
        kind=kind,
        figures=figures,
        sizes=tuple(options.size),
        shapes=tuple(options.shape or SHAPES),
        all_shapes=bool(options.shape),
        rows=options.rows,
        some=options.some,
        writes=options.writes,
        seconds=options.seconds,
        edges=tuple(options.edges),
        models=tuple(options.models),
        nodes=tuple(options.nodes),
        peer_rows=options.peer_rows,
    )


def command(options: argparse.Namespace, kind: str) -> str:
    """What measures the same again, but for the case."""
    ordinary = FULL if options.full else QUICK
    said = [f"--database {kind}"]
    if options.full:
        said.append("--full")
    for name in ("shape", "size", *FULL):
        value = getattr(options, name)
        usual = None if name == "shape" else ordinary[name]
        by_rows = name == "size" and value == [options.rows] and options.rows != ordinary["rows"]
        if value != usual and not by_rows:
            values = value if isinstance(value, list) else [value]
            said.append(
                f"--{name.replace('_', '-')} " + " ".join(f'"{v}"' if " " in str(v) else str(v) for v in values)
            )
    return " ".join(("python -m tests.benchmarks", *dict.fromkeys(said)))


def machine(kind: str) -> dict[str, Any]:
    with several(kind, "hub") as (node,):
        return node.do("machine")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--full", action="store_true", help="up to a million rows, three runs; takes hours")
    add("--database", choices=databases.KINDS, action="append", help="may be given several times (default: sqlite)")
    add("--only", choices=list(KNOWN), action="append", help="this case; may be given several times (default: all)")
    add("--profile", dest="only", action="append_const", const="profile", help="a first pull, stage by stage")
    add(
        "--shape",
        choices=SHAPES,
        nargs="+",
        help="of the rows of pull, push and --profile (default: all; of a million rows the first)",
    )
    add("--size", type=int, nargs="+", help="rows of pull, push and --profile")
    add("--rows", type=int, help="rows of the cases in which little changes in much; alone, of pull and push too")
    add("--some", type=int, help="conflicts, deletions, and rows over the slow link")
    add("--writes", type=int, help="rows of the cases about writes")
    add("--seconds", type=float, help="how long the edges work on the hub")
    add("--edges", type=int, nargs="*", help="edges at once on the hub")
    add("--models", type=int, nargs="*", help="more models than the bench's own")
    add("--nodes", type=int, nargs="*", help="more nodes in the vector")
    add("--peer-rows", type=int, help="rows beside other libraries, which are installed for it; 0: not")
    add("--repeat", type=int, help="runs, of which the tables give the median, the least and the most")
    add("--json", metavar="FILE", help="keep every value there")
    add("--from", dest="saved", metavar="FILE", help="measure nothing: show what --json kept there")
    add("--into", metavar="FILE", help="put the tables into this page, from '%% begin figures of KIND' to the end")
    add("--compare", metavar="FILE", help="a run that was kept by --json")
    add("--markdown", action="store_true", help="print the tables as docs/performance.md has them")
    add("--width", type=int, default=230, help="columns of the terminal")
    options = parser.parse_args(arguments)
    if options.rows and not options.size:
        options.size = [options.rows]
    for name, value in (FULL if options.full else QUICK).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.database = options.database or ["sqlite"]
    options.only = options.only or list(CASES)
    return options


if __name__ == "__main__":
    sys.exit(main())
