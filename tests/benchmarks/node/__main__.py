"""Reads commands as JSON lines, answers with JSON lines. A command is a function of one of the modules here."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import django


def main() -> None:
    django.setup()
    from tests.benchmarks.node import floors, many, measures, rows, stages, states, syncing, writes

    known: dict[str, Any] = {}
    for module in (floors, many, measures, rows, stages, states, syncing, writes):
        known |= {name: value for name, value in vars(module).items() if callable(value) and name[0] != "_"}
    measures.count_statements()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = known[command.pop("do")](**command)
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
