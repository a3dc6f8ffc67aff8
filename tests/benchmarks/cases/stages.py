"""A first pull, stage by stage."""

from __future__ import annotations

from tests.benchmarks.cases.run import Run
from tests.benchmarks.nodes import pair, session


def profile(run: Run) -> None:
    """Where each side's time goes. The timers themselves cost less than one part in a hundred."""
    rows = max(run.sizes)
    for shape in run.shapes[:1]:
        case = run.figures.case("profile", f"A first pull of {rows:,} rows by stage ({shape})")
        with pair(run.kind, reversion=shape == "history") as (hub, edge):
            hub.do("fill", rows=rows, shape=shape)
            for node in (hub, edge):
                node.do("profile_stages")
                node.do("stages")
            report = session(hub, edge)
            found = {"hub": hub.do("stages")["stages"], "edge": edge.do("stages")["stages"]}
        for stage in found["hub"]:
            for side, spent in found.items():
                wall, cpu = spent[stage]
                case.note(stage, f"{side}, µs a row", wall / rows * 1e6)
                case.note(stage, "of it CPU" + " " * (side == "edge"), cpu / rows * 1e6)
        case.note("all", "hub, µs a row", sum(wall for wall, _ in found["hub"].values()) / rows * 1e6)
        case.note("all", "of it CPU", sum(cpu for _, cpu in found["hub"].values()) / rows * 1e6)
        case.note("all", "edge, µs a row", report["seconds"] / rows * 1e6)
        case.note("all", "of it CPU ", sum(cpu for _, cpu in found["edge"].values()) / rows * 1e6)
