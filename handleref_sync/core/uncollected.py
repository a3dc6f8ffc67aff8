"""Python's collector of cycles, paused while the many small objects of a page are made.

Each few hundred new objects it looks through the young ones, and at times through all that live, for cycles to which
nobody refers any more. A page is made of tens of thousands of objects without a cycle, and a fifth of the time went
there. What is not in a cycle is freed as ever.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the collector. It is one for all threads, so that it may come back before the last of them is done."""
    if not gc.isenabled():  # by another page's work, or because the application wants it so
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
