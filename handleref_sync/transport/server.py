"""The answering side of HTTP: plain views that believe nothing before the signature, and sign what they say."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt

from handleref_sync import wire
from handleref_sync.capture import schema
from handleref_sync.conf import settings
from handleref_sync.core.printable import printable
from handleref_sync.exceptions import MalformedBody, NotInstalled, ProtocolError, Revoked, SyncError, TooLarge
from handleref_sync.replication.again import said
from handleref_sync.replication.responder import Responder
from handleref_sync.transport import auth, pairing
from handleref_sync.transport.client import opened

logger = logging.getLogger("handleref_sync.transport")

CHUNK = 1024 * 1024
DRAIN = 1024 * 1024
"""Bytes of a refused request's body that are read and dropped: a client that still sends might miss the answer."""
FORGET_EVERY = 60.0
"""Seconds between two looks for old nonces, in each process."""

ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
"""On every answer: no cache keeps it, and no browser takes it for a page, whatever a peer has written into it."""

_forgot: dict[str, float] = {}


@dataclass
class Incoming:
    """A request on its way through the checks."""

    http: HttpRequest
    head: auth.Request
    length: int = 0
    me: auth.Identity | None = None
    """Set when the request's signature is proved: from then on the answer is signed."""
    begun: bool = False

    def read(self) -> bytes:
        """The body, as long as its Content-Length says. Raises MalformedBody if it is shorter."""
        self.begun = True
        body = bytearray()
        while len(body) < self.length:
            try:
                # Not `request.body`: that one has a limit which is meant for forms.
                part = self.http.read(min(CHUNK, self.length - len(body)))
            except OSError as error:
                raise _cut() from error
            if not part:
                raise _cut()
            body += part
        return bytes(body)

    def drain(self) -> None:
        """Drop a small body that nobody will read."""
        left = 0 if self.begun or self.length > DRAIN else self.length
        try:
            while left > 0 and (part := self.http.read(left)):
                left -= len(part)
        except OSError:
            pass  # whoever sent it is gone


Handler = Callable[[Incoming], dict[str, Any]]


def exchange(request: HttpRequest, action: str) -> HttpResponse:
    """hello, pull and push."""

    def handle(incoming: Incoming) -> dict[str, Any]:
        using = settings.database
        _check_head(incoming, settings.max_body)
        me = auth.identity(using)
        peer, result = auth.authenticate(using, me, incoming.head)
        incoming.me = me = auth.identity(using, peer)
        _refuse_another_node(me)
        if peer.revoked:
            again = f"Pair them again, if it is to come back: sync_invite {peer.name} on {me.name}."
            raise Revoked(f"{me.name} does not believe {peer.name} any more.", hint=again)
        auth.admit(me, incoming.head, result)
        body = incoming.read()
        auth.verify_body(incoming.head, result, body)
        auth.remember(using, peer, result)
        _forget_nonces(using)
        message = opened(incoming.head, body, settings.max_plain)
        return Responder(using, peer).handle(action, message)

    return _answer(request, handle)


def pair(request: HttpRequest) -> HttpResponse:
    """The other half of `pairing.join`."""

    def handle(incoming: Incoming) -> dict[str, Any]:
        using = settings.database
        _check_head(incoming, min(settings.max_body, pairing.MAX_BODY))
        me = auth.identity(using)
        body = incoming.read()
        claim = pairing.claim(incoming.head, body, opened(incoming.head, body, 16 * pairing.MAX_BODY))
        incoming.me = me
        _refuse_another_node(me)
        return pairing.accept(using, me, claim)

    return _answer(request, handle)


def _answer(request: HttpRequest, handle: Handler) -> HttpResponse:
    if request.method != "POST":
        refusal = HttpResponseNotAllowed(["POST"], content_type="text/plain")
        for name, value in ALWAYS.items():
            refusal[name] = value
        refusal.content = b"Here nodes of handleref_sync talk to each other, by signed POST requests.\n"
        return refusal
    # Scheme and host are not signed, and to ask for them would bring ALLOWED_HOSTS into it.
    head = auth.Request("POST", f"http://node{request.get_full_path()}", dict(request.headers))
    incoming = Incoming(request, head)
    try:
        with said(settings.database):
            status, plain = 200, wire.pack(handle(incoming))
    except SyncError as error:
        answer = _there(error) if isinstance(error, NotInstalled) else (error.message, error.hint)
        status, plain = error.status, _error(error.reason, *answer)
        level = logging.ERROR if status == 500 else logging.WARNING
        logger.log(level, "%s: %s", printable(request.path, 200), printable(error.sentence(), 2000))
    except Exception:
        logger.exception("handleref_sync failed on a request to %s", printable(request.path, 200))
        status, plain = 500, _error("internal", "The node failed on this request.", "Its log says why.")
    incoming.drain()
    return _response(incoming, status, plain)


def _response(incoming: Incoming, status: int, plain: bytes) -> HttpResponse:
    encoding = wire.choose(incoming.http.headers.get("Accept-Encoding", ""))
    body = wire.compress(plain, encoding)
    headers = {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": encoding}
    if incoming.me is not None:
        auth.sign_response(incoming.me, auth.Response(status, headers, incoming.head), body)
    headers["Accept-Encoding"] = ", ".join(wire.encodings())
    headers["Content-Length"] = str(len(body))
    headers.update(ALWAYS)
    return HttpResponse(body, status=status, headers=headers)


def _check_head(incoming: Incoming, limit: int) -> None:
    """What can be refused before anything is read."""
    length = incoming.http.META.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal()):
        raise ProtocolError("The request has no Content-Length.", hint="Send it whole, not in chunks.")
    incoming.length = int(length[:20])
    if incoming.length > limit:
        raise TooLarge(
            f"The request has {length[:20]} bytes, over the limit of {limit}.",
            hint="Lower PAGE_ROWS on the side that sends, or raise MAX_BODY on the side that receives.",
        )
    kind = incoming.http.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != auth.CONTENT_TYPE:
        raise ProtocolError(
            f"The request is not of the type {auth.CONTENT_TYPE}.", hint="Here only nodes of handleref_sync talk."
        )


def _refuse_another_node(me: auth.Identity) -> None:
    """Raises NotInstalled where the database is another node than NODE says: who is it that would answer?"""
    error = schema.another_node(me.name)
    if error is not None:
        raise NotInstalled(error.message, hint=error.hint)


def _there(error: SyncError) -> tuple[str, str]:
    """Message and hint of what is wrong with this database, for somebody at another one."""
    message = error.message
    message = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return f"{settings.node or 'The other node'} can't answer: {message}", f"On that node: {error.hint}"


def _forget_nonces(using: str) -> None:
    if time.monotonic() >= _forgot.get(using, float("-inf")) + FORGET_EVERY:
        _forgot[using] = time.monotonic()
        auth.forget_nonces(using)


def _error(reason: str, message: str, hint: str) -> bytes:
    return wire.pack({"reason": reason, "message": message, "hint": hint})


def _cut() -> MalformedBody:
    return MalformedBody("The body is cut short.", hint="Try again; if it stays, look at proxies in between.")


# Whoever signs needs neither a login nor a CSRF token. A transaction around the whole request would undo what was
# remembered of a request that is then refused, and would keep a page's snapshot open while it is sent.
for _alias in connections:
    exchange = transaction.non_atomic_requests(using=_alias)(exchange)
    pair = transaction.non_atomic_requests(using=_alias)(pair)
exchange = csrf_exempt(login_not_required(exchange))
pair = csrf_exempt(login_not_required(pair))
