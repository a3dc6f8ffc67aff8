"""Two nodes in one process: the same surface as HTTP, and the same bytes, but no socket and no signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core.pace import Pace
from handleref_sync.exceptions import PeerRefused, SyncError
from handleref_sync.replication.page import unpack_answer


class MemoryTransport:
    """Calls ``handle(action, message)``, the other side's responder, with what would really have travelled."""

    def __init__(self, handle: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._handle = handle
        self.pace = Pace()
        self.bytes_sent = 0
        self.bytes_received = 0

    def call(self, action: str, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to `message`. Raises PeerRefused for a SyncError of the other side, as HTTP does.

        Any other exception of `handle` comes through as it is, for a test wants to see its traceback.
        """
        sent = wire.compress(wire.pack_message(message))
        self.bytes_sent += len(sent)
        try:
            body = wire.compress(wire.pack(self._handle(action, _open(sent))))
        except SyncError as error:
            raise PeerRefused(error.message, hint=error.hint, reason=error.reason, status=error.status) from error
        self.bytes_received += len(body)
        return unpack_answer(action, wire.decompress(body, "gzip", settings.max_plain))

    def begin(self, action: str, message: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """The call is made when its answer is asked for: both nodes are in one thread."""
        return lambda: self.call(action, message)

    def close(self) -> None:
        """Nothing to close."""


def _open(body: bytes) -> dict[str, Any]:
    return wire.unpack_message(wire.decompress(body, "gzip", settings.max_plain))
