"""Many edges in one process: each a SQLite database of its own, and a node of its own."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

from handleref_sync.capture import install
from handleref_sync.models import Peer
from handleref_sync.registry import forget
from handleref_sync.transport import auth
from tests.benchmarks import databases
from tests.benchmarks.app.models import Row
from tests.benchmarks.node.rows import values
from tests.benchmarks.node.syncing import sync


def make_edges(names: list[str], home: str) -> dict[str, Any]:
    """Edges, from one empty database that is migrated once; their public keys."""
    _alias("template", Path(home) / f"template-{names[0]}.sqlite3")
    call_command("migrate", database="template", verbosity=0, run_syncdb=True)
    connections["template"].close()
    keys = {}
    for name in names:
        file = Path(home) / f"{name}.sqlite3"
        shutil.copy(Path(home) / f"template-{names[0]}.sqlite3", file)
        _alias(name, file)
        forget(name)
        install.install(name, node=name)
        keys[name] = auth.identity(name).public_key.hex()
    return {"keys": keys}


def _alias(name: str, file: Path) -> None:
    connections.databases[name] = {**connections.databases["default"], **databases.django("sqlite", str(file))}


def know_hub(names: list[str], key: str, url: str) -> dict[str, Any]:
    for name in names:
        Peer.objects.using(name).create(name="hub", public_key=bytes.fromhex(key), url=url)
        sync(name)
    return {}


def sync_for(names: list[str], seconds: float, rows: int) -> dict[str, Any]:
    """Each edge, in a thread of its own: write `rows` rows, sync, and again, for so long."""
    done: list[tuple[float, int, int]] = []
    broken: list[str] = []
    until = time.monotonic() + seconds

    def edge(name: str, number: int) -> None:
        made = number * 1_000_000
        try:
            while time.monotonic() < until:
                Row.objects.using(name).bulk_create(Row(**values("rows", made + n, [])) for n in range(rows))
                made += rows
                started = time.monotonic()
                report = sync(name)
                done.append((time.monotonic() - started, report["pushed"], report["pulled"]))
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            connections[name].close()

    started = time.monotonic()
    threads = [threading.Thread(target=edge, args=(name, n)) for n, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "seconds": time.monotonic() - started,
        "sessions": len(done),
        "lengths": [length for length, _, _ in done],
        "pushed": sum(pushed for _, pushed, _ in done),
        "pulled": sum(pulled for _, _, pulled in done),
        "broken": broken,
    }
