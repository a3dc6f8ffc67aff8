"""Real nodes: the sample project in processes of its own, each on its own database, over HTTP on loopback."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

MANAGE = Path(__file__).parents[2] / "peer" / "manage.py"
ON_POSTGRESQL = os.environ.get("HANDLEREF_TEST_DATABASE") == "postgresql"
SERVER = {
    "host": os.environ.get("PGHOST", "localhost"),
    "port": os.environ.get("PGPORT", "5432"),
    "user": os.environ.get("PGUSER", "postgres"),
    "password": os.environ.get("PGPASSWORD", ""),
}
# Which database each node is on: the first is the hub.
KINDS = {"postgresql": "p", "mixed": "ps"} if ON_POSTGRESQL else {"sqlite": "s"}

PRELUDE = """
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from inspections.models import Airport, Country, Inspection, Inspector
"""
DIGEST = """
import hashlib, json
def rows(model, *fields):
    found = model.objects.values_list(*fields, "status", "version", "created", "updated")
    return sorted(json.dumps(row, default=str) for row in found)
everything = [
    rows(Country, "code", "name"),
    rows(Airport, "icao", "country__code", "iata", "name", "city", "elevation", "latitude", "longitude", "tz"),
    rows(Inspector, "badge", "user__username"),
    rows(Inspection, "airport__icao", "inspector__badge", "date", "grade", "remarks"),
    sorted(User.objects.values_list("username", flat=True)),
]
print(hashlib.sha256(json.dumps(everything).encode()).hexdigest(), sum(map(len, everything)))
"""


class Site:
    """One node. Whatever process it starts, it stops by its pid."""

    def __init__(self, name, home, kind):
        self.name, self.kind, self.port, self.server = name, kind, 0, None
        self.environment = {
            **os.environ,
            "HANDLEREF_NODE": name,
            "PEER_HOME": str(home),
            "PEER_DEBUG": "1",
            "PEER_PAGE_ROWS": "200",
        }
        for variable in ("DATABASE_URL", "HANDLEREF_URL", "DJANGO_SETTINGS_MODULE"):
            self.environment.pop(variable, None)
        self.file = home / f"{name}.sqlite3"
        self.database = f"handleref_e2e_{uuid.uuid4().hex[:12]}"
        if kind == "p":
            with psycopg.connect(**SERVER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {self.database}")
            secret = f":{SERVER['password']}" if SERVER["password"] else ""
            host = quote(SERVER["host"], safe="")  # it may be the folder of a socket
            self.environment["DATABASE_URL"] = (
                f"postgres://{SERVER['user']}{secret}@{host}:{SERVER['port']}/{self.database}"
            )
        self.manage("migrate", "--verbosity", "0")

    def start(self, *arguments, stderr=subprocess.PIPE):
        """A management command as a process that the caller looks after."""
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def run(self, *arguments):
        """(exit status, standard output, standard error) of a management command."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        return process.returncode, out.strip(), err.strip()

    def manage(self, *arguments):
        status, out, err = self.run(*arguments)
        assert status == 0, (arguments, out, err)
        return out

    def do(self, script):
        """Run application code at this node."""
        return self.manage("shell", "--no-imports", "-c", PRELUDE + script)

    def digest(self):
        return self.do(DIGEST).splitlines()[-1]

    def serve(self):
        # Not into a pipe that nobody reads: a full one would stop the server.
        self.server = self.start("serve", "--port", str(self.port), stderr=subprocess.DEVNULL)
        line = self.server.stdout.readline()
        assert "http://" in line, line
        self.port = int(line.rstrip("/\n ").rpartition(":")[2])
        return f"http://127.0.0.1:{self.port}/sync/"

    def stop(self, how=signal.SIGTERM):
        if self.server is not None:
            self.server.send_signal(how)
            self.server.communicate(timeout=30)
            self.server = None

    def sync(self, *arguments):
        (report,) = json.loads(self.manage("sync_peer", *arguments, "--json"))
        return report

    def status(self):
        return json.loads(self.manage("sync_status", "--json"))

    def conflicts(self):
        return json.loads(self.manage("sync_conflicts", "--json"))

    def drop(self):
        self.stop(signal.SIGKILL)
        if self.kind == "p":
            with psycopg.connect(**SERVER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


@pytest.fixture(params=KINDS)
def sites(request, tmp_path):
    """Makes nodes by name; the first is on the hub's kind of database, the others on the edges'."""
    made, kinds = [], KINDS[request.param]

    def make(*names):
        for name in names:
            made.append(Site(name, tmp_path, kinds[min(len(made), len(kinds) - 1)]))
        return made

    yield make
    for site in made:
        site.drop()


def join(hub, url, *edges):
    for edge in edges:
        given, token = hub.manage("sync_invite", edge.name, "--url", url).split()[-2:]
        edge.manage("sync_join", given, token)


@pytest.fixture
def pair(sites):
    """A hub that serves some airports, and an edge that has pulled them."""
    hub, edge = sites("hq", "ship-7")
    hub.manage("load_airports", "--limit", "300")
    join(hub, hub.serve(), edge)
    edge.sync("hq")
    return hub, edge
