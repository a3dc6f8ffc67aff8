"""What is measured. A case is a function of a `Run`; `CASES` names them in the order in which they are run."""

from __future__ import annotations

from tests.benchmarks.cases.run import Run

__all__ = ["CASES", "Run"]

from tests.benchmarks.cases import changes, growth, hub, link, peers, pulls, stamping, writing

CASES = {
    "pull": pulls.pull,
    "push": pulls.push,
    "changes": changes.changes,
    "conflicts": changes.conflicts,
    "tombstones": changes.tombstones,
    "stamping": stamping.existing,
    "ready": stamping.ready_to_ship,
    "writes": writing.one_writer,
    "writers": writing.eight_writers,
    "hub": hub.edges_at_once,
    "link": link.slow_link,
    "idle": growth.nothing_to_do,
    "memory": growth.memory,
    "peers": peers.side_by_side,
}
