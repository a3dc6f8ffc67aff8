"""Where a survey that was made for a peer is kept between its questions: a file, for the next one may reach another
process of this node.

One file for each peer at most, of bounded size (24 bytes for each of the ranges of each model, which are 65,536 at
most), in a folder that nobody else may read or write. What is in it are sums of digests; to lose it costs the peer
another survey.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from handleref_sync import wire
from handleref_sync.exceptions import ConfigurationError, CursorMismatch, SyncError
from handleref_sync.models import Peer
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.survey import Survey

OLD = 86_400.0
"""Seconds after which a file is removed that nobody has finished with."""


class Shelf:
    """The place of the survey for one peer of one node."""

    def __init__(self, ledger: Ledger, peer: Peer) -> None:
        # By the key, for nodes of one name may live on one machine, as in tests.
        secret = bytes(ledger.local.private_key)
        self._name = hashlib.sha256(b"survey\0" + secret + peer.name.encode()).hexdigest()[:40]

    def put(self, token: str, survey: Survey) -> None:
        """Keep `survey`, in the place of whatever was kept for this peer before."""
        folder = _folder()
        _forget_old(folder)
        data = wire.pack({"token": token, **survey.dump()})
        number, name = tempfile.mkstemp(dir=folder, prefix=f"{self._name}-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            os.replace(name, folder / self._name)  # whole or not at all
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def get(self, token: str) -> Survey:
        """The survey that was kept under `token`. Raises CursorMismatch where there is none."""
        try:
            kept: dict[str, Any] = wire.unpack_message((_folder() / self._name).read_bytes())
            if kept["token"] == token:
                return Survey.load(kept)
        except (OSError, SyncError, KeyError, TypeError, ValueError):
            pass
        raise CursorMismatch(
            "This node does not have the survey to which the question belongs.",
            hint="Run sync_verify again; if several hosts answer for this node, let one of them answer.",
        )

    def drop(self) -> None:
        """Nobody will ask any more."""
        with contextlib.suppress(OSError):
            (_folder() / self._name).unlink()


def _folder() -> Path:
    """Made for this user alone. Raises ConfigurationError where somebody else was first."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"handleref_sync-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    shared = hasattr(os, "getuid") and (found.st_uid != user or found.st_mode & 0o077)
    if not stat.S_ISDIR(found.st_mode) or shared:
        raise ConfigurationError(
            "The folder for temporary files of this node is not its own.",
            hint="Set TMPDIR, for the server, to a folder that only its user may write to.",
        )
    return folder


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have been faster
            if path.stat().st_mtime < time.time() - OLD:
                path.unlink()
