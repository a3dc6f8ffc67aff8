"""A thin link with a long way: how near a session comes to what the link itself allows."""

from __future__ import annotations

from tests.benchmarks.cases.changes import settle
from tests.benchmarks.cases.run import Run
from tests.benchmarks.link_proxy import Link
from tests.benchmarks.nodes import join, several

DELAY, RATE = 0.1, 1_000_000
"""200 ms there and back, 1 Mbit/s."""


def slow_link(run: Run) -> None:
    """A first pull, a first push, a thousand changes, one, and none."""
    rows = run.some
    case = run.case("link", "A link of 200 ms round trip and 1 Mbit/s")
    with several(run.kind, "hub", "edge") as (hub, edge):
        link = Link(hub.do("serve")["port"], DELAY, RATE)
        try:
            join(hub, edge, f"http://127.0.0.1:{link.port}/sync/")

            def measured(what: str) -> None:
                link.reset()
                report = edge.do("sync")
                case.note(what, "seconds", report["seconds"])
                case.note(what, "the link's own, s", link.least(report["trips"]))
                case.note(what, "its bytes alone, s", link.least(0))
                case.note(what, "share of the link's own", link.least(report["trips"]) / report["seconds"])
                case.note(what, "round trips", report["trips"])
                case.note(what, "KiB", sum(link.passed.values()) / 1024)

            hub.do("fill", rows=rows)
            measured(f"first pull of {rows:,} rows")
            edge.do("fill", rows=rows, start=rows)
            measured(f"first push of {rows:,} rows")
            settle(hub, edge)
            hub.do("touch", rows=1000)
            measured("1,000 changes pulled")
            hub.do("touch", rows=1)
            measured("1 change pulled")
            measured("nothing")
        finally:
            link.close()
