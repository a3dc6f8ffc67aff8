"""A bad link: a TCP proxy on loopback that does to a connection what links, routers and providers do.

A fault is one object, and a proxy has one at a time. It is asked for each connection anew, by `hits`.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PART = 4096


@dataclass
class Fault:
    """What befalls the bytes of one direction of a connection after the first `after` of them."""

    kind: str = "none"
    """none, cut, reset, truncate, stall, corrupt, throttle or refuse"""
    after: int = 0
    towards: str = "client"
    """The direction that is hit: ``client`` (answers) or ``server`` (requests)."""
    rate: int = 5000
    """Bytes a second, for `throttle`: 5,000 are 40 kbit/s."""
    chance: float = 1.0
    """How likely a connection is hit at all."""
    rng: random.Random = field(default_factory=random.Random)

    def hits(self) -> bool:
        return self.kind != "none" and self.rng.random() < self.chance


class Proxy:
    """Listens on a free port of loopback, and passes on to `connect()` until it is closed."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.connect, self.fault = connect, Fault()
        self.connections = self.hit = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    def to(cls, port: Callable[[], int]) -> Proxy:
        """To a port of loopback that is asked for at each connection: a server may have been started anew."""
        return cls(lambda: socket.create_connection(("127.0.0.1", port()), timeout=10))

    def drop(self) -> None:
        """Reset all connections that there are."""
        with self._lock:
            there = list(self._open)
        for each in there:
            reset(each)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _listen(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        fault = self.fault
        hit = fault.hits()
        self.hit += hit
        if hit and fault.kind == "refuse":
            return reset(client)
        try:
            server = self.connect()
        except OSError:
            return reset(client)
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        try:
            self._pass(client, server, fault if hit else Fault())
        except (OSError, ValueError):  # ValueError: `select` says so of a socket that `drop` has closed
            pass  # one side is gone, and so the other one goes
        finally:
            with self._lock:
                self._open -= {client, server}
            client.close()
            server.close()

    def _pass(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        to = {client: server, server: client}
        victim = server if fault.towards == "client" else client  # from which the bytes come
        passed, still = 0, {client, server}
        while still:
            for source in select.select(list(still), [], [])[0]:
                data = source.recv(PART)
                if not data:
                    still.discard(source)
                    with contextlib.suppress(OSError):
                        to[source].shutdown(socket.SHUT_WR)
                    continue
                if fault.kind == "throttle":
                    time.sleep(len(data) / fault.rate)
                elif source is victim and fault.kind != "none" and passed + len(data) > fault.after:
                    good = max(0, fault.after - passed)
                    if fault.kind == "corrupt":
                        data = data[:good] + bytes(b ^ fault.rng.choice((0, 0, 0, 1, 128)) for b in data[good:])
                    else:
                        to[source].sendall(data[:good])
                        return self._end(client, server, fault, source)
                passed += len(data) if source is victim else 0
                to[source].sendall(data)

    def _end(self, client: socket.socket, server: socket.socket, fault: Fault, source: socket.socket) -> None:
        if fault.kind == "reset":
            reset(client)
            reset(server)
        elif fault.kind == "truncate":  # as if this were all: the end is orderly, and what follows is swallowed
            (server if source is client else client).shutdown(socket.SHUT_WR)
            source.settimeout(0.5)
            with contextlib.suppress(OSError):
                while source.recv(PART):
                    pass
        elif fault.kind == "stall":  # nothing moves any more, until the client gives up
            while client not in select.select([client], [], [], 60)[0] or client.recv(PART):
                pass


def reset(each: socket.socket) -> None:
    """Close with RST, as a router does that has forgotten the connection."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RD)  # wakes the thread that waits for it
    each.close()
