"""What hostile bodies cost the process that answers: ``python -m tests.fuzz.bounds``, and ``... CASE`` for some.

A node on SQLite behind waitress, in a process of its own; a paired peer sends it one body after another. The peak is
what the kernel says of that process (VmHWM), from before the request to its answer.
"""

import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.settings")
MIB = 1 << 20
MILLION = b"\xdd\x00\x0f\x42\x40"
"""The header of a list of 1,000,000."""


def serve(public_key):
    """The node, until it is told to stop."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from waitress.server import create_server

    from handleref_sync.models import Peer
    from handleref_sync.transport import auth

    call_command("migrate", verbosity=0, run_syncdb=True)
    Peer.objects.create(name="edge", public_key=bytes.fromhex(public_key))
    server = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=1)
    print(server.effective_port, auth.identity("default").name, flush=True)
    server.run()


def cases():
    """By name: the action, the message or the bytes of one, and how they are compressed."""
    from handleref_sync import wire
    from handleref_sync.core import hlc

    now = time.time_ns() // 1_000_000
    stamp = hlc.pack(now)
    label = "app.row"
    hello = {
        "node": "edge",
        "protocols": [1],
        "seen": {},
        "vector": {},
        "models": ["app.row", "handleref_sync.conflict"],
        "relay": True,
        "clock": now,
        "cursor": [0, ""],
        "cursor_scope": "",
    }
    page = {
        "models": [[label, ["name"]]],
        "nodes": ["edge"],
        "rows": [[0, "edge:1", 0, 1, None, stamp, ["x"]]],
        "cursor": [1, "t"],
        "head": True,
        "whole": True,
        "vector": {},
        "hello": hello,
        "after": [0, ""],
    }
    names = [f"n{number}" for number in range(1_000_000)]
    yield "an honest hello", "hello", wire.pack(hello)
    yield "gzip bomb, 1 GiB of zeros", "hello", Bomb("gzip")
    if "zstd" in wire.encodings():
        yield "zstd bomb, 1 GiB of zeros", "hello", Bomb("zstd")
    yield "250 lists of 1,000,000 empty lists", "hello", b"\xdc\x00\xfa" + (MILLION + b"\x90" * 1_000_000) * 250
    yield "250 lists of 1,000,000 nil", "hello", b"\xdc\x00\xfa" + (MILLION + b"\xc0" * 1_000_000) * 250
    yield "400 headers that promise 1,000,000 each", "hello", MILLION * 400 + bytes(1_000_000)
    yield "lists 500 deep", "hello", b"\x91" * 500 + b"\xc0"
    yield "lists 100,000 deep", "hello", b"\x91" * 100_000 + b"\xc0"
    yield (
        "64 MiB that can't be compressed",
        "hello",
        wire.pack({**hello, "x": random.Random(0).randbytes(64 * MIB - 32768)}),
    )
    yield "256 MiB of text", "hello", wire.pack({**hello, "x": "x" * (256 * MIB - 4096)})
    yield (
        "1,700 decimals of 150,000 digits",
        "hello",
        wire.pack({**hello, "x": 1}).replace(
            b"\xa1x\x01",
            b"\xa1x\xdc\x06\xa4" + (b"\xc9" + struct.pack(">I", 149_999) + b"\x01" + b"7" * 149_999) * 1700,
        ),
    )
    yield "a vector of 1,000,000 nodes", "hello", wire.pack({**hello, "vector": dict.fromkeys(names, 1)})
    yield "a vector of 10,000 nodes", "hello", wire.pack({**hello, "vector": dict.fromkeys(names[:10_000], 1)})
    yield (
        "a key of 10,000,000 characters",
        "push",
        wire.pack({**page, "rows": [[0, "k" * 10**7, 0, 1, None, stamp, ["x"]]]}),
    )
    yield (
        "a clock of 1,000,000 nodes",
        "push",
        wire.pack(
            {
                **page,
                "nodes": ["edge", *names[:-1]],
                "rows": [[0, "edge:1", 0, 1, [[n, 1] for n in range(1_000_000)], stamp, ["x"]]],
            }
        ),
    )
    yield (
        "a clock of 10,000 nodes, all new",
        "push",
        wire.pack(
            {
                **page,
                "nodes": ["edge", *names[:9_999]],
                "rows": [[0, "edge:1", 0, 1, [[n, 1] for n in range(10_000)], stamp, ["x"]]],
                "cursor": [2, "t"],
            }
        ),
    )
    yield (
        "20,001 changes",
        "push",
        wire.pack({**page, "rows": [[0, f"edge:{n}", 0, n, None, stamp, ["x"]] for n in range(1, 20_002)]}),
    )
    yield (
        "2,000 changes, each to be parked",
        "push",
        wire.pack(
            {
                **page,
                "rows": [[0, f"edge:{n}", 0, n, None, stamp, ["x"]] for n in range(2, 2_002)],
                "cursor": [3, "t"],
            }
        ),
    )


class Bomb:
    """1 GiB of zeros, compressed without having been there at once."""

    def __init__(self, encoding):
        self.encoding = encoding

    def body(self):
        import zlib

        if self.encoding == "gzip":
            made = zlib.compressobj(1, zlib.DEFLATED, 31)
        else:
            import zstandard

            made = zstandard.ZstdCompressor(level=1).compressobj()
        return b"".join([*(made.compress(bytes(MIB)) for _ in range(1024)), made.flush()])


def memory(pid, what):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise LookupError(what)


def processor(pid):
    """Seconds of processor time that the process has used: what else runs on the machine is not in it."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def ask(pid, url, me, action, made):
    """What one body costs: its size, seconds of the processor, MiB above what there was before; and the answer."""
    import requests

    from handleref_sync import wire
    from handleref_sync.transport import auth

    encoding = made.encoding if isinstance(made, Bomb) else "gzip"
    body = made.body() if isinstance(made, Bomb) else wire.compress(made)
    request = auth.Request(
        "POST", f"{url}/v1/{action}/", {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": encoding}
    )
    auth.sign_request(me, request, body, "hub")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before, started = memory(pid, "VmRSS"), processor(pid)
    answer = requests.post(request.url, data=body, headers=request.headers, timeout=600)
    seconds = processor(pid) - started
    said = wire.unpack_message(answer.content)
    word = said.get("reason") or ", ".join(f"{said[k]} {k}" for k in ("applied", "parked") if k in said) or "answered"
    return len(body), seconds, memory(pid, "VmHWM") - before, f"{answer.status_code} {word}"


def main(wanted):
    import django

    django.setup()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from handleref_sync.transport import auth

    me = auth.Identity("edge", Ed25519PrivateKey.generate())
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "BENCH_NAME": f"{folder}/hub.sqlite3", "BENCH_NODE": "hub"}
        command = [sys.executable, "-m", "tests.fuzz.bounds", "--serve", me.public_key.hex()]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                port = process.stdout.readline().split()[0]
                print(f"{'body':45} {'bytes sent':>12} {'CPU s':>8} {'peak MiB':>9}  answer")
                for name, action, made in cases():
                    if wanted and not any(word in name for word in wanted):
                        continue
                    url = f"http://127.0.0.1:{port}/sync"
                    size, seconds, peak, said = ask(process.pid, url, me, action, made)
                    print(f"{name:45} {size:12,} {seconds:8.2f} {peak:9.1f}  {said}", flush=True)
            finally:
                process.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main(sys.argv[1:])
