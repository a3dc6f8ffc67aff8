"""What a node can say of itself: statements, CPU time, peak memory, bytes on disk, and what it runs on."""

from __future__ import annotations

import os
import platform
import resource
import time
from contextlib import suppress
from typing import Any

import django
from django.db import connection
from django.db.backends.signals import connection_created

from tests.benchmarks.app.models import SHAPES

_statements = 0


def count_statements() -> None:
    """Count what goes to the database from now on; many rows by one `executemany`, or by COPY, are one statement."""

    def note(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        global _statements
        _statements += 1
        return execute(sql, params, many, context)

    def connected(connection: Any, **kwargs: Any) -> None:
        if note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    connection_created.connect(connected, weak=False)
    for_copy(note)


def for_copy(note: Any) -> None:
    """COPY does not pass by Django's wrappers."""
    if connection.vendor == "postgresql":
        import psycopg

        copy = psycopg.Cursor.copy

        def counted(self: Any, statement: Any, *args: Any, **kwargs: Any) -> Any:
            return note(lambda *_: copy(self, statement, *args, **kwargs), statement, None, False, None)

        psycopg.Cursor.copy = counted  # type: ignore[method-assign]


def begin() -> dict[str, Any]:
    """Count, and take the peak of memory, from here on."""
    global _statements
    _statements = 0
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    _begun["cpu"] = time.process_time()
    return {}


_begun = {"cpu": 0.0}


def ended() -> dict[str, Any]:
    """Statements, seconds of CPU and MiB of peak memory since `begin`."""
    return {"statements": _statements, "cpu": time.process_time() - _begun["cpu"], **memory()}


def cpu() -> dict[str, Any]:
    """CPU seconds of this process so far."""
    return {"cpu": time.process_time()}


def memory() -> dict[str, Any]:
    """Peak resident memory, in MiB, since `begin` where the system can say that."""
    with suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return {"mib": int(line.split()[1]) / 1024}
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def size(shape: str = "rows") -> dict[str, Any]:
    """Bytes on disk, indexes included, of the table and of the ledger's rows about it."""
    tables = (SHAPES[shape].model._meta.db_table, "handleref_sync_stamp")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_total_relation_size(%s), pg_total_relation_size(%s)", tables)
            table, ledger = cursor.fetchone()
        elif connection.vendor == "mysql":
            sizes = []
            for name in tables:
                cursor.execute(f"ANALYZE TABLE {name}")
                cursor.fetchall()
                cursor.execute(
                    "SELECT data_length + index_length FROM information_schema.tables "
                    "WHERE table_schema = DATABASE() AND table_name = %s",
                    [name],
                )
                sizes.append(int(cursor.fetchone()[0]))
            table, ledger = sizes
        else:
            sizes = []
            for name in tables:
                parts = "SELECT name FROM sqlite_master WHERE tbl_name = %s"
                cursor.execute(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({parts})", [name])
                sizes.append(cursor.fetchone()[0])
            table, ledger = sizes
    return {"table": table, "ledger": ledger}


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SELECT version()")
        words = str(cursor.fetchone()[0]).replace("PostgreSQL ", "").split("-")[0].split()
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}[connection.vendor]
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "django": django.__version__,
        "database": f"{name} {words[0]}",
    }
