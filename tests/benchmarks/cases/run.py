"""What a case gets told: which database, how much, and where its figures go."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.figures import Case, Figures


@dataclass(frozen=True)
class Run:
    """One run of the cases on one kind of database."""

    kind: str
    figures: Figures
    sizes: tuple[int, ...]
    """Rows of the first pulls and pushes."""
    shapes: tuple[str, ...]
    all_shapes: bool
    """Whether a million rows are measured of each shape."""
    rows: int
    """Rows of the large database in which little changes."""
    some: int
    """Conflicts, deletions, and rows that go over the slow link."""
    writes: int
    seconds: float
    """How long the edges work on the hub."""
    edges: tuple[int, ...]
    models: tuple[int, ...]
    nodes: tuple[int, ...]

    peer_rows: int
    """Rows beside other libraries; 0: those are not measured."""

    def case(self, name: str, title: str) -> Case:
        return self.figures.case(name, title)
