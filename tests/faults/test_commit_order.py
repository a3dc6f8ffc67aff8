"""No gap (G4): transactions of random length that commit in any order while a peer reads."""

import contextlib
import time

import pytest

from tests.faults import books
from tests.faults.conftest import KIND, LARGE, ROUNDS, TODAY, figure
from tests.faults.writers import Rollback, Writer

pytestmark = pytest.mark.skipif(KIND == "s", reason="SQLite has one writer: no transaction commits late")
SECONDS = min(300, 5 * ROUNDS) if LARGE else 8
ENOUGH = 5
"""Pulls that moved something while transactions were open."""
WRITERS = 8 if LARGE else 4
PULLING = """
import io, os
from django.core.management import call_command
pulls = moved = 0
while not os.path.exists("{stop}"):
    said = io.StringIO()
    call_command("sync_peer", "hq", "--pull", "--json", stdout=said)
    (report,) = __import__("json").loads(said.getvalue())
    pulls += 1
    moved += bool(report["pulled"])
    print(pulls, moved, flush=True)
"""


def long_transaction(execute, writer):
    """Inserts and updates with pauses in between, from none to longer than several pulls; some come to nothing."""
    now = "UTC_TIMESTAMP()" if KIND == "m" else "now()"
    for _ in range(writer.rng.choice((1, 2, 5))):
        writer.count += 1
        name = f"{writer.name} writes {writer.count}"
        if writer.wrote and writer.rng.random() < 0.4:
            last = writer.wrote.pop()
            execute(f"UPDATE inspections_inspection SET remarks = '{name}' WHERE remarks = '{last}'")
        else:
            execute(
                f"{TODAY}inspector_id) SELECT {now}, {now}, 1, 'ok', '2026-05-02', 'pass', '{name}', "
                f"(SELECT min(id) FROM inspections_airport), (SELECT min(id) FROM inspections_inspector)"
            )
        writer.wrote.append(name)
        writer.sleep(writer.rng.choice((0, 0.01, 0.1, writer.rng.uniform(0, 2))))
    if writer.rng.random() < 0.2:
        raise Rollback


def test_every_committed_row_arrives_whatever_the_order(pair, rng, tmp_path):
    hub, edge = pair
    stop = tmp_path / "stop"
    pulling = edge.start("shell", "--no-imports", "-c", PULLING.format(stop=stop))
    writers = [Writer(hub, long_transaction, rng.random(), pause=0.02) for _ in range(WRITERS)]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            writer.count = 0
            stack.enter_context(writer)
        begun, moved = time.monotonic(), 0
        while moved < ENOUGH or time.monotonic() < begun + SECONDS:
            line = pulling.stdout.readline()  # one after each pull
            assert line, pulling.communicate()
            pulls, moved = map(int, line.split())
    stop.touch()
    _, err = pulling.communicate(timeout=120)
    assert pulling.returncode == 0 and "Traceback" not in err, err
    assert not edge.attempt("hq", "--pull")["error"]
    committed = {name for writer in writers for name in writer.committed}
    found = "SELECT remarks FROM inspections_inspection WHERE remarks LIKE '% writes %'"
    with books.snapshot(edge) as rows:
        arrived = {remarks for (remarks,) in rows(found)}
    assert committed <= arrived, f"{len(committed - arrived)} of {len(committed)} are passed over"
    assert arrived == committed, "what was rolled back is nowhere"
    books.assert_equal(hub, edge)
    figure(
        f"{WRITERS} writers with transactions of up to 10 s: {len(committed)} rows committed, {pulls} pulls "
        f"meanwhile of which {moved} moved something, every row arrived"
    )
    books.write(hub, "DELETE FROM inspections_inspection WHERE remarks LIKE '% writes %'")
    edge.attempt("hq")
