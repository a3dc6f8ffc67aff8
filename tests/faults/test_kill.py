"""`kill -9` of either side, or of both, at random instants of a sync."""

import contextlib
import signal
import time

from tests.faults import books
from tests.faults.conftest import LARGE, ROUNDS, figure, inspect, touch

ROWS = 25_000 if LARGE else 1000
"""On each side."""
KILLS = ROUNDS or 4


def begun(edge, process, patience=60):
    """Whether the sync of `process` has its lease; False where it came to its end before we looked."""
    deadline = time.monotonic() + patience
    with contextlib.closing(books.connect(edge)) as connection:
        while process.poll() is None:
            if books.run(connection, f"SELECT 1 FROM handleref_sync_peer WHERE lease LIKE '%:{process.pid}:%'"):
                return True
            assert time.monotonic() < deadline, "the sync does not begin"
            time.sleep(0.002)
    return False


def test_killed_at_any_instant_it_goes_on_and_ends_equal(pair, rng):
    hub, edge = pair
    inspect(hub, ROWS, "new at hq")
    inspect(edge, ROWS, "new at the ship")
    span = 2 * ROWS / 4000
    kills, whole, started = {"client": 0, "server": 0, "both": 0}, 0, time.monotonic()
    before = {site: books.check(site) for site in (hub, edge)}
    while sum(kills.values()) < KILLS:
        victim, instant = rng.choice(list(kills)), rng.uniform(0, span)
        process = edge.start("sync_peer", "hq", "--json")
        began, at = begun(edge, process), time.monotonic()
        with contextlib.suppress(Exception):
            process.wait(timeout=instant)
        alive = began and process.poll() is None
        if alive and victim != "server":
            process.send_signal(signal.SIGKILL)
        if alive and victim != "client":
            hub.stop(signal.SIGKILL)
        if alive:
            kills[victim] += 1
            print(f"kill {sum(kills.values())}: {victim} after {time.monotonic() - at:.3f} s")
        if alive and victim != "server":
            process.communicate(timeout=60)
        else:
            report = edge.finish(process)
            whole += not report["error"]
            if not report["error"]:  # nothing is left to transfer, so there has to be something new
                span = max(0.3, 0.5 * span + 0.5 * report["seconds"])
                touch(hub, f"round {whole} at hq")
                touch(edge, f"round {whole} at the ship")
        for site in (hub, edge):
            now = books.check(site)
            assert now >= before[site], (
                site.name,
                before[site],
                now,
                "neither the sequence nor the cursor goes back",
            )
            before[site] = now
        if hub.server is None:
            hub.serve()
    for _ in range(2):
        report = edge.attempt("hq")
        assert not report["error"] and report["settled"]
    assert report["pulled"] == report["pushed"] == 0
    rows = books.assert_equal(hub, edge)
    assert books.one(hub, "SELECT count(*) FROM handleref_sync_conflict") == 0
    assert books.one(edge, "SELECT count(*) FROM handleref_sync_conflict") == 0
    figure(
        f"{sum(kills.values())} kills ({', '.join(f'{n} of {who}' for who, n in kills.items())}) in syncs of "
        f"{2 * ROWS} rows, {whole} of them came to their end: {rows} rows equal on both, no conflict "
        f"({time.monotonic() - started:.0f} s)"
    )
