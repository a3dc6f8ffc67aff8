"""The calling side of HTTP: signed both ways, one node to another.

The answer is read in a stream and judged before memory is spent on it: first the headers' signature, then the limit,
then the digest, and only then is it decompressed and parsed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from http_message_signatures import VerifyResult

from handleref_sync import wire
from handleref_sync.conf import settings
from handleref_sync.core.pace import Pace
from handleref_sync.core.printable import printable
from handleref_sync.exceptions import BadSignature, DatabaseFailed, PeerRefused, PeerUnreachable, SyncError
from handleref_sync.models import Peer
from handleref_sync.replication import keys
from handleref_sync.replication.page import unpack_answer
from handleref_sync.transport import auth
from handleref_sync.transport.caller import TRANSIENT, Answer, Caller, Transient, subject

ERROR_BYTES = 64 * 1024
"""Bytes that an error, or any other answer whose sender isn't proved, may have."""
FIRST = 0.1
"""Seconds for which a call that is begun may keep its caller, until it has gone out."""
PAGES = frozenset({"pull", "push"})
BEFORE_PROOF = frozenset(
    (
        "unknown-peer",
        "bad-signature",
        "same-node",
        "protocol",
        "malformed",
        "too-large",
        "not-installed",
        "internal",
        "database",
    )
)
"""Reasons that a server gives before it knows whom it talks to; no other one is believed without a signature."""


class HttpTransport:
    """Calls the node `peer` in the name of the node in the database `using`."""

    def __init__(self, using: str, peer: Peer, *, sleep: Callable[[float], object] = time.sleep) -> None:
        self.peer = peer
        self._using = using
        self._me = auth.identity(using, peer)
        self._promoted = False
        self._caller = Caller(peer.name, peer.url, sleep)
        self._encoding = "gzip"
        self.pace = Pace()

    @property
    def bytes_sent(self) -> int:
        """Bytes of the bodies that went out, retries included."""
        return self._caller.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes of the bodies that came in."""
        return self._caller.bytes_received

    def call(self, action: str, message: dict[str, Any]) -> dict[str, Any]:
        """The peer's answer to `message`; `action` is one that a Responder has.

        Raises PeerUnreachable when the retries are used up, PeerRefused for an error of the peer's own,
        BadSignature for an answer that isn't its, and MalformedBody or TooLarge for one that can't be read.
        """
        if not self.peer.url:
            raise PeerUnreachable(
                f"{self.peer.name} has no URL.", hint="It is passive: run the sync on its side, or give it a URL."
            )
        encoding = self._encoding
        body = wire.compress(wire.pack_message(message), encoding)

        def sign(request: auth.Request) -> None:
            auth.sign_request(self._me, request, body, self.peer.name)

        def once() -> dict[str, Any]:
            with self._caller.post(action, body, encoding, sign) as answer:
                return self._read(answer, action)

        before, started = self.bytes_sent + self.bytes_received, time.monotonic()
        answer = self._caller.retrying(once)
        if action in PAGES:
            self.pace.took(time.monotonic() - started, self.bytes_sent + self.bytes_received - before)
        return answer

    def begin(self, action: str, message: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """`call` in a thread of its own, which touches no database; gives what waits for its result."""
        future: Future[dict[str, Any]] = Future()

        def work() -> None:
            try:
                answer = self.call(action, message)
            except BaseException as error:  # it is raised where the result is asked for
                self._caller.sent.set()  # before that, for then the next call may begin
                future.set_exception(error)
            else:
                future.set_result(answer)

        self._caller.sent.clear()
        # A daemon, for nobody waits for an answer after an error of our own.
        threading.Thread(target=work, name=f"{action} {self.peer.name}", daemon=True).start()
        # Threads take turns: without this the request would go out when we rest, and the peer would wait as well.
        self._caller.sent.wait(FIRST)
        return future.result

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()
        if self._promoted and self.peer.next_public_key:
            keys.promote(self._using, self.peer)

    def _verify(self, head: auth.Response) -> VerifyResult:
        """Check the signature, by the peer's key or by the one that it said comes next."""
        name, newer = self.peer.name, self.peer.next_public_key
        try:
            return auth.verify_with_key(head, name, bytes(self.peer.public_key))
        except BadSignature:
            if not newer:
                raise
            result = auth.verify_with_key(head, name, bytes(newer))
        self._promoted = True  # it is written in `close`, for this may run in a thread that touches no database
        return result

    def _read(self, answer: Answer, action: str) -> dict[str, Any]:
        head, name = answer.head, self.peer.name
        if "Signature" not in head.headers:
            if head.status_code == 200:
                raise BadSignature(
                    f"The answer of {name} is not signed.",
                    hint="Something between the two nodes made it; look there.",
                )
            error = refused(name, head, answer.read(ERROR_BYTES), signed=False)
            raise Transient(error) if head.status_code in TRANSIENT else error
        result = self._verify(head)
        body = answer.read(settings.max_body)
        auth.verify_body(head, result, body)
        if head.status_code != 200:
            error = refused(name, head, body, signed=True)
            raise Transient(error) if error.reason == DatabaseFailed.reason else error
        self._encoding = wire.choose(head.headers.get("Accept-Encoding", ""))
        return unpack_answer(action, decompressed(head, body, settings.max_plain))


def opened(message: auth.Request | auth.Response, body: bytes, limit: int) -> dict[str, Any]:
    """The map in `body`, which may have `limit` bytes after decompression. Raises MalformedBody or TooLarge."""
    return wire.unpack_message(decompressed(message, body, limit))


def decompressed(message: auth.Request | auth.Response, body: bytes, limit: int) -> bytes:
    return wire.decompress(body, message.headers.get("Content-Encoding", ""), limit)


def refused(name: str, head: auth.Response, body: bytes, *, signed: bool) -> PeerRefused:
    """The error in `body`. One that isn't signed is only text for a person: anybody may have written it."""
    try:
        error = opened(head, body, 16 * ERROR_BYTES)
    except SyncError:
        error = {}
    reason = printable(error.get("reason"), 60) or "refused"
    text = (
        printable(error.get("message"), 1000) or f"{subject(name)} answers HTTP {head.status_code} without a reason."
    )
    if not signed:
        text = f"{text} (This answer is not signed.)"
        reason = reason if reason in BEFORE_PROOF else "refused"
    return PeerRefused(text, hint=printable(error.get("hint"), 1000), reason=reason, status=head.status_code)
