"""What was measured: a table for each case, rows by rows and columns by columns, and every run kept."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

Cell = list[float] | str


@dataclass
class Case:
    """The figures of one case. Each cell has the values of all runs, or a text such as a goal."""

    title: str
    command: str
    rows: dict[str, dict[str, Cell]] = field(default_factory=dict)

    def note(self, row: str, column: str, value: float | str) -> None:
        """One more run's `value`, or a text."""
        cells = self.rows.setdefault(row, {})
        if isinstance(value, str):
            cells[column] = value
        else:
            values = cells.setdefault(column, [])
            assert isinstance(values, list)
            values.append(value)

    @property
    def columns(self) -> list[str]:
        """In the order in which they came, texts last."""
        found = dict.fromkeys(column for cells in self.rows.values() for column in cells)
        texts = {column for cells in self.rows.values() for column, cell in cells.items() if isinstance(cell, str)}
        return [c for c in found if c not in texts] + [c for c in found if c in texts]

    def lines(self) -> list[list[str]]:
        """The table's rows as text."""
        columns = self.columns
        return [[name, *(shown(cells.get(column, "")) for column in columns)] for name, cells in self.rows.items()]

    def table(self) -> Table:
        """For a terminal."""
        table = Table("", *self.columns)
        for column in table.columns[1:]:
            column.justify = "right"
        for line in self.lines():
            table.add_row(*line)
        return table

    def markdown(self) -> str:
        """For docs/performance.md."""
        columns = self.columns
        head = f"| | {' | '.join(columns)} |\n| --- |{' --: |' * len(columns)}\n"
        body = "".join(f"| {' | '.join(line)} |\n" for line in self.lines())
        return f"### {self.title}\n\n`{self.command}`\n\n{head}{body}"


def shown(cell: Cell) -> str:
    """The median, and the spread where there were several runs."""
    if isinstance(cell, str):
        return cell
    middle = number(statistics.median(cell))
    least, most = number(min(cell)), number(max(cell))
    return middle if least == most else f"{middle} ({least} to {most})"


def number(value: float) -> str:
    """Three digits that say something, and no more."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}" if abs(value) >= 0.01 else f"{value:.4f}"


class Figures:
    """The cases of one kind of database, by title."""

    def __init__(self, command: str = "") -> None:
        self.command = command
        self.cases: dict[str, Case] = {}

    def case(self, name: str, title: str) -> Case:
        """The case `title`, which the option ``--only NAME`` measures again."""
        return self.cases.setdefault(title, Case(title, f"{self.command} --only {name}"))

    def as_dict(self) -> dict[str, Any]:
        return {title: {"command": case.command, "rows": case.rows} for title, case in self.cases.items()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Figures:
        figures = cls()
        for title, case in saved.items():
            figures.cases[title] = Case(title, case["command"], case["rows"])
        return figures


@dataclass
class Report:
    """The figures of all kinds of database, and on what they were taken."""

    figures: dict[str, Figures] = field(default_factory=dict)
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, file: str) -> None:
        tables = {kind: figures.as_dict() for kind, figures in self.figures.items()}
        report = {"machines": self.machines, "databases": tables}
        Path(file).write_text(json.dumps(report, indent=1, ensure_ascii=False))

    @classmethod
    def read(cls, file: str) -> Report:
        """The inverse of `write`."""
        saved = json.loads(Path(file).read_text())
        figures = {kind: Figures.from_dict(tables) for kind, tables in saved["databases"].items()}
        return cls(figures, saved["machines"])


def comparison(saved: Figures, now: Figures) -> Table:
    """The medians of two runs beside each other, where both have the figure."""
    table = Table(
        "case", "", "figure", "saved", "now", "now / saved", title="Against the saved run", show_lines=False
    )
    for title, case in now.cases.items():
        before = saved.cases.get(title)
        for row, cells in case.rows.items():
            for column, cell in cells.items():
                old = before.rows.get(row, {}).get(column) if before else None
                if not (isinstance(old, list) and isinstance(cell, list) and old and cell):
                    continue
                then, this = statistics.median(old), statistics.median(cell)
                ratio = f"{this / then:.2f}" if then else ""
                apart = min(cell) > max(old) or max(cell) < min(old)
                mark = " *" if apart and then and not 0.95 < this / then < 1.05 else ""
                table.add_row(title, row, column, number(then), number(this), ratio + mark)
    table.caption = "* the runs do not overlap"
    return table


def insert(file: Path, name: str, text: str) -> None:
    """Put `text` into a page of the docs, between the lines ``% begin NAME`` and ``% end NAME``."""
    page = file.read_text()
    between = re.compile(rf"(^% begin {re.escape(name)}\n).*?(^% end {re.escape(name)}$)", re.MULTILINE | re.DOTALL)
    if not between.search(page):
        raise SystemExit(f"{file} has no lines '% begin {name}' and '% end {name}'.")
    file.write_text(between.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page))
