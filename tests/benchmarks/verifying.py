"""What a comparison of two nodes costs: ``python -m tests.benchmarks.verifying --rows N``.

The rows are put in by SQL, with their stamps, alike on both sides. The floor is the CPU time that Django takes to
read all rows of one side, for each side has to read them once. CPU time, because the wall clock depends on what else
runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.nodes import pair


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verifying", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--differences", type=int, nargs="+", default=[0, 1, 10, 100])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--json", metavar="FILE", help="write what was found there as well")
    options = parser.parse_args()
    columns = ("differences", "requests", "bytes", "wall s", "CPU s of the hub", "of the edge", "/ reading all rows")
    table = Table(*columns, "peak MiB of the hub", "of the edge")
    results = []
    with pair(options.database) as nodes:
        for node in nodes:
            node.do("seed", rows=options.rows, author="hub")
        floor = nodes[1].do("read")["cpu"]
        for count in options.differences:
            nodes[1].do("spoil", rows=count)
            before = [node.do("cpu")["cpu"] for node in nodes]
            found = nodes[1].do("verify")
            assert found["differences"] == count, found
            cpu = [node.do("cpu")["cpu"] - spent for node, spent in zip(nodes, before, strict=True)]
            memory = [node.do("memory")["mib"] for node in nodes]
            results.append({"rows": options.rows, **found, "cpu": cpu, "floor": floor, "memory": memory})
            print(json.dumps(results[-1]), flush=True)
            table.add_row(
                f"{count:,}",
                f"{found['requests']:,}",
                f"{found['bytes']:,}",
                *(f"{value:.1f}" for value in (found["seconds"], *cpu, cpu[1] / floor)),
                *(f"{value:.0f}" for value in memory),
            )
    Console(width=140).print(f"\n{options.database}, {options.rows:,} rows", table)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
