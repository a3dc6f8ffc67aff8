"""The shortest history that still breaks the same guarantee: delta debugging on the steps, then fewer nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.simulation.play import play
from tests.simulation.steps import History, Step, Sync


def shrink(history: History, kind: str, seconds: float = 120, told: Callable[[str], Any] = print) -> History:
    """Make `history` shorter while it breaks `kind`, for at most so many seconds."""
    until = time.monotonic() + seconds

    def fails(candidate: History) -> bool:
        return time.monotonic() < until and play(candidate).kind == kind

    before = None
    while before != history and time.monotonic() < until:
        before = history
        for simpler in (_fewer_nodes, _plainer_heal):  # what makes all further plays cheap comes first
            history = _first(history, simpler, fails)
        history = _fewer_steps(history, fails)
        history = _first(history, _plainer_steps, fails)
        told(f"shrunk to {len(history.steps)} steps of {len(history.nodes)} nodes")
    return history


def _first(
    history: History, simpler: Callable[[History], Iterator[History]], fails: Callable[[History], bool]
) -> History:
    found: History | None = history
    while found is not None:
        history = found
        found = next(filter(fails, simpler(history)), None)
    return history


def _fewer_steps(history: History, fails: Callable[[History], bool]) -> History:
    size = max(1, len(history.steps) // 2)
    while True:
        start = 0
        while start < len(history.steps):
            fewer = replace(history, steps=history.steps[:start] + history.steps[start + size :])
            if fails(fewer):
                history = fewer
            else:
                start += size
        if size == 1:
            return history
        size = max(1, size // 2)


def _fewer_nodes(history: History) -> Iterator[History]:
    for name in reversed(history.nodes):
        if len(history.nodes) > 2:
            nodes = tuple(other for other in history.nodes if other != name)
            links = tuple(pair for pair in history.links if name not in pair)
            yield replace(history, nodes=nodes, links=links, late=tuple(n for n in history.late if n != name))


def _plainer_heal(history: History) -> Iterator[History]:
    if history.late:
        yield replace(history, late=())
    if history.shape != "chain":
        yield replace(history, shape="chain")


def _plainer_steps(history: History) -> Iterator[History]:
    for number, step in enumerate(history.steps):
        for plainer in _plainer(step):
            yield replace(history, steps=(*history.steps[:number], plainer, *history.steps[number + 1 :]))


def _plainer(step: Step) -> Iterator[Step]:
    if not isinstance(step, Sync):
        return
    plain = Sync(step.here, step.there)
    if step != plain:
        yield plain
    for field in ("crash", "rows", "eager", "faults", "meanwhile"):
        if getattr(step, field) != getattr(plain, field):
            yield replace(step, **{field: getattr(plain, field)})
    for number in range(len(step.meanwhile)):
        if len(step.meanwhile) > 1:
            yield replace(step, meanwhile=step.meanwhile[:number] + step.meanwhile[number + 1 :])
        for inner in _plainer(step.meanwhile[number].step):
            at = replace(step.meanwhile[number], step=inner)
            yield replace(step, meanwhile=(*step.meanwhile[:number], at, *step.meanwhile[number + 1 :]))
