"""What the README says by hand, done by hand: its lines are copied into a shell."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_nodes_by_hand(tmp_path):
    section = (ROOT / "README.md").read_text().split("## Two nodes by hand", 1)[1]
    lines = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ":8000/" in lines and "--port 8000 " in lines
    lines = lines.replace(":8000/", f":{port}/").replace("--port 8000 ", f"--port {port} ")
    # A checkout whose databases are thrown away.
    (tmp_path / "peer").symlink_to(ROOT / "peer")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    taken = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PEER_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in taken}
    script = f"set -eu\ntrap 'kill %1 2>/dev/null || true' EXIT\n{lines}"
    # -m: job control, as where a person types. The server writes to the same file for as long as it runs.
    with (tmp_path / "output").open("w+") as output:
        done = subprocess.run(
            ["bash", "-m", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
        output.seek(0)
        out = output.read()
    assert done.returncode == 0 and "Traceback" not in out, out
    assert re.search(r"^hq: pulled [1-9]\d*, pushed 0, conflicts 0, parked 0, ", out, re.MULTILINE), out
    assert "settled" in out and "UNSETTLED" not in out
