"""A link with a delay and a rate, as a proxy on loopback: bytes wait their turn in each direction."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

PART = 1460


class Link:
    """Listens on a free port until it is closed, and passes on to `port`.

    `delay`: seconds one way. `rate`: bits a second in each direction, which all connections share.
    """

    def __init__(self, port: int, delay: float, rate: int) -> None:
        self.delay, self.rate = delay, rate
        self.passed = {"up": 0, "down": 0}
        self._free = {"up": 0.0, "down": 0.0}
        """When the last byte that was accepted will have left, by direction."""
        self._loop = asyncio.new_event_loop()
        self._target = port
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def reset(self) -> None:
        """Count from here on."""
        self.passed = {"up": 0, "down": 0}

    def least(self, trips: int) -> float:
        """The seconds that what has passed needs on such a link, with so many round trips one after the other."""
        return trips * 2 * self.delay + sum(self.passed.values()) * 8 / self.rate

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            there = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pass(reader, there[1], "up"), self._pass(there[0], writer, "down"))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        """Each part leaves when those before it have left, and arrives `delay` later."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    writer.close()
                    return
                writer.write(data)

        delivering = asyncio.ensure_future(deliver())
        try:
            while True:
                data = await reader.read(PART)
                self.passed[way] += len(data)
                left = max(self._free[way], self._loop.time()) + len(data) * 8 / self.rate
                self._free[way] = left
                waiting.put_nowait((left + self.delay, data))
                if not data:
                    break
                # No more on its way than such a link holds, or a sender would see an endless buffer.
                await asyncio.sleep(max(0.0, left - self._loop.time() - self.delay))
            await delivering
        finally:
            delivering.cancel()
