"""A node of Morango: reads commands as JSON lines, answers with JSON lines. For Python 3.9 and Django 3.2."""

import json
import os
import sys
import threading
import time
import traceback
from datetime import datetime, timedelta, timezone

import django
from django.core.management import call_command

MOMENT = datetime(2024, 5, 17, 12, 30, 15, 123456, tzinfo=timezone.utc)  # noqa: UP017 - Python 3.9 has no other name
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.db.backends.signals import connection_created  # noqa: E402
from morango.models.certificates import Certificate, Filter, Key, ScopeDefinition  # noqa: E402
from morango.sync.controller import MorangoProfileController  # noqa: E402
from sample.models import PARTITION, Row, Twin  # noqa: E402

own = {}


def tune(connection, **kwargs):
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")


if os.environ.get("BENCH_TUNED"):
    connection_created.connect(tune)


def values(number):
    moment = MOMENT + timedelta(seconds=number * 61, microseconds=number * 7919 % 10**6)
    return {
        "created": moment,
        "updated": moment,
        "name": f"Aerodrome number {number}",
        "code": f"X{number:07}",
        "city": f"City {number % 997}",
        "elevation": number % 9000,
        "latitude": (number * 7919 % 180_000_000) / 1e6 - 90,
        "longitude": (number * 104_729 % 360_000_000) / 1e6 - 180,
    }


def setup():
    call_command("migrate", verbosity=0, run_syncdb=True)
    ScopeDefinition.objects.create(
        id="full",
        profile="bench",
        version=1,
        primary_scope_param_key="partition",
        description="all",
        read_write_filter_template="${partition}",
    )
    return {}


def certify():
    """The hub's own certificate, and one for an edge with the key to it."""
    root = Certificate.generate_root_certificate("full")
    child = Certificate(parent=root, profile="bench", scope_definition=root.scope_definition, scope_version=1)
    child.scope_params = root.scope_params
    child.private_key = Key()
    child.public_key = Key(public_key_string=child.private_key.get_public_key_string())
    child.id = child.calculate_uuid()
    root.sign_certificate(child)
    child.save()
    PARTITION.append(root.id)
    chain = [{"id": c.id, "serialized": c.serialized, "signature": c.signature} for c in (root, child)]
    return {"chain": chain, "key": child.private_key.get_private_key_string(), "partition": root.id}


def take(chain, key, partition, url, chunk):
    """Be the edge to which that certificate was given."""
    Certificate.save_certificate_chain(chain)
    child = Certificate.objects.get(id=chain[1]["id"])
    child.private_key = Key(private_key_string=key)
    child.save()
    PARTITION.append(partition)
    own.update(
        child=child.id, root=chain[0]["id"], url=url, chunk=chunk, controller=MorangoProfileController("bench")
    )
    return {}


def serve():
    from django.core.wsgi import get_wsgi_application
    from waitress.server import create_server

    server = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=4)
    threading.Thread(target=server.run, daemon=True).start()
    return {"url": f"http://127.0.0.1:{server.effective_port}/"}


def fill(rows):
    made = []
    for number in range(rows):
        row = Row(**values(number))
        row.id = row.calculate_uuid()
        row._morango_partition = row.calculate_partition()
        made.append(row)
    Row.objects.bulk_create(made, batch_size=1000)
    return {}


def floor(rows):
    """Seconds of bulk_create of the same rows into a table that Morango knows nothing of."""
    made = [Twin(**values(number)) for number in range(rows)]
    started = time.perf_counter()
    Twin.objects.bulk_create(made, batch_size=1000)
    return {"seconds": time.perf_counter() - started}


def touch(rows):
    first = list(Row.objects.order_by("pk").values_list("pk", flat=True)[:rows])
    for start in range(0, rows, 500):
        Row.objects.filter(pk__in=first[start : start + 500]).update(elevation=time.time_ns() % 1_000_000)
    return {}


def pull():
    """One session that pulls."""
    started = time.perf_counter()
    connection = own["controller"].create_network_connection(own["url"], chunk_size=own["chunk"])
    child, root = (Certificate.objects.get(id=own[name]) for name in ("child", "root"))
    session = connection.create_sync_session(child, root)
    client = session.get_pull_client()
    client.initialize(Filter(own["root"]))
    moved = client.current_transfer_session.records_total or 0
    client.run()
    client.finalize()
    connection.close_sync_session(session.sync_session)
    found = {"seconds": time.perf_counter() - started, "rows": moved}
    found["bytes"] = connection.bytes_sent + connection.bytes_received
    connection.close()
    return found


def count():
    return {"rows": Row.objects.count()}


COMMANDS = {f.__name__: f for f in (setup, certify, take, serve, fill, floor, touch, pull, count)}
for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = COMMANDS[command.pop("do")](**command)
    except Exception:
        answer = {"failed": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
