"""The benchmarks still run: every case that needs no server, with a few rows. No figure is judged."""

import json
import subprocess
import sys

from tests.benchmarks.cases import CASES
from tests.benchmarks.figures import Figures
from tests.benchmarks.node.stages import STAGES

SMALL = "--size 200 --rows 1000 --some 100 --writes 100 --models --nodes 3 --peer-rows 0"
ELSEWHERE = {"writers", "hub", "peers"}
"""Cases that need a server, or packages that are not installed here."""


def bench(*arguments):
    command = [sys.executable, "-m", "tests.benchmarks", *SMALL.split(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_case_gives_figures(tmp_path):
    file = tmp_path / "figures.json"
    said = bench("--shape", "rows", "--json", str(file))
    figures = Figures.from_dict(json.loads(file.read_text())["databases"]["sqlite"])
    measured = {case.command.rsplit(" ", 1)[1] for case in figures.cases.values()}
    assert measured == CASES.keys() - ELSEWHERE
    for title, case in figures.cases.items():
        assert title in said
        for row, cells in case.rows.items():
            numbers = [cell for cell in cells.values() if isinstance(cell, list)]
            assert numbers and all(value >= 0 for cell in numbers for value in cell), (title, row)

    again = bench("--only", "ready", "--compare", str(file))
    assert "Against the saved run" in again and "bulk_create" in again


def test_it_says_what_it_can_do():
    said = bench("--help")
    assert all(name in said for name in CASES) and "--database" in said


def test_each_stage_is_still_found():
    said = bench("--profile", "--markdown", "--shape", "history")
    for stage in STAGES:
        assert f"| {stage} |" in said
