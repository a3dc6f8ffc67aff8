"""Databases that refuse, lock, deadlock, or have no room, and applications that write all the while."""

import contextlib
import socket
import threading
import time

import pytest

from tests.e2e.conftest import MARIADB, SERVER, address
from tests.faults import books
from tests.faults.conftest import KIND, LARGE, ROUNDS, figure, inspect, own, touch
from tests.faults.proxy import Fault, Proxy
from tests.faults.test_link import in_the_end
from tests.faults.writers import Writer, of

ROWS = 10_000 if LARGE else 600
server_only = pytest.mark.skipif(KIND == "s", reason="SQLite has no server")
sqlite_only = pytest.mark.skipif(KIND != "s", reason="a server's disk is not ours to fill")


def to_database():
    host, port = (SERVER["host"], SERVER["port"]) if KIND == "p" else (MARIADB["host"], MARIADB["port"])
    if host.startswith("/"):
        there = socket.socket(socket.AF_UNIX)
        there.connect(f"{host}/.s.PGSQL.{port}")
        return there
    return socket.create_connection((host, int(port)), timeout=10)


@pytest.fixture
def cables(pair):
    """Each node reaches its database over one of these proxies, the hub and the edge; the tests themselves don't."""
    proxies = [Proxy(to_database) for _ in pair]
    scheme, server = ("postgres", SERVER) if KIND == "p" else ("mysql", MARIADB)
    urls = [site.environment["DATABASE_URL"] for site in pair]
    for site, proxy in zip(pair, proxies, strict=True):
        here = {**server, "host": "127.0.0.1", "port": proxy.port}
        site.environment["DATABASE_URL"] = address(scheme, here, site.database)
    pair[0].stop()
    pair[0].serve()
    yield proxies
    for site, proxy, url in zip(pair, proxies, urls, strict=True):
        site.environment["DATABASE_URL"] = url
        proxy.close()
    pair[0].stop()


def news(hub, edge, text, rows=ROWS):
    for site in (hub, edge):
        have = books.one(site, f"SELECT count(*) FROM inspections_inspection WHERE {own(site)}")
        if have < rows:
            inspect(site, rows - have, "first")
        touch(site, f"{text} at {site.name}")


def refuse(proxy):
    proxy.fault = Fault("refuse")
    proxy.drop()


@server_only
def test_databases_that_refuse_connections_for_a_while(pair, cables, rng):
    hub, edge = pair
    news(hub, edge, "refused")
    refuse(cables[1])
    error = edge.attempt("hq")["error"]
    assert error.startswith("The database of ship-7 does not answer ("), error
    cables[1].fault = Fault()
    refuse(cables[0])
    error = edge.attempt("hq")["error"]
    assert error.startswith("The database of hq does not answer."), error
    assert "connect" not in error, "what the hub's database says is not for a peer"
    cables[0].fault = Fault()
    stopped = 0
    for _ in range(ROUNDS or 1):
        touch(hub, f"refused {stopped}")
        process = edge.start("sync_peer", "hq", "--json")
        time.sleep(rng.uniform(1, 3))  # at any instant, so there is nothing to wait for
        for cable in rng.choice((cables, cables[:1], cables[1:])):
            refuse(cable)
        report = edge.finish(process)
        stopped += bool(report["error"])
        for cable in cables:
            cable.fault = Fault()
    failed = in_the_end(hub, edge)
    figure(
        f"databases that drop all connections and refuse new ones: {stopped} syncs stopped, {failed} more, then equal"
    )


@sqlite_only
@pytest.mark.parametrize("full", ["edge", "hub"])
def test_a_disk_that_is_full(pair, full):
    hub, edge = pair
    site = {"edge": edge, "hub": hub}[full]
    other = hub if site is edge else edge
    inspect(other, 10 * ROWS, "more than there is room for")
    with contextlib.closing(books.connect(site)) as connection:
        books.run(connection, "VACUUM")
        ((pages,),) = books.run(connection, "PRAGMA page_count")
    site.turned(MAX_PAGES=pages + 40)
    hub.stop()
    hub.serve()
    known = books.check(site)
    for _ in range(ROUNDS or 1):
        error = edge.attempt("hq")["error"]
        assert error.startswith(f"The database of {site.name} has no room left"), error
    assert books.check(site) >= known
    site.turned(MAX_PAGES=None)
    hub.stop()
    hub.serve()
    in_the_end(hub, edge, 1)
    figure(f"the {full}'s disk is full: {ROUNDS or 1} syncs stopped; with room again the next one goes to its end")


@sqlite_only
@pytest.mark.parametrize("locked", ["edge", "hub"])
def test_a_database_that_another_program_keeps_locked(pair, locked):
    hub, edge = pair
    news(hub, edge, "locked")
    site = {"edge": edge, "hub": hub}[locked]
    site.turned(PATIENCE="0.2")
    hub.stop()
    hub.serve()
    with contextlib.closing(books.connect(site)) as connection:
        books.run(connection, "BEGIN IMMEDIATE")
        started = time.monotonic()
        error = edge.attempt("hq")["error"]
        assert error.startswith(f"The database of {site.name} is locked by another program"), error
        assert time.monotonic() - started < 60
        books.run(connection, "ROLLBACK")
        # Let go while the sync is at it: within the bounds of its retries it goes through.
        books.run(connection, "BEGIN IMMEDIATE")
        process = edge.start("sync_peer", "hq", "--json")
        timer = threading.Timer(1.5, lambda: books.run(connection, "ROLLBACK"))
        timer.start()
        edge.finish(process)
        timer.join()
    site.turned(PATIENCE=None)
    hub.stop()
    hub.serve()
    in_the_end(hub, edge, 1)


def one_row(execute, writer):
    """What somebody does who presses "Save"; another row each time, now and then several, and not always quickly."""
    for pk in writer.rng.sample(writer.ids, writer.rng.choice((1, 1, 3))):
        execute(f"UPDATE inspections_airport SET city = 'meanwhile {writer.rng.random()}' WHERE id = {pk}")
        if writer.rng.random() < 0.3:
            writer.sleep(writer.rng.uniform(0, 0.03))


def against_the_applier(execute, writer):
    """Rows that a sync writes as well, in an order of its own, and slowly: what deadlocks are made of."""
    for pk in writer.rng.sample(writer.ids, 4):
        execute(f"UPDATE inspections_inspection SET remarks = 'by the writer {writer.rng.random()}' WHERE id = {pk}")
        writer.sleep(writer.rng.uniform(0, 0.05))


def busy(site, work, table, seed, where="TRUE", **options):
    with contextlib.closing(books.connect(site)) as connection:
        ids = [pk for (pk,) in books.run(connection, f"SELECT id FROM {table} WHERE {where}")]
    writer = Writer(site, work, seed, **options)
    writer.ids = ids
    return writer


def test_the_application_is_never_starved(pair, rng):
    hub, edge = pair
    news(hub, edge, "busy")
    in_the_end(hub, edge)
    # Each node its own half, so that what is written meets no conflict and only the locks count.
    writers = [
        busy(site, one_row, "inspections_airport", rng.random(), where=f"icao {order} 'L' AND iata {half} 'L'")
        for site, order in ((hub, "<"), (edge, ">="))
        for half in ("<", ">=")
    ]
    moved = 0
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for n in range(ROUNDS or 2):
            touch(hub, f"{n} while the application writes")
            touch(edge, f"{n} while the application writes")
            report = edge.attempt("hq")
            assert not report["error"], report
            moved += report["pulled"] + report["pushed"]
    longest = max(max(writer.waits) for writer in writers)
    assert min(len(writer.waits) for writer in writers) > 20
    assert longest < 10, "an application's write waited for a sync"
    in_the_end(hub, edge, 1)
    figure(f"{ROUNDS or 2} syncs of {moved} rows beside two writers a node: {of(*writers)}")


@server_only
def test_deadlocks_with_the_application(pair, rng):
    hub, edge = pair
    news(hub, edge, "deadlocked")
    in_the_end(hub, edge)
    writers = [
        busy(
            site, against_the_applier, "inspections_inspection", rng.random(), where=f"NOT ({own(site)})", pause=0.001
        )
        for site in (hub, edge)
        for _ in range(3)
    ]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for n in range(ROUNDS or 2):
            touch(hub, f"{n} against the application")
            touch(edge, f"{n} against the application")
            report = edge.attempt("hq")
            assert not report["error"], report
    settle(hub, edge)
    figure(f"{ROUNDS or 2} syncs against six writers of the same rows in other orders: {of(*writers)}")


def settle(hub, edge):
    """Both wrote the same rows, so there are conflicts; in the end all is equal, and what lost is in both logs."""
    rest(edge)
    books.assert_equal(hub, edge)
    log = "SELECT count(*) FROM handleref_sync_conflict"
    assert books.one(hub, log) == books.one(edge, log)
    for site in (hub, edge):
        books.write(site, "DELETE FROM handleref_sync_conflict")
    rest(edge)  # two deletions that did not know each other: one-way tests may come after this one
    books.assert_equal(hub, edge)


def rest(edge):
    for _ in range(8):
        report = edge.attempt("hq")
        assert not report["error"], report
        if not report["pulled"] + report["pushed"] and report["settled"]:
            return
    raise AssertionError("does not come to rest")


@server_only
def test_an_application_holds_a_unique_value_that_a_page_brings(pair):
    """Not the row is locked but the value: the insert waits for a transaction of which nobody knows how it ends."""
    hub, edge = pair
    hub.do("Inspector.objects.create(user=User.objects.create_user('zoe'), badge='zoe')")
    edge.do("User.objects.create_user('yan')")
    pk = books.one(edge, "SELECT id FROM auth_user WHERE username = 'yan'")
    now = "UTC_TIMESTAMP()" if KIND == "m" else "now()"
    with contextlib.closing(books.connect(edge)) as connection:
        books.run(connection, "BEGIN")
        books.run(
            connection,
            "INSERT INTO inspections_inspector (created, updated, version, status, badge, user_id) "
            f"VALUES ({now}, {now}, 1, 'ok', 'zoe', {pk})",
        )
        started = time.monotonic()
        report = edge.attempt("hq")
        took = time.monotonic() - started
        books.run(connection, "ROLLBACK")
    assert not report["error"] and not report["settled"], report
    assert took < 25, took
    in_the_end(hub, edge, 1)
    figure(
        f"a unique value that the application holds: the sync gives way after {report['seconds']:.1f} s, and parks it"
    )
