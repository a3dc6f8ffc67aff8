"""A progress bar on a person's terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from handleref_sync import session


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[session.Progress]:
    """Give what a round tells of its progress to. On standard error, and only on a terminal: logs stay clean."""
    console = Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def told(phase: str, done: int, behind: int) -> None:
            bar.update(task, description=f"{name}: {phase}", completed=done, total=done + behind)

        yield told
