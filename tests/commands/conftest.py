"""The commands run in this process, against a real server on loopback."""

from io import StringIO

import pytest
from django.core.management import call_command

from tests.transport.conftest import nodes, site

__all__ = ["nodes", "site"]


@pytest.fixture
def manage():
    """Run a command at node a ("default") or b ("second"); returns what it printed."""

    def run(node, *arguments):
        out = StringIO()
        database = {"a": "default", "b": "second"}[node]
        call_command(*arguments, f"--database={database}", stdout=out, stderr=StringIO())
        return out.getvalue().strip()

    return run


@pytest.fixture
def joined(nodes, site, manage):
    """Nodes a and b, paired by the commands; a serves, b calls."""
    url, token = manage("a", "sync_invite", "b", "--url", site.url).split()[-2:]
    manage("b", "sync_join", url, token)
    return site
