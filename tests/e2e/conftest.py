"""Real nodes: the sample project in processes of its own, each on its own database, over HTTP on loopback."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import psycopg
import pymysql
import pytest

from tests import forked

MANAGE = Path(__file__).parents[2] / "peer" / "manage.py"
SERVER = {
    "host": os.environ.get("PGHOST", "localhost"),
    "port": os.environ.get("PGPORT", "5432"),
    "user": os.environ.get("PGUSER", "postgres"),
    "password": os.environ.get("PGPASSWORD", ""),
}
MARIADB = {
    "host": os.environ.get("MYSQL_HOST", "127.0.0.1"),
    "port": int(os.environ.get("MYSQL_PORT", "3306")),
    "user": os.environ.get("MYSQL_USER", "root"),
    "password": os.environ.get("MYSQL_PASSWORD", ""),
}
# Which database the nodes are on; test_matrix.py has the pairs of different ones.
KIND = {"sqlite": "s", "postgresql": "p", "mariadb": "m"}[os.environ.get("HANDLEREF_TEST_DATABASE", "sqlite")]

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


def address(scheme, server, database):
    secret = f":{server['password']}" if server["password"] else ""
    host = quote(server["host"], safe="")  # it may be the folder of a socket
    return f"{scheme}://{server['user']}{secret}@{host}:{server['port']}/{database}"


def on_mariadb(sql, database=None):
    connected = contextlib.closing(pymysql.connect(**MARIADB, database=database, autocommit=True))
    with connected as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


class Site:
    """One node. Whatever process it starts, it stops by its pid."""

    manage_py = MANAGE

    def __init__(self, name, home, kind, **environment):
        self.name, self.kind, self.port, self.server = name, kind, 0, None
        self.environment = {
            **os.environ,
            "HANDLEREF_NODE": name,
            "PEER_HOME": str(home),
            "PEER_DEBUG": "1",
            "PEER_PAGE_ROWS": "200",
            **environment,
        }
        for variable in ("DATABASE_URL", "HANDLEREF_URL", "DJANGO_SETTINGS_MODULE"):
            self.environment.pop(variable, None)
        self.file = home / f"{name}.sqlite3"
        self.database = f"handleref_e2e_{uuid.uuid4().hex[:12]}"
        if kind == "p":
            with psycopg.connect(**SERVER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {self.database}")
            self.environment["DATABASE_URL"] = address("postgres", SERVER, self.database)
        elif kind == "m":
            on_mariadb(f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4")
            self.environment["DATABASE_URL"] = address("mysql", MARIADB, self.database)
        self.manage("migrate", "--verbosity", "0")

    def start(self, *arguments, stderr=subprocess.PIPE):
        """A management command as a process that the caller looks after."""
        command = [sys.executable, str(self.manage_py), *arguments]
        return forked.start(command, env=self.environment, stdout=subprocess.PIPE, stderr=stderr)

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

    def sequence(self):
        """The last number taken, read from the database: a command would take longer than a whole sync."""
        query = "SELECT sequence FROM handleref_sync_localnode"
        if self.kind == "p":
            with psycopg.connect(**SERVER, dbname=self.database) as connection:
                return connection.execute(query).fetchone()[0]
        if self.kind == "m":
            return on_mariadb(query, self.database)[0][0]
        with contextlib.closing(sqlite3.connect(self.file, timeout=20)) as connection:
            return connection.execute(query).fetchone()[0]

    def conflicts(self):
        return json.loads(self.manage("sync_conflicts", "--json"))

    def drop(self):
        self.stop(signal.SIGKILL)
        if self.kind == "p":
            with psycopg.connect(**SERVER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        elif self.kind == "m":
            on_mariadb(f"DROP DATABASE IF EXISTS {self.database}")


@pytest.fixture
def sites(tmp_path):
    """Makes nodes by name."""
    made = []

    def make(*names):
        for name in names:
            made.append(Site(name, tmp_path, KIND))
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
