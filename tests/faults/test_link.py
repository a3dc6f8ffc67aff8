"""Bad links: every sync either goes through or says in one sentence why not, and in the end all is there."""

import contextlib
import random
import socket
import threading
import time

import pytest

from handleref_sync.exceptions import SyncError
from handleref_sync.transport.caller import Caller
from tests.faults import books
from tests.faults.conftest import KIND, LARGE, ROUNDS, figure, inspect, noise, touch
from tests.faults.proxy import Fault, Proxy

BREAKING = ("refuse", "cut", "reset", "truncate", "stall", "corrupt")
ATTEMPTS = ROUNDS or 1
ROWS = 5000 if LARGE else 300


@pytest.fixture
def link(pair):
    """The edge reaches the hub over this proxy."""
    hub, edge = pair
    proxy = Proxy.to(lambda: hub.port)
    url = books.one(edge, "SELECT url FROM handleref_sync_peer")
    books.write(edge, f"UPDATE handleref_sync_peer SET url = 'http://127.0.0.1:{proxy.port}/sync/'")
    yield proxy
    proxy.close()
    edge.turned(TIMEOUT=None)
    books.write(edge, f"UPDATE handleref_sync_peer SET url = '{url}'")


def in_the_end(hub, edge, attempts=40):
    """Sync until one goes through, and see that all is there; how many did not."""
    failed = 0
    while edge.attempt("hq")["error"]:
        failed += 1
        assert failed < attempts, "not one sync goes through"
    books.assert_equal(hub, edge)
    assert books.one(edge, "SELECT count(*) FROM handleref_sync_conflict") == 0
    return failed


def news(hub, edge, text):
    if books.one(hub, "SELECT count(*) FROM inspections_inspection") < ROWS:
        inspect(hub, ROWS, "first")
        inspect(edge, ROWS, "first")
    touch(hub, f"{text} at hq")
    touch(edge, f"{text} at the ship")


ANYWHERE = pytest.mark.skipif(not LARGE and KIND != "s", reason="the link is the same on all databases")


@ANYWHERE
@pytest.mark.parametrize("kind", BREAKING)
def test_a_link_that_breaks(pair, link, rng, kind):
    hub, edge = pair
    errors, failed = set(), 0
    for attempt in range(ATTEMPTS):
        news(hub, edge, f"{kind} {attempt}")
        for towards in ("client", "server") if LARGE else (rng.choice(("client", "server")),):
            # Before anything is said, in the head, or in the middle of a page.
            after = int(2 ** rng.uniform(0, 14)) if LARGE else rng.choice((0, 150, 1500))
            link.fault = Fault(kind, after, towards, rng=random.Random(rng.random()))
            edge.turned(TIMEOUT=2)
            before, hit = time.monotonic(), link.hit
            report = edge.attempt("hq")
            assert link.hit > hit
            # Each request is tried twice here, and each try may take TIMEOUT (2 s).
            assert time.monotonic() - before < 60, (kind, towards, after)
            assert report["error"] or after > 500, (kind, towards, after, "should not have got through")
            errors.add(report["error"].replace(str(link.port), "PORT"))
        edge.turned(TIMEOUT=5 if LARGE else None)
        if LARGE:  # now only now and then, wherever it may be: with that a sync has to cope by itself
            after = int(2 ** rng.uniform(0, 14))
            link.fault = Fault(kind, after, "client", chance=0.4, rng=random.Random(rng.random()))
        else:
            link.fault = Fault()
        failed += in_the_end(hub, edge)
    tries = ATTEMPTS * (2 if LARGE else 1)
    figure(f"a link that does {kind}: {tries} syncs where each connection is hit, {failed} more failed, then equal")
    for error in sorted(errors - {""}):
        print(f"{kind}: {error}")


@ANYWHERE
def test_a_link_as_slow_as_2g(pair, link):
    hub, edge = pair
    news(hub, edge, "slow")
    noise(hub)
    noise(edge)
    link.fault = Fault("throttle", rate=5000)
    edge.turned(TIMEOUT=3)  # for each part of an answer, and not for the whole
    report = edge.attempt("hq")
    assert not report["error"], report
    books.assert_equal(hub, edge)
    rate = report["bytes"] * 8 / report["seconds"] / 1000
    assert rate < 40
    figure(
        f"2G, 40 kbit/s: {report['pulled'] + report['pushed']} rows, {report['bytes']} bytes in "
        f"{report['seconds']:.1f} s ({rate:.0f} kbit/s), in one sync with TIMEOUT at 3 s"
    )


def test_the_proxy_does_what_it_says():
    """Else the tests above would show nothing."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def answer():
            while True:
                try:
                    there, _ = server.accept()
                except OSError:
                    return
                with there, contextlib.suppress(OSError):
                    there.recv(100)
                    there.sendall(bytes(range(256)) * 100)

        threading.Thread(target=answer, daemon=True).start()
        proxy = Proxy.to(lambda: server.getsockname()[1])
        stack.callback(proxy.close)

        def got(fault):
            proxy.fault = fault
            data = b""
            try:
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=1) as client:
                    client.sendall(b"hello")
                    while part := client.recv(65536):
                        data += part
            except OSError as error:
                return data, type(error)
            return data, None

        whole = bytes(range(256)) * 100
        assert got(Fault()) == (whole, None)
        assert got(Fault("cut", 1000)) in ((whole[:1000], None), (whole[:1000], ConnectionResetError))
        assert got(Fault("truncate", 1000)) == (whole[:1000], None)
        assert got(Fault("stall", 1000)) == (whole[:1000], TimeoutError)
        assert got(Fault("reset", 1000))[1] is ConnectionResetError
        assert got(Fault("refuse")) == (b"", ConnectionResetError)
        changed, _ = got(Fault("corrupt", 1000))
        assert changed[:1000] == whole[:1000] and changed != whole and len(changed) == len(whole)
        started = time.monotonic()
        assert got(Fault("throttle", rate=51_200)) == (whole, None)
        assert time.monotonic() - started > 0.45
        server.shutdown(socket.SHUT_RDWR)


def test_garbled_headers_are_not_logged_with_a_traceback(caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            there, _ = server.accept()
            with there:
                there.recv(65536)
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-T\x00\r\nno header at all\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        caller = Caller("hq", f"http://127.0.0.1:{server.getsockname()[1]}/sync/")
        with pytest.raises(SyncError), caller.post("hello", b"", "gzip", lambda request: None):
            pass
        caller.close()
        thread.join(10)
    assert caplog.records == []
