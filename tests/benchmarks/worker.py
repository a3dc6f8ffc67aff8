"""One node of a benchmark, as a process: reads commands as JSON lines, answers with JSON lines."""

from __future__ import annotations

import gc
import json
import resource
import sys
import threading
import time
from typing import Any

SPOILT = 1_000_000
"""More than any elevation: what a row has that was spoilt."""


def values(number: int) -> dict[str, Any]:
    return {
        "name": f"Aerodrome number {number}",
        "code": f"X{number:07}",
        "city": f"City {number % 997}",
        "elevation": number % 9000,
        "latitude": (number * 7919 % 180_000_000) / 1e6 - 90,
        "longitude": (number * 104_729 % 360_000_000) / 1e6 - 180,
    }


def timed(work: Any) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Worker:
    def setup(self) -> dict[str, Any]:
        from django.core.management import call_command

        from handleref_sync.transport import auth

        call_command("migrate", verbosity=0, run_syncdb=True)
        from handleref_sync.capture import install

        install.install("default")
        return {"key": auth.identity("default").public_key.hex()}

    def fill(self, rows: int, start: int = 0) -> dict[str, Any]:
        """Seconds of bulk_create into the captured table."""
        from tests.benchmarks.app.models import Row

        made = [Row(**values(n)) for n in range(start, start + rows)]
        return {"seconds": timed(lambda: Row.objects.bulk_create(made, batch_size=1000))}

    def floor(self, rows: int) -> dict[str, Any]:
        """Seconds of bulk_create into the table that nobody captures."""
        from tests.benchmarks.app.models import Twin

        made = [Twin(**values(n)) for n in range(rows)]
        return {"seconds": timed(lambda: Twin.objects.bulk_create(made, batch_size=1000))}

    def touch(self, rows: int) -> dict[str, Any]:
        """Change `rows` rows, as somebody who edits them one after another would."""
        from tests.benchmarks.app.models import Row

        first = list(Row.objects.order_by("pk").values_list("pk", flat=True)[:rows])
        for start in range(0, rows, 500):
            Row.objects.filter(pk__in=first[start : start + 500]).update(elevation=time.time_ns() % 1_000_000)
        return {}

    def writes(self, rows: int) -> dict[str, Any]:
        """Seconds of single writes, captured and not, turn by turn so that the machine's moods hit both."""
        from django.db import transaction

        from tests.benchmarks.app.models import Row, Twin

        def save(model: Any) -> None:
            for row in batches[model]:
                row.elevation += 1
                row.save()

        def delete(model: Any) -> None:
            for row in batches[model]:
                model.objects.filter(pk=row.pk).delete()

        found: dict[str, list[float]] = {}
        for n in range(rows // 100):
            batches: dict[Any, list[Any]] = {}
            for model in (Row, Twin) if n % 2 else (Twin, Row):
                captured = "captured" if model is Row else "plain"

                def note(what: str, work: Any, captured: str = captured) -> None:
                    with transaction.atomic():
                        found.setdefault(f"{what} {captured}", []).append(timed(work))

                made = [model(**values(i)) for i in range(100)]
                note("bulk_create", lambda model=model, made=made: model.objects.bulk_create(made))
                batches[model] = list(model.objects.order_by("-pk")[:100])
                note("save", lambda model=model: save(model))
                note("delete", lambda model=model: delete(model))
        return {name: sum(times) for name, times in found.items()}

    def size(self) -> dict[str, Any]:
        """Bytes on disk, indexes included, of the table and of the ledger's rows about it."""
        from django.db import connection

        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_total_relation_size('app_row'), pg_total_relation_size('handleref_sync_stamp')"
                )
                table, ledger = cursor.fetchone()
            else:
                sizes = {}
                for name in ("app_row", "handleref_sync_stamp"):
                    parts = "SELECT name FROM sqlite_master WHERE tbl_name = %s"
                    cursor.execute(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({parts})", [name])
                    sizes[name] = cursor.fetchone()[0]
                table, ledger = sizes["app_row"], sizes["handleref_sync_stamp"]
        return {"table": table, "ledger": ledger}

    def serve(self) -> dict[str, Any]:
        from django.core.wsgi import get_wsgi_application
        from waitress.server import create_server

        server: Any = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=4)
        threading.Thread(target=server.run, daemon=True).start()
        return {"url": f"http://127.0.0.1:{server.effective_port}/sync/"}

    def peer(self, name: str, key: str, url: str = "") -> dict[str, Any]:
        from handleref_sync.models import Peer

        Peer.objects.update_or_create(name=name, defaults={"public_key": bytes.fromhex(key), "url": url})
        return {}

    def sync(self) -> dict[str, Any]:
        from handleref_sync.models import Peer
        from handleref_sync.session import sync
        from handleref_sync.transport.client import HttpTransport

        peer = Peer.objects.get()
        transport = HttpTransport("default", peer)
        calls = []
        inner = transport.call
        transport.call = lambda action, message: (calls.append(action), inner(action, message))[1]  # type: ignore[method-assign]
        report = sync("default", peer, transport)
        transport.close()
        if report.error:
            raise SystemExit(report.error)
        return {**report.as_dict(), "trips": len(calls)}

    def seed(self, rows: int, author: str) -> dict[str, Any]:
        """Rows that `author` wrote and all have, with their stamps: in SQL, for a pull of a million takes long."""
        from django.db import connection, transaction

        from handleref_sync.capture.base import vendor_for
        from handleref_sync.models import LocalNode, Node, ReplicatedModel

        node = Node.objects.get_or_create(name=author)[0]
        model = ReplicatedModel.objects.get(label="app.row").pk
        series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
        if connection.vendor == "postgresql":
            series = "WITH n(i) AS (SELECT generate_series(1, %s))"
        moment = "'2024-01-01 00:00:00'"
        with transaction.atomic(), vendor_for(connection).applying(), connection.cursor() as cursor:
            cursor.execute(
                f"{series} INSERT INTO app_row (id, status, created, updated, version, name, code, city, elevation, "
                f"latitude, longitude) SELECT i, '', {moment}, {moment}, 0, 'Aerodrome number ' || i, 'X' || i, "
                "'City ' || (i % 997), i % 9000, i % 90 + 0.25, i % 180 + 0.75 FROM n",
                [rows],
            )
            cursor.execute(
                f"{series} INSERT INTO handleref_sync_stamp (model_id, pk, key, node_id, counter, timestamp, "
                f"deleted, sequence) SELECT {model}, CAST(i AS TEXT), '{author}:' || i, {node.pk}, i, i, FALSE, i "
                "FROM n",
                [rows],
            )
        LocalNode.objects.update(sequence=rows)
        Node.objects.filter(pk=node.pk).update(vector=rows, seen=rows)
        return {}

    def read(self) -> dict[str, Any]:
        """CPU seconds of reading every row as Django does, and nothing more: the floor of a comparison."""
        from tests.benchmarks.app.models import Row

        started = time.process_time()
        for _ in Row.objects.values_list().iterator(chunk_size=2000):
            pass
        return {"cpu": time.process_time() - started}

    def cpu(self) -> dict[str, Any]:
        """CPU seconds of this process so far."""
        return {"cpu": time.process_time()}

    def spoil(self, rows: int) -> dict[str, Any]:
        """Let just so many rows differ from what they were, without a trigger seeing it."""
        from django.db import connection, transaction
        from django.db.models import F

        from handleref_sync.capture.base import vendor_for
        from tests.benchmarks.app.models import Row

        every = max(1, Row.objects.count() // max(1, rows))
        chosen = list(Row.objects.order_by("pk").values_list("pk", flat=True)[every // 2 :: every])[:rows]
        with transaction.atomic(), vendor_for(connection).applying():
            Row.objects.filter(elevation__gte=SPOILT).update(elevation=F("elevation") - SPOILT)  # those of last time
            Row.objects.filter(pk__in=chosen).update(elevation=F("elevation") + SPOILT)
        return {}

    def verify(self) -> dict[str, Any]:
        """Compare with the hub."""
        from handleref_sync.models import Peer
        from handleref_sync.transport.client import HttpTransport
        from handleref_sync.verify import verify

        peer = Peer.objects.get()
        transport = HttpTransport("default", peer)
        report = verify("default", peer, transport)
        transport.close()
        return {**report.as_dict(), "differences": len(report.differences), "models": {}}

    def memory(self) -> dict[str, Any]:
        """Peak resident memory, in MiB."""
        return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    import django

    django.setup()
    worker = Worker()
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)
