"""The processes of a benchmark: each a node, or a floor, with a database of its own."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import databases


class NodeFailed(Exception):
    """What a node was told to do went wrong there."""


class Process:
    """A process that is told what to do, and answers, in lines of JSON."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What it answers. Raises NodeFailed with its traceback."""
        self.begin(command, **arguments)
        return self.answer()

    def begin(self, command: str, **arguments: Any) -> None:
        """The first half of `do`, so that several can work at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise NodeFailed("the process ended")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise NodeFailed(answer["failed"])
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Node(Process):
    """A node of ours, and a database that is new, or `database`, which is another one's already."""

    def __init__(
        self, name: str, kind: str, home: Path, *, database: str = "", models: int = 0, reversion: bool = False
    ) -> None:
        self.kind = kind
        self._own = not database
        template = _template(kind, models, reversion) if self._own and name and kind != "mariadb" else ""
        self.database = database or databases.new(kind, home, template)
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "BENCH_NODE": name,
            "BENCH_KIND": kind,
            "BENCH_NAME": self.database,
            "BENCH_MODELS": str(models),
            "BENCH_REVERSION": "1" if reversion else "",
        }
        super().__init__([sys.executable, "-m", "tests.benchmarks.node"], environment)
        if self._own and not template:
            self.do("migrate")
        self.key = self.do("setup")["key"] if self._own and name else ""

    def end(self) -> None:
        super().end()
        if self._own:
            databases.drop(self.kind, self.database)


_templates: dict[tuple[str, int, bool], str] = {}


def _template(kind: str, models: int, reversion: bool) -> str:
    """A database with all tables that is no node: to copy it takes less long than to migrate."""
    made = _templates.get((kind, models, reversion))
    if made is None:
        home = tempfile.TemporaryDirectory(prefix="handleref-bench-")
        node = Node("", kind, Path(home.name), models=models, reversion=reversion)
        node._own = False
        node.end()
        made = _templates[kind, models, reversion] = node.database
        atexit.register(home.cleanup)
        atexit.register(databases.drop, kind, made)
    return made


@contextmanager
def several(kind: str, *names: str, **options: Any) -> Iterator[list[Node]]:
    """New nodes, and nothing left of them afterwards."""
    with tempfile.TemporaryDirectory(prefix="handleref-bench-") as home:
        nodes: list[Node] = []
        try:
            for name in names:
                nodes.append(Node(name, kind, Path(home), **options))
            yield nodes
        finally:
            for node in nodes:
                node.end()


@contextmanager
def pair(kind: str, **options: Any) -> Iterator[tuple[Node, Node]]:
    """A hub that serves and an edge that calls, each new."""
    with several(kind, "hub", "edge", **options) as (hub, edge):
        join(hub, edge, hub.do("serve")["url"])
        yield hub, edge


def join(hub: Node, edge: Node, url: str) -> None:
    """Let the two know each other; the edge calls the hub at `url`."""
    hub.do("peer", name="edge", key=edge.key)
    edge.do("peer", name="hub", key=hub.key, url=url)


def session(hub: Node, edge: Node) -> dict[str, Any]:
    """One round, and what it cost each side."""
    for node in (hub, edge):
        node.do("begin")
    report = edge.do("sync")
    for name, node in (("hub", hub), ("edge", edge)):
        report[name] = node.do("ended")
    return report
