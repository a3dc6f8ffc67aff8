"""A node and its peers: set up, serve, sync."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from typing import Any

from django.core.management import call_command
from django.db import connection

from handleref_sync.capture import install
from handleref_sync.models import Peer
from handleref_sync.session import sync as sync_round
from handleref_sync.transport import auth
from handleref_sync.transport.client import HttpTransport


def migrate() -> dict[str, Any]:
    """Tables. A node as well, if the environment says which."""
    call_command("migrate", verbosity=0, run_syncdb=True)
    connection.close()  # the database may be copied now
    return {}


def setup() -> dict[str, Any]:
    """Be a node."""
    install.install("default")
    return {"key": auth.identity("default").public_key.hex()}


def serve(processes: int = 0) -> dict[str, Any]:
    """In threads of this process, or by so many processes of gunicorn, for a GIL is not what is measured."""
    if processes:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = listener.getsockname()[1]
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--workers", str(processes)),
                *("--bind", f"fd://{listener.fileno()}", "--log-level", "error", "--timeout", "600"),
                "tests.benchmarks.wsgi",
            ],
            pass_fds=[listener.fileno()],
            env=os.environ.copy(),
        )
        listener.close()
        atexit.register(server.wait)
        atexit.register(server.terminate)
        _await(port)
    else:
        from django.core.wsgi import get_wsgi_application
        from waitress.server import create_server

        waitress: Any = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=4)
        threading.Thread(target=waitress.run, daemon=True).start()
        port = waitress.effective_port
    return {"url": f"http://127.0.0.1:{port}/sync/", "port": port}


def _await(port: int) -> None:
    """Wait for the first answer, of whatever status."""
    for _ in range(200):
        with suppress(urllib.error.HTTPError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/sync/v1/hello/", timeout=10)
        time.sleep(0.05)
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
    raise TimeoutError("the server does not answer")


def peer(name: str, key: str, url: str = "") -> dict[str, Any]:
    Peer.objects.update_or_create(name=name, defaults={"public_key": bytes.fromhex(key), "url": url})
    return {}


def sync(using: str = "default") -> dict[str, Any]:
    """One round with the only peer that has a URL; how often it called, as well."""
    known = Peer.objects.using(using).exclude(url="").get()
    transport = HttpTransport(using, known)
    calls = []
    inner = transport.call
    transport.call = lambda action, message: (calls.append(action), inner(action, message))[1]  # type: ignore[method-assign]
    report = sync_round(using, known, transport)
    transport.close()
    if report.error:
        raise RuntimeError(report.error)
    return {**report.as_dict(), "trips": len(calls)}
