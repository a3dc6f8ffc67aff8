"""``python -m tests.simulation``: histories of fresh seeds, or of one; a failure prints its seed."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import sys
import time
import traceback
from collections import Counter
from typing import Any

MOST = 8
"""Nodes of a history on a server, where each needs a database: what has more is left out."""


def main() -> int:
    """Exit status 1 where a history broke something."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="so many histories of fresh seeds")
    parser.add_argument("--seed", type=int, action="append", help="the history of this seed (may be repeated)")
    parser.add_argument("--first", type=int, metavar="S", help="seeds from this one on, instead of fresh ones")
    parser.add_argument("--seconds", type=float, help="as long as this, instead of a number of seeds")
    parser.add_argument("--until-failure", action="store_true", help="until one breaks something")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="sqlite")
    parser.add_argument("--nodes", type=int, help="so many nodes in each history")
    parser.add_argument("--shrink", action=argparse.BooleanOptionalAction, default=True, help="shorten what fails")
    parser.add_argument("--digest", action="store_true", help="print what each history ends with, in a word")
    parser.add_argument("--steps", action="store_true", help="print each history")
    options = parser.parse_args()
    if options.database == "mariadb":
        import pymysql

        pymysql.install_as_MySQLdb()  # as in the tests' settings
    _start()
    if options.database == "sqlite":
        return _run(options)
    from tests.simulation.servers import STORES

    store = STORES[options.database]()
    try:
        return _run(options, store)
    finally:
        store.end()


def _start() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    logging.disable(logging.CRITICAL)  # a parked change is logged, and here there are thousands
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _seeds(options: argparse.Namespace) -> list[int] | range:
    if options.seed:
        return list(options.seed)
    first = random.SystemRandom().randrange(1 << 40) if options.first is None else options.first
    endless = options.until_failure or options.seconds
    return range(first, first + (1 << 40 if endless else options.seeds))


def _run(options: argparse.Namespace, store: Any = None) -> int:
    from tests.simulation.generate import generate
    from tests.simulation.play import play
    from tests.simulation.shrink import shrink

    total: Counter[str] = Counter()
    failed: list[int] = []
    started = time.monotonic()
    played = 0
    for seed in _seeds(options):
        if options.seconds and time.monotonic() - started > options.seconds:
            break
        history = generate(seed, options.nodes)
        if store is not None and len(history.nodes) > MOST:
            continue
        if options.steps:
            print(history)
        result = play(history, store)
        played += 1
        if options.digest:
            print(seed, result.digest)
        total += result.count
        total["steps"] += len(history.steps)
        total["nodes"] += len(history.nodes)
        if result.broken:
            failed.append(seed)
            print(f"\nseed {seed} breaks: {result.broken}", flush=True)
            if result.error is not None:
                traceback.print_exception(result.error, limit=-6)
            if options.shrink and store is None:
                print(shrink(history, result.kind), flush=True)
            print(f"again: python -m tests.simulation --database {options.database} --seed {seed}", flush=True)
            if options.until_failure:
                break
    for name, number in sorted(total.items()):
        print(f"{number:>9,} {name}")
    print(f"{played} histories in {time.monotonic() - started:.0f} s, {len(failed)} broken {failed or ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
