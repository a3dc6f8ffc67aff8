"""A station that is set up from a copy of the head office's database, so that its rows need not cross the wire."""

import json
import shutil

import pytest

from tests.e2e.conftest import join


@pytest.fixture
def copied(sites):
    hub, edge = sites("hq", "ship-7")
    if hub.kind != "s":
        pytest.skip("a file can be copied")
    hub.manage("load_airports", "--limit", "300")
    shutil.copy(hub.file, edge.file)
    edge.manage("sync_uninstall")
    edge.manage("migrate", "handleref_sync", "zero", "--skip-checks", "--verbosity", "0")
    edge.manage("migrate", "--verbosity", "0")
    join(hub, hub.serve(), edge)
    return hub, edge


def test_it_takes_its_baseline_and_nothing_crosses(copied):
    hub, edge = copied
    report = json.loads(edge.manage("sync_init", "--baseline", "hq", "--json"))
    assert report["same"]["inspections.airport"] == 300 and report["fetched"] == 0 and not report["differ"]
    first = edge.sync("hq")
    assert first["pulled"] == first["pushed"] == 0 and first["bytes"] < 10_000
    hub.do("Airport.objects.filter(icao__startswith='L').update(city=F('name'))")
    edge.do("Airport.objects.order_by('icao')[3].delete(hard=True)")
    report = edge.sync("hq")
    assert report["settled"] and report["conflicts"] == 0
    assert edge.digest() == hub.digest()


def test_without_one_every_row_would_be_there_twice(copied):
    """What the baseline is for: to a new node, the same row elsewhere is another record."""
    hub, edge = copied
    hub.do("Airport.objects.filter(icao__gt='A').update(city=F('name'))")
    report = edge.sync("hq")
    assert report["parked"] or edge.do("print(Airport.objects.count())") != "300"
