"""Real nodes that meet real faults: small here, large with HANDLEREF_FAULTS=n, where n is how often each strikes.

What was measured is printed at the end. HANDLEREF_FAULTS_SEED=n makes the instants and kinds those of an earlier run,
as far as a clock allows.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import MANAGE, Site, join
from tests.faults import books

ROUNDS = int(os.environ.get("HANDLEREF_FAULTS") or 0)
LARGE = ROUNDS > 0
KIND = {"sqlite": "s", "postgresql": "p", "mariadb": "m"}[os.environ.get("HANDLEREF_TEST_DATABASE", "sqlite")]
NAME = {"s": "SQLite", "p": "PostgreSQL", "m": "MariaDB"}[KIND]
TODAY = "INSERT INTO inspections_inspection (created, updated, version, status, date, grade, remarks, airport_id, "
figures: list[str] = []


def figure(text):
    figures.append(f"{NAME}: {text}")


def pytest_terminal_summary(terminalreporter):
    if figures:
        terminalreporter.section("faults")
        for line in figures:
            terminalreporter.write_line(line)


class Node(Site):
    """A site whose settings a test can turn for the worse."""

    manage_py = Path(__file__).parent / "node" / "manage.py"

    def __init__(self, name, home, kind=KIND, **environment):
        super().__init__(name, home, kind, FAULTS_RETRIES="1", **environment)

    def attempt(self, *arguments):
        """What a sync reports; one that fails says so in one sentence and by its exit status, without a traceback."""
        return self.finish(self.start("sync_peer", *arguments, "--json"))

    def finish(self, process, patience=1800 if LARGE else 300):
        """The same of one that runs already."""
        out, err = process.communicate(timeout=patience)
        return judged(process.returncode, out, err)

    def turned(self, **environment):
        """Let commands from here on run with FAULTS_… variables; None takes one away."""
        for name, value in environment.items():
            self.environment.pop(f"FAULTS_{name}", None)
            if value is not None:
                self.environment[f"FAULTS_{name}"] = str(value)


def judged(status, out, err):
    assert "Traceback" not in err, err
    if not out.strip():  # it did not come to a round: the sentence is all there is
        assert status != 0 and len(err.strip().splitlines()) == 1, err
        return {"error": err.strip().removeprefix("CommandError: "), "pulled": 0, "pushed": 0}
    (report,) = json.loads(out)
    assert bool(report["error"]) == (status != 0), (status, report, err)
    assert "\n" not in report["error"] and "Traceback" not in report["error"], report
    if report["error"]:
        assert report["error"][0].isupper() or report["error"].startswith(("hq", "http")), report
        assert report["error"].endswith((".", "stopped.")), report
    return report


@pytest.fixture
def rng():
    """Chance with a seed that is printed."""
    seed = int(os.environ.get("HANDLEREF_FAULTS_SEED") or random.SystemRandom().randrange(10**9))
    print(f"HANDLEREF_FAULTS_SEED={seed}")
    return random.Random(seed)


class WorkerNode(Node):
    """A node that several processes serve."""

    workers = 4

    def options(self):
        return "--bind", f"127.0.0.1:{self.port}", "--workers", str(self.workers), "--timeout", "120"

    def serve(self):
        log = Path(self.environment["PEER_HOME"]) / "server.log"
        here = self.manage_py.parent
        with log.open("w") as stderr:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "node.wsgi:application", *self.options(), "--no-control-socket"],
                env={
                    **self.environment,
                    "DJANGO_SETTINGS_MODULE": "faulty",
                    "PYTHONPATH": os.pathsep.join((str(here), str(MANAGE.parent), os.environ.get("PYTHONPATH", ""))),
                },
                stderr=stderr,
                text=True,
            )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert self.server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        self.port = int(found[1])
        return f"http://127.0.0.1:{self.port}/sync/"

    def log(self):
        return (Path(self.environment["PEER_HOME"]) / "server.log").read_text()


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A SQLite database with all tables: to copy it takes less long than to migrate."""
    return Node("template", tmp_path_factory.mktemp("template"), "s").file


@pytest.fixture(scope="session")
def new_node(tmp_path_factory):
    """Makes nodes by name and kind, on SQLite also from a template. All are gone at the end."""
    made = []

    def make(name, kind=KIND, template=None, maker=Node):
        home = tmp_path_factory.mktemp(name)
        if template is not None:
            copy_of(template, home / f"{name}.sqlite3")
        node = maker(name, home, kind)
        made.append(node)
        return node

    yield make
    for node in made:
        node.drop()


def copy_of(template, file):
    """A migrated database that is no node yet: it becomes one by the next `migrate`."""
    with sqlite3.connect(template) as source, sqlite3.connect(file) as target:
        source.backup(target)
        for table in ("localnode", "node", "replicatedmodel", "capture", "stamp"):
            target.execute(f"DELETE FROM handleref_sync_{table}")
        for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            target.execute(f'DROP TRIGGER "{name}"')
    source.close()
    target.close()


INSPECTORS = """
for name in {names}:
    user = User.objects.create_user(name)
    Inspector.objects.create(user=user, badge=name)
"""


@pytest.fixture(scope="session")
def nodes(new_node):
    """A hub and an edge, paired and in sync, both of the kind that the run is about."""
    hub, edge = new_node("hq"), new_node("ship-7")
    hub.manage("load_airports", "--limit", "100")
    hub.do(INSPECTORS.format(names=["hq", "ship-7"]))
    join(hub, hub.serve(), edge)
    edge.sync("hq")
    return hub, edge


@pytest.fixture
def pair(nodes):
    """The hub and the edge, whole before and after: what a test turns, it turns back."""
    hub, edge = nodes
    if hub.server is None:
        hub.serve()
    yield hub, edge
    books.check(hub)
    books.check(edge)


def inspect(site, count, remarks):
    """`count` new inspections at the site, in one transaction and past Django."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT"
    now = "UTC_TIMESTAMP()" if site.kind == "m" else "CURRENT_TIMESTAMP"
    text = f"CONCAT('{remarks} ', n.i)" if site.kind == "m" else f"'{remarks} ' || n.i"
    insert = f"{TODAY}inspector_id) {numbers} {now}, {now}, 1, 'ok', '2026-05-01', 'pass', {text}, a.id, p.id FROM "
    insert += (
        f"n JOIN (SELECT min(id) id FROM inspections_airport) a ON TRUE "
        f"JOIN inspections_inspector p ON p.badge = '{site.name}'"
    )
    before = ("SET max_recursive_iterations = 1000000",) if site.kind == "m" else ()
    books.write(site, *before, insert)


def own(site):
    """SQL for the inspections that only this site writes."""
    return f"inspector_id = (SELECT id FROM inspections_inspector WHERE badge = '{site.name}')"


def touch(site, remarks):
    """A new text in the site's own inspections."""
    books.write(site, f"UPDATE inspections_inspection SET remarks = '{remarks}' WHERE {own(site)}")


def noise(site):
    """A text that can't be compressed in the site's own inspections."""
    text = {"s": "hex(randomblob(20))", "p": "md5(random()::text)", "m": "MD5(RAND())"}[site.kind]
    books.write(site, f"UPDATE inspections_inspection SET remarks = {text} WHERE {own(site)}")
