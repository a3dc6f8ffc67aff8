"""The library where django-reversion is not installed, or not an installed app."""

import sys

import pytest

from tests import forked

WITHOUT = """
import sys
if {block}:
    sys.modules["reversion"] = None
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "reversion"]
import django
django.setup()
from handleref_sync import models, versioning
from django.core.management import call_command
assert not versioning.available()
assert hasattr(models, "handle_version") is not {block}
call_command("migrate", verbosity=0, run_syncdb=True)
call_command("check", databases=["default"])
call_command("migrate", database="second", verbosity=0, run_syncdb=True)
{rest}
print("fine")
"""
SYNC = """
from handleref_sync.versioning.sources import node_of, sources_of
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Country
net = Network("ab")
Country.objects.using("default").create(code="fr", name="France")
net.ok("b", "a")
Country.objects.using("default").update(name="x")
Country.objects.using("second").update(name="y")
assert net.ok("b", "a").conflicts == 1
assert net.rows("a") == net.rows("b")
assert sources_of([1], "second") == {} and node_of(1, "second") == "b"
"""


@pytest.mark.parametrize("block", [True, False])
def test_all_of_it_works_without_reversion(block):
    """Blocked altogether, and installed without being in INSTALLED_APPS; in memory, on SQLite, whatever is tested."""
    done = forked.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(block=block, rest=SYNC)],
        env={"PATH": "", "PYTHONPATH": "."},
    )
    assert done.stdout.endswith("fine\n"), done.stderr
