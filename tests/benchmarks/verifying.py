"""What a comparison of two nodes costs: ``python -m tests.benchmarks.verifying --rows N``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.__main__ import pair

COUNTS = (0, 1, 10, 100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verifying", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--json", metavar="FILE", help="write what was found there as well")
    options = parser.parse_args()
    table = Table("differences", "found", "requests", "bytes", "seconds", "MiB of the hub", "MiB of the edge")
    results = []
    with pair(options.database) as (hub, edge):
        for start in range(0, options.rows, 50_000):  # the rows are made in memory before they are written
            hub.do("fill", rows=min(50_000, options.rows - start), start=start)
        pulled = edge.do("sync")
        assert pulled["pulled"] == options.rows, pulled
        before = (hub.do("memory")["mib"], edge.do("memory")["mib"])
        for count in COUNTS:
            edge.do("spoil", rows=count)
            found = edge.do("verify")
            assert found["differences"] == count, found
            results.append({"rows": options.rows, **found, "floor": pulled})
            memory = [f"{node.do('memory')['mib'] - was:+.0f}" for node, was in zip((hub, edge), before, strict=True)]
            table.add_row(
                str(count),
                str(found["differences"]),
                str(found["requests"]),
                f"{found['bytes']:,}",
                f"{found['seconds']:.2f}",
                *memory,
            )
    title = f"\n{options.database}, {options.rows:,} rows; the first pull took {pulled['bytes']:,} bytes and"
    Console(width=110).print(f"{title} {pulled['seconds']:.1f} s; MiB: peak over that of the pull", table)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
