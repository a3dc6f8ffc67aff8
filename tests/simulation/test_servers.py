"""A history on a real server, where there is one."""

import os
import subprocess
import sys

import pytest

from tests.with_servers import answers


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
def test_a_history_holds_on_a_server(database):
    if not answers(database, dict(os.environ)):
        pytest.skip("there is no such server")
    command = [sys.executable, "-m", "tests.simulation", "--database", database, "--seeds", "1", "--nodes", "2"]
    played = subprocess.run(command, capture_output=True, text=True)
    assert "1 histories" in played.stdout and not played.returncode, played.stdout + played.stderr
