"""What the README says by hand, done by hand: its lines are copied into a shell."""

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import time
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
    # A terminal, for without one there is no job control, and `kill %1` would not reach the server. That one writes
    # to the same file for as long as it runs.
    terminal, keyboard = pty.openpty()
    with (tmp_path / "output").open("w+") as output, os.fdopen(terminal), os.fdopen(keyboard):
        done = subprocess.run(
            ["bash", "-m", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdin=keyboard,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
            start_new_session=True,
            preexec_fn=_take_the_terminal,
        )
        output.seek(0)
        out = output.read()
    assert done.returncode == 0 and "Traceback" not in out, out
    assert re.search(r"^hq: pulled [1-9]\d*, pushed 0, conflicts 0, parked 0, ", out, re.MULTILINE), out
    assert "settled" in out and "UNSETTLED" not in out
    gone = time.monotonic() + 10
    while not _closed(port):
        assert time.monotonic() < gone, "the server is still there"
        time.sleep(0.05)


def _take_the_terminal():
    # What was started with nohup ignores a hang-up, and of a shell that does bash makes one without job control.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _closed(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0
