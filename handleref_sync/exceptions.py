"""Every error of the library, in one tree.

::

    SyncError
    ├── ConfigurationError        a setting, a model declaration or a command line is wrong
    ├── NotInstalled              the ledger, the triggers or this node's name is missing
    ├── SyncInProgress            another process is syncing with this peer now
    ├── RestoreClaimed            a peer says that this database was restored, and its word is not enough
    ├── PlaceChanged              this database is not where it was: moved, or copied
    ├── ParkedFull                too many changes of one peer would have to wait
    ├── DatabaseFailed            a node's database is locked, has no room, or does not answer
    ├── DotReused                 a peer knows writes of ours that we lack: we were restored
    ├── ProtocolError             what arrived is not what the protocol allows
    │   ├── MalformedBody         garbled, cut short, or of an unknown extension type
    │   ├── TooLarge              over one of the stated limits
    │   ├── VersionMismatch       no protocol version in common
    │   └── CursorMismatch        a pushed page does not continue where we stand
    ├── AuthError                 a request or a response that proves nothing
    │   ├── UnknownPeer           we are not paired with whoever signed this
    │   ├── Revoked               we were, and its key is not believed any more
    │   ├── BadSignature          signature, digest or key do not match
    │   ├── Replayed              the same signed request a second time
    │   ├── ClockSkew             the two wall clocks are too far apart
    │   ├── SameNode              the other side bears our own node ID
    │   └── NotPermitted          paired, but not allowed to do this
    ├── PairingError              an invite token is wrong, used or expired
    └── PeerError
        ├── PeerUnreachable       no connection, or it broke and the retries are used up
        └── PeerRefused           the peer answered with an error of its own

Each carries ``reason``, a word for machines that travels on the wire, ``status``, the HTTP status that goes
with it, and ``hint``, a sentence that says what to do.
"""

from __future__ import annotations


class SyncError(Exception):
    """Root of the tree. ``str(error)`` is one sentence; ``error.hint`` says what to do about it."""

    reason = "error"
    status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def sentence(self) -> str:
        """Message and hint as one line, for a person."""
        return f"{self.message} {self.hint}".strip()


class ConfigurationError(SyncError):
    reason = "configuration"


class NotInstalled(SyncError):
    reason = "not-installed"
    status = 503


class SyncInProgress(SyncError):
    reason = "in-progress"
    status = 409


class DotReused(SyncError):
    reason = "dot-reused"
    status = 409


class RestoreClaimed(SyncError):
    reason = "restore-claimed"
    status = 409


class PlaceChanged(SyncError):
    reason = "place-changed"
    status = 409


class ParkedFull(SyncError):
    reason = "parked-full"
    status = 409


class DatabaseFailed(SyncError):
    """`detail` is what the database said: for the operator of this node, and not for a peer."""

    reason = "database"
    status = 503

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint)
        self.detail = detail

    def sentence(self) -> str:
        detail = f" ({self.detail})." if self.detail else "."
        return f"{self.message.removesuffix('.')}{detail} {self.hint}".strip()


class ProtocolError(SyncError):
    reason = "protocol"
    status = 400


class MalformedBody(ProtocolError):
    reason = "malformed"


class TooLarge(ProtocolError):
    reason = "too-large"
    status = 413


class VersionMismatch(ProtocolError):
    reason = "protocol-version"
    status = 426


class CursorMismatch(ProtocolError):
    reason = "cursor"
    status = 409


class AuthError(SyncError):
    reason = "auth"
    status = 401


class UnknownPeer(AuthError):
    reason = "unknown-peer"


class Revoked(AuthError):
    reason = "revoked"
    status = 403


class BadSignature(AuthError):
    reason = "bad-signature"


class Replayed(AuthError):
    reason = "replayed"


class ClockSkew(AuthError):
    reason = "clock-skew"


class SameNode(AuthError):
    reason = "same-node"
    status = 409


class NotPermitted(AuthError):
    reason = "not-permitted"
    status = 403


class PairingError(SyncError):
    reason = "pairing"
    status = 403


class PeerError(SyncError):
    reason = "peer"
    status = 502


class PeerUnreachable(PeerError):
    reason = "unreachable"


class PeerRefused(PeerError):
    """The peer's own error: ``reason`` is the word it sent, ``status`` its HTTP status."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "refused", status: int = 502) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.status = status
