"""Applications that write while syncs run, and how long each of their writes takes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from tests.faults import books

GIVES_WAY = {"s": (), "p": (), "m": (1213, 1467)}
"""By kind: errors that an application has to expect of its database whoever else writes, and after which it begins
anew. InnoDB takes back the transaction that has written the least, so where the applier waits too it is ours. Where
it waits for the next number of a table, it says 1467 instead."""


class Rollback(Exception):
    """The application thinks better of it."""


class Writer(threading.Thread):
    """Runs `work(execute, rng)` as one transaction after the other until it is told to stop."""

    def __init__(self, site, work: Callable, seed=0, pause=0.005) -> None:
        super().__init__(daemon=True)
        self.site, self.work, self.rng, self.pause = site, work, random.Random(seed), pause
        self.waits: list[float] = []
        """Seconds from BEGIN to the end of COMMIT, without what the application itself did in between."""
        self.gave_way = 0
        self.wrote: list[str] = []
        """What the transaction that is open has noted as written by it."""
        self.committed: list[str] = []
        self.errors: list[BaseException] = []
        self._stop_now = threading.Event()

    def run(self) -> None:
        connection = books.connect(self.site, patience=60)
        begin = "BEGIN IMMEDIATE" if self.site.kind == "s" else "BEGIN"
        if self.site.kind == "m":
            # As Django does. By itself MariaDB lets an UPDATE wait for every row that it looks at, perhaps in vain.
            books.run(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        try:
            while not self._stop_now.is_set():
                self.slept, self.wrote = 0.0, []
                started = time.monotonic()
                try:
                    books.run(connection, begin)
                    self.work(lambda sql: books.run(connection, sql), self)
                    books.run(connection, "COMMIT")
                    self.committed += self.wrote
                except Rollback:
                    books.run(connection, "ROLLBACK")
                except Exception as error:
                    if not error.args or error.args[0] not in GIVES_WAY[self.site.kind]:
                        raise
                    self.gave_way += 1
                    books.run(connection, "ROLLBACK")
                self.waits.append(time.monotonic() - started - self.slept)
                time.sleep(self.pause * self.rng.random() * 2)
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.close()

    def sleep(self, seconds: float) -> None:
        """The application takes its time within a transaction."""
        started = time.monotonic()
        time.sleep(seconds)
        self.slept += time.monotonic() - started

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self._stop_now.set()
        self.join(120)
        assert not self.is_alive(), "the application's write hangs"
        assert not self.errors, self.errors


def of(*writers) -> str:
    """What is told of writers: how many writes, the longest wait, and the median."""
    waits = sorted(wait for writer in writers for wait in writer.waits)
    gave_way = sum(writer.gave_way for writer in writers)
    again = f", {gave_way} begun anew after a deadlock" if gave_way else ""
    return (
        f"{len(waits)} writes of the application{again}, longest wait {waits[-1]:.2f} s, "
        f"median {waits[len(waits) // 2] * 1000:.0f} ms"
    )
