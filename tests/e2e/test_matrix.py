"""The same life of two nodes on every pair of databases."""

import itertools
import os

import pytest

from tests.e2e.conftest import Site, join
from tests.with_servers import answers

FIRST = "Airport.objects.order_by('icao')[0]"
PAIRS = [pair for pair in itertools.product("spm", repeat=2) if pair != ("s", "s")]  # that one has tests of its own

pytestmark = pytest.mark.skipif(
    os.environ.get("HANDLEREF_TEST_DATABASE") != "mariadb", reason="runs once, where all servers are there"
)


@pytest.fixture
def two(request, tmp_path):
    made = []
    for name, kind in zip(("hq", "ship-7"), request.param, strict=True):
        if kind == "p" and not answers("postgresql", dict(os.environ)):
            pytest.skip("there is no PostgreSQL")
        made.append(Site(name, tmp_path, kind))
    yield made
    for site in made:
        site.drop()


@pytest.mark.parametrize("two", PAIRS, indirect=True, ids="-".join)
def test_they_end_equal(two):
    hub, edge = two
    hub.manage("load_airports", "--limit", "60")
    join(hub, hub.serve(), edge)
    assert edge.sync("hq")["settled"] and edge.digest() == hub.digest()
    hub.do(f"a = {FIRST}; a.name = 'of hq'; a.save(); Airport.objects.order_by('icao')[5].delete(hard=True)")
    edge.do(
        f"a = {FIRST}; a.name = 'Zoë \\N{{snowman}} \\N{{rocket}}'; a.save();"
        "Airport.objects.order_by('icao')[6].delete();"
        "Airport.objects.filter(icao__startswith='L').update(city=F('name'));"
        "who = Inspector.objects.create(user=User.objects.create_user('Anna'), badge='Anna');"
        "airport = Airport.objects.order_by('icao')[7];"
        "Inspection.objects.create(airport=airport, inspector=who, date='2026-05-01', grade='pass')"
    )
    report = edge.sync("hq")
    assert report["conflicts"] == 1 and report["settled"]
    assert edge.digest() == hub.digest()
    assert hub.do(f"print(ascii({FIRST}.name))") == ascii("Zoë \N{SNOWMAN} \N{ROCKET}")
    edge.manage("sync_conflicts", "--restore", edge.conflicts()[0]["id"])
    edge.sync("hq")
    assert hub.do(f"print({FIRST}.name)") == "of hq" and edge.digest() == hub.digest()
    before = hub.sequence(), edge.sequence()
    report = edge.sync("hq")
    assert report["pulled"] == report["pushed"] == 0 and (hub.sequence(), edge.sequence()) == before
