"""A fleet that is upgraded one node at a time, in processes of their own that run the code of their own release."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import KIND, Site, join

PRELUDE = "from parts import models; from parts.models import Part\n"
DIGEST = """
import json
print(json.dumps(sorted(Part.objects.values_list("name", "colour", "weight", "status"))
    + sorted(models.Note.objects.values_list("text", "part__name")), default=str))
from handleref_sync.models import Stamp
grades = sorted(Part.objects.values_list("name", "grade"))
print(json.dumps(grades, default=str))
print(sorted(Stamp.objects.values_list("model__label", "key", "node__name", "counter", "timestamp")))
"""


class Ship(Site):
    manage_py = Path(__file__).parent / "fleet" / "manage.py"

    def __init__(self, name, home, kind, release):
        super().__init__(name, home, kind, RELEASE=str(release))

    def upgrade(self, release):
        self.environment["RELEASE"] = str(release)
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments):
        if arguments[0] == "migrate":  # the migrations of later releases are not there yet
            super().manage("migrate", "--verbosity", "0", "handleref_sync")
            release = self.environment["RELEASE"].zfill(4)
            return super().manage("migrate", "--verbosity", "0", "parts", release)
        return super().manage(*arguments)

    def do(self, script):
        return self.manage("shell", "--no-imports", "-c", PRELUDE + script)

    def serve(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", self.port))  # the same as before, once it has one
            self.port = free.getsockname()[1]
        self.server = self.start("runserver", "--noreload", str(self.port), stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)
        return f"http://127.0.0.1:{self.port}/sync/"


@pytest.fixture
def fleet(tmp_path):
    """Ships by name and release."""
    made = []

    def make(**releases):
        for name, release in releases.items():
            made.append(Ship(name, tmp_path, KIND, release))
        return made

    yield make
    for ship in made:
        ship.drop()


def settle(*ships):
    for _ in range(3):
        for ship in ships:
            ship.sync("hub")


def test_nodes_behind_and_ahead_meet_through_a_third_and_are_equal_once_all_are_upgraded(fleet):
    hub, old, new = fleet(hub=3, old=1, new=5)
    old.do("Part.objects.create(name='bolt', size=1); Part.objects.create(name='nut', size=2)")
    join(hub, hub.serve(), old, new)
    settle(old, new)
    assert new.do("print(sorted(Part.objects.values_list('name', 'weight', 'colour')))") == str(
        [("bolt", 1, "grey"), ("nut", 2, "grey")]
    )

    # What only the newer know stays with the older: they have no column for it, and pass it on all the same.
    new.do(
        "p = Part.objects.get(name='bolt'); p.colour = 'red'; p.grade = '1.50'; p.weight = 10; p.save();"
        "models.Note.objects.create(part=p, text='from the newest')"
    )
    settle(new, old)
    assert old.do("print(Part.objects.get(name='bolt').size)") == "10"
    assert json.loads(old.manage("sync_status", "--json"))["waiting_fields"] == {"parts.part": ["colour", "grade"]}
    # An edit by the oldest does not undo what it can't see.
    old.do("Part.objects.filter(name='bolt').update(name='big bolt')")
    settle(old, new)
    assert new.do("p = Part.objects.get(name='big bolt'); print(p.colour, p.grade)") == "red 1.50"
    old.do("Part.objects.filter(name='nut').update(size=20); Part.objects.create(name='washer', size=3)")
    settle(old, new)
    assert new.do("print(Part.objects.get(name='nut').weight)") == "20"

    old.upgrade(2)
    assert old.do("print(Part.objects.get(name='big bolt').colour)") == "red"
    settle(old, new)
    old.upgrade(5)
    hub.stop()
    hub.upgrade(5)
    hub.serve()
    settle(old, new)
    assert old.do(DIGEST) == hub.do(DIGEST) == new.do(DIGEST)
    assert "red" in old.do(DIGEST) and "1.50" in old.do(DIGEST) and "from the newest" in old.do(DIGEST)
    assert json.loads(old.manage("sync_status", "--json"))["waiting_fields"] == {}
