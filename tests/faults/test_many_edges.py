"""Many edges that push at once to one PostgreSQL hub with four server processes, whose own application writes."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.e2e.conftest import SERVER
from tests.faults import books
from tests.faults.conftest import INSPECTORS, KIND, LARGE, WorkerNode, figure, inspect
from tests.faults.test_database import busy, one_row
from tests.faults.writers import of

pytestmark = pytest.mark.skipif(KIND != "p", reason="about a hub on PostgreSQL")
EDGES = 10 if LARGE else 3
ROWS = 2000 if LARGE else 150
"""That each edge brings."""
INVITE = """
import io
from django.core.management import call_command
for name in {names}:
    said = io.StringIO()
    call_command("sync_invite", name, "--url", "{url}", stdout=said)
    print("invited", *said.getvalue().split()[-2:])
"""


def deadlocks(hub):
    with psycopg.connect(**SERVER, dbname="postgres") as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = %s"
        return connection.execute(query, [hub.database]).fetchone()[0]


@pytest.fixture
def fleet(new_node, template):
    hub = new_node("hub", "p", maker=WorkerNode)
    hub.manage("load_airports", "--limit", "200")
    names = [f"edge-{n}" for n in range(EDGES)]
    hub.do(INSPECTORS.format(names=names))
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        edges = list(pool.map(lambda name: new_node(name, "s", template), names))
        said = hub.do(INVITE.format(names=names, url=hub.serve()))
        invites = [line.split()[1:] for line in said.splitlines() if line.startswith("invited")]
        list(pool.map(lambda edge, words: edge.manage("sync_join", *words), edges, invites))
        list(pool.map(lambda edge: edge.sync("hub"), edges))
    yield hub, edges
    hub.stop()


def test_all_push_at_once_while_the_hub_writes(fleet, rng):
    hub, edges = fleet
    for edge in edges:
        inspect(edge, ROWS, f"of {edge.name}")
    writers = [busy(hub, one_row, "inspections_airport", rng.random(), where=f"id % 2 = {n}") for n in (0, 1)]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        begun = time.monotonic()
        processes = [edge.start("sync_peer", "hub", "--json") for edge in edges]
        reports = [edge.finish(process) for edge, process in zip(edges, processes, strict=True)]
        took = time.monotonic() - begun
    assert [report["error"] for report in reports] == [""] * len(edges)
    pushed = sum(report["pushed"] for report in reports)
    assert pushed >= EDGES * ROWS and all(report["conflicts"] == 0 for report in reports)
    for _ in range(3):  # what the hub wrote meanwhile, and what the others brought
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            moved = sum(r["pulled"] + r["pushed"] for r in pool.map(lambda edge: edge.sync("hub"), edges))
        if not moved:
            break
    rows = books.assert_equal(hub, *edges)
    for site in (hub, *edges):
        books.check(site)
    assert books.one(hub, "SELECT count(*) FROM handleref_sync_conflict") == 0
    log = hub.log()
    assert "Traceback" not in log and "deadlock" not in log.lower(), log[-3000:]
    longest = max(report["seconds"] for report in reports)
    figure(
        f"{EDGES} edges push {pushed} rows at once to {hub.workers} server processes: {pushed / took:.0f} rows a "
        f"second from the start of their processes to the end of the last ({took:.1f} s; the longest session "
        f"{longest:.1f} s), {deadlocks(hub)} deadlocks, {rows} rows equal on all; meanwhile {of(*writers)}"
    )
