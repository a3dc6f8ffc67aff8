"""What a database does not do at once, or not at all: tried again within bounds, and then said in one sentence."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from handleref_sync.capture import schema
from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import DatabaseFailed

RETRIES = 4
"""How often a transaction is tried again in whose way another one was."""
PATIENCE = 30.0
"""Seconds after which no further try begins: each may have waited for a lock as long as the database lets it."""

T = TypeVar("T")


def again(using: str, work: Callable[[], T]) -> T:
    """The result of `work`, one transaction; again, with jitter, where a deadlock or a lock has cost it."""
    connection = connections[using]
    begun = time.monotonic()
    for attempt in range(RETRIES):
        try:
            return work()
        except OperationalError as error:
            # Inside a transaction of the caller's there is nothing to be had by another try.
            if connection.in_atomic_block or not vendor_for(connection).lost_transaction(error):
                raise
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
    return work()


@contextmanager
def said(using: str) -> Iterator[None]:
    """Raise DatabaseFailed for what a database says of itself, and leave a connection that can be used again.

    Or NotInstalled, where a table or column is missing. What speaks of the statement instead of the database is a
    flaw of ours, and stays what it is.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        if not connections[using].in_atomic_block and (why := schema.why(using)) is not None:
            raise why from error
        if type(error) not in (DatabaseError, OperationalError, InterfaceError):
            raise
        raise failure(using, error) from error


def failure(using: str, error: Exception) -> DatabaseFailed:
    """`error` of the database `using` for a person."""
    connection = connections[using]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    words = " ".join(str(error.args[-1] if error.args else error).split()).rstrip(".")
    return DatabaseFailed(
        f"The database of {settings.node or 'this node'} {vendor_for(connection).trouble(error)}.",
        hint="Nothing is lost: see to it, and sync again.",
        detail=words[:300],
    )
