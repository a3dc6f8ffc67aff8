"""Two and three nodes in processes of their own, over HTTP."""

import json
import signal
import sqlite3
import time

import psycopg
import pytest

from tests.e2e.conftest import KIND, SERVER, join, on_mariadb

INSPECT = """
user = User.objects.create_user("{name}")
who = Inspector.objects.create(user=user, badge="{name}")
airport = Airport.objects.order_by("icao")[{n}]
Inspection.objects.create(airport=airport, inspector=who, date="2026-05-01", grade="pass")
"""
FIRST = "Airport.objects.order_by('icao')[0]"


def test_the_airports_of_the_world(sites):
    hub, edge = sites("hq", "ship-7")
    hub.manage("load_airports")
    join(hub, hub.serve(), edge)
    report = edge.sync("hq")
    assert report["pulled"] > 28_000 and report["settled"] and report["conflicts"] == 0
    assert edge.digest() == hub.digest()
    before = hub.status()["sequence"], edge.status()["sequence"]
    report = edge.sync("hq")
    assert report["pulled"] == report["pushed"] == 0 and report["bytes"] < 10_000
    assert (hub.status()["sequence"], edge.status()["sequence"]) == before


def test_edits_both_ways_deletions_and_foreign_keys_to_users(pair):
    hub, edge = pair
    hub.do(INSPECT.format(name="anna", n=0))
    edge.do(INSPECT.format(name="bert", n=1))
    edge.do("Airport.objects.order_by('icao')[2].delete()")
    hub.do("Airport.objects.order_by('icao')[3].delete(hard=True)")
    edge.do("Airport.objects.filter(icao__startswith='L').update(city=F('name'))")
    report = edge.sync("hq")
    assert report["conflicts"] == 0 and report["settled"]
    assert edge.digest() == hub.digest()
    assert edge.do("print(Inspection.objects.count(), Airport.objects.filter(status='deleted').count())") == "2 1"


def test_the_same_record_on_both_sides_and_a_loser_restored(pair):
    hub, edge = pair
    hub.do(f"a = {FIRST}; a.name = 'of hq'; a.save()")
    edge.do(f"a = {FIRST}; a.name = 'of the ship'; a.save()")
    assert edge.sync("hq")["conflicts"] == 1
    assert hub.do(f"print({FIRST}.name)") == edge.do(f"print({FIRST}.name)") == "of the ship"
    (here,), (there,) = hub.conflicts(), edge.conflicts()
    assert here["id"] == there["id"] and here["node"] == "hq" and here["against_node"] == "ship-7"
    assert here["differs"]["name"] == ["of hq", "of the ship"]
    edge.manage("sync_conflicts", "--restore", here["id"])
    edge.sync("hq")
    assert hub.do(f"print({FIRST}.name)") == "of hq"
    assert edge.digest() == hub.digest() and hub.conflicts()[0]["restored"]
    assert edge.sync("hq")["pulled"] == 0


def test_a_chain_and_then_a_mesh(sites):
    a, b, c = sites("a", "b", "c")
    a.manage("load_airports", "--limit", "50")
    url_a, url_b = a.serve(), b.serve()
    join(a, url_a, b)
    join(b, url_b, c)
    b.sync("a")
    c.sync("b")
    assert c.digest() == a.digest()
    c.do(f"a = {FIRST}; a.name = 'from the far end'; a.save()")
    a.do("Airport.objects.order_by('icao')[1].delete(hard=True)")
    c.sync("b")
    b.sync("a")
    c.sync("b")
    assert a.digest() == b.digest() == c.digest()
    join(a, url_a, c)
    a.do(INSPECT.format(name="anna", n=0))
    assert b.sync("a")["pulled"] == 3
    assert c.sync("b")["pulled"] == 3
    report = c.sync("a")
    assert report["pulled"] == report["pushed"] == 0, "what came over one path does not come over the other"
    assert a.digest() == b.digest() == c.digest()


@pytest.mark.parametrize("victim", ["client", "server"])
def test_a_sync_that_is_killed_goes_on_and_ends_equal(sites, victim):
    hub, edge = sites("hq", "ship-7")
    hub.manage("load_airports", "--limit", "6000")
    join(hub, hub.serve(), edge)
    process = edge.start("sync_peer", "hq")
    deadline = time.monotonic() + 60
    while edge.sequence() == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if victim == "client":
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    else:
        hub.stop(signal.SIGKILL)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1 and "Traceback" not in err
        hub.serve()
    assert edge.sequence() > 0
    report = edge.sync("hq")
    assert report["settled"] and report["conflicts"] == 0
    assert edge.digest() == hub.digest() and edge.conflicts() == []


def test_another_program_writes_raw_sql(pair):
    hub, edge = pair
    statement = "UPDATE inspections_airport SET city = 'by hand' WHERE icao LIKE 'E%'"
    if edge.kind == "p":
        with psycopg.connect(**SERVER, dbname=edge.database) as connection:
            connection.execute(statement)
    elif edge.kind == "m":
        on_mariadb(statement, edge.database)
    else:
        with sqlite3.connect(edge.file) as connection:
            connection.execute(statement)
    assert edge.sync("hq")["pushed"] > 0
    assert edge.digest() == hub.digest()


@pytest.mark.skipif(KIND != "p", reason="SQLite has one writer: no transaction commits late")
def test_a_transaction_that_commits_late_is_not_passed_over(pair):
    hub, edge = pair
    with psycopg.connect(**SERVER, dbname=hub.database) as late:
        late.execute("UPDATE inspections_airport SET city = 'late' WHERE icao LIKE 'L%'")
        hub.do("Airport.objects.filter(icao__startswith='E').update(city='early')")
        assert edge.sync("hq")["pulled"] > 0
    assert edge.sync("hq")["pulled"] > 0
    assert edge.digest() == hub.digest()


def test_what_the_operator_gets_to_read(pair):
    hub, edge = pair
    hub.do(f"a = {FIRST}; a.name = 'x'; a.save()")
    assert edge.manage("sync_peer", "--dry-run") == "hq: would pull about 1 and push about 0"
    assert "pulled 0, pushed 0" in edge.manage("sync_peer", "--push")
    line = edge.manage("sync_peer")
    assert line.startswith("hq: pulled 1, pushed 0, conflicts 0, parked 0, ")
    assert "(passive)" in hub.manage("sync_status")
    hub.stop()
    status, out, err = edge.run("sync_peer", "hq")
    assert status == 1 and out.startswith("hq: failed: hq cannot be reached at http://127.0.0.1:")
    assert edge.status()["peers"][0]["last_error"]
    status, _, err = edge.run("sync_peer", "nobody")
    assert status == 1 and "There is no peer nobody" in err


def test_pairing_refuses_what_it_should(sites):
    hub, edge, twin = sites("hq", "ship-7", "other")
    url = hub.serve()
    given, token = hub.manage("sync_invite", "ship-7", "--url", url).split()[-2:]
    for site, words in ((twin, (given, token)), (edge, (given, token[:-3] + "xyz")), (edge, (given, "rubbish"))):
        status, _, err = site.run("sync_join", *words)
        assert status == 1 and len(err.splitlines()) == 1, err
    edge.manage("sync_join", given, token)
    twin.environment.setdefault("DATABASE_URL", f"sqlite:///{twin.file}")
    twin.environment["HANDLEREF_NODE"] = "hq"
    status, _, err = twin.run("check", "--database", "default")
    assert status == 1 and "handleref_sync.E005" in err


def test_two_runs_at_a_time(pair):
    hub, edge = pair
    hub.server.send_signal(signal.SIGSTOP)
    first = edge.start("sync_peer", "hq")
    try:
        deadline = time.monotonic() + 30
        while not edge.do("from handleref_sync.models import Peer; print(Peer.objects.get().lease)"):
            assert time.monotonic() < deadline
        status, out, _ = edge.run("sync_peer", "hq", "--json")
        assert status == 1
        assert json.loads(out)[0]["error"].startswith("Another process is syncing with hq now.")
    finally:
        hub.server.send_signal(signal.SIGCONT)
    assert first.wait(timeout=60) == 0
    first.communicate()


def test_missing_triggers_and_life_without_the_library(pair):
    hub, edge = pair
    drop = "DROP TRIGGER handleref_sync_upd_inspections_airport"
    if edge.kind != "s":
        edge.manage("sync_uninstall")
    else:
        with sqlite3.connect(edge.file) as connection:
            connection.execute(drop)
    status, _, err = edge.run("sync_peer", "hq")
    assert status == 1 and "are not captured" in err and len(err.splitlines()) == 1
    edge.manage("migrate", "--verbosity", "0")
    edge.do(f"a = {FIRST}; a.name = 'captured again'; a.save()")
    edge.sync("hq")
    assert hub.do(f"print({FIRST}.name)") == "captured again"
    edge.manage("sync_uninstall")
    edge.do(f"a = {FIRST}; a.city = 'nobody looks'; a.save()")
