"""Who says so: HTTP Message Signatures (RFC 9421) with Ed25519, on requests and on responses.

A request is signed for one recipient, and a response for one request. So a page cannot be injected on plain HTTP, a
request cannot be played to another node that knows the same sender, and no answer can be swapped for another.
Scheme and host are not covered, for a proxy that ends TLS changes them; the recipient's node ID takes their place.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature as WrongKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import DatabaseError, IntegrityError, transaction
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519

from handleref_sync.conf import settings
from handleref_sync.exceptions import (
    AuthError,
    BadSignature,
    ClockSkew,
    NotInstalled,
    Replayed,
    SameNode,
    SyncError,
    UnknownPeer,
)
from handleref_sync.models import LocalNode, Nonce, Peer
from handleref_sync.replication import keys
from handleref_sync.replication.keys import fingerprint as fingerprint

CONTENT_TYPE = "application/vnd.msgpack"
RECIPIENT = "Sync-Recipient"
TAG = "handleref-sync"
LABEL = "sync"
REQUEST_COVERS = ("@method", "@path", "content-type", "content-encoding", "content-digest", "sync-recipient")
RESPONSE_COVERS = ("@status", "content-type", "content-encoding", "content-digest", '"signature";req')


@dataclass
class Request:
    """A request as the signature library wants to see it. Of the URL only the path is covered."""

    method: str
    url: str
    headers: MutableMapping[str, str]


@dataclass
class Response:
    """A response, and the request that it answers."""

    status_code: int
    headers: MutableMapping[str, str]
    request: Request


@dataclass(frozen=True)
class Identity:
    """This node as others know it."""

    name: str
    private_key: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self.private_key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity({self.name!r})"  # a log must not show the key


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find

    def resolve_public_key(self, key_id: str) -> Any:
        return self._find(key_id)

    def resolve_private_key(self, key_id: str) -> Any:
        return self._find(key_id)


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        # The age is judged after the signature: only then is it the sender's clock that differs.
        if type(sig_input.params.get("created")) is not int:
            raise InvalidSignature('the parameter "created" is missing')


def same_node(name: str) -> SameNode:
    """Two databases that took the same ID. A setting alone can't part them: a database keeps its ID for life."""
    return SameNode(
        f"Both nodes bear the ID {name!r}.",
        hint="If one is a copy of the other, run sync_init --new-node there; else set up again the one that never "
        "synced, as an empty database with another HANDLEREF_SYNC['NODE'].",
    )


def now() -> float:
    """Wall clock in seconds."""
    return time.time()


def identity(using: str, peer: Peer | None = None) -> Identity:
    """This node's name, and the key by which `peer` knows it. Raises NotInstalled before the first ``migrate``."""
    local = LocalNode.objects.using(using).only("name", "private_key", "next_key").first()
    if local is None:
        raise NotInstalled("This database is not a node yet.", hint="Set HANDLEREF_SYNC['NODE'] and run migrate.")
    key = local.next_key if peer is not None and peer.knows_next and local.next_key else local.private_key
    return Identity(local.name, Ed25519PrivateKey.from_private_bytes(bytes(key)))


def sign_request(me: Identity, request: Request, body: bytes, recipient: str) -> None:
    """Put recipient, digest and signature into the headers of `request`, with a nonce of its own."""
    request.headers[RECIPIENT] = recipient
    _sign(me, request, body, REQUEST_COVERS, nonce=secrets.token_urlsafe(18))


def sign_response(me: Identity, response: Response, body: bytes) -> None:
    """Put digest and signature into the headers of `response`, bound to the signature of its request."""
    _sign(me, response, body, RESPONSE_COVERS, nonce=None)


def verify_request(using: str, me: Identity, request: Request) -> tuple[Peer, VerifyResult]:
    """Who signed these headers; the body is not read yet. Raises an AuthError that says what is wrong."""
    peer, result = authenticate(using, me, request)
    admit(me, request, result)
    return peer, result


def authenticate(using: str, me: Identity, request: Request) -> tuple[Peer, VerifyResult]:
    """The paired node whose signature this is: for whom and when it signed is for `admit` to judge.

    Raises SameNode, UnknownPeer or BadSignature. From here on an error may be signed for whoever asked.
    """
    found: list[Peer] = []

    def find(name: str) -> Ed25519PublicKey:
        if name == me.name:
            raise same_node(name)
        peer = Peer.objects.using(using).filter(name=name).first()
        if peer is None:
            raise UnknownPeer(
                f"{me.name} does not know a node {name!r}.", hint=f"Pair them: run sync_invite {name} on {me.name}."
            )
        found.append(peer)
        return Ed25519PublicKey.from_public_bytes(bytes(peer.public_key))

    def mismatch() -> BadSignature:
        name = found[0].name
        return BadSignature(
            f"{me.name} has another key for {name}; is there a second database with this ID?",
            hint=f"If so, only one may be {name}. If it was set up again, run sync_invite {name} on {me.name}. "
            "Else look for a proxy that changes the path or the headers.",
        )

    try:
        result = _verify(request, find, REQUEST_COVERS, mismatch)
    except BadSignature:
        if not (found and found[0].next_public_key):
            raise
        result = verify_with_key(request, found[0].name, bytes(found[0].next_public_key))
        keys.promote(using, found[0])
    return found[0], result


def admit(me: Identity, request: Request, result: VerifyResult) -> None:
    """Check that a genuine request is meant for us, now, and once. Raises BadSignature or ClockSkew."""
    check_recipient(request, me.name)
    check_clock(result, me.name)
    check_nonce(result)


def verify_with_key(message: Request | Response, name: str, public_key: bytes) -> VerifyResult:
    """Check a signature that has to be that of `name` with `public_key`."""

    def find(signer: str) -> Ed25519PublicKey:
        if signer != name:
            raise BadSignature(
                f"The message is signed by {signer!r}, not by {name!r}.", hint="Check the URL of the peer."
            )
        try:
            return Ed25519PublicKey.from_public_bytes(public_key)
        except ValueError as error:
            raise BadSignature("That is not an Ed25519 public key.", hint="Pair the two nodes again.") from error

    def mismatch() -> BadSignature:
        return BadSignature(
            f"The message is not signed with the key that is known of {name}.",
            hint=f"If {name} was set up again, or another database has its ID now, pair again: sync_invite there, "
            "sync_join here. Else look for a proxy that changes the headers.",
        )

    return _verify(message, find, REQUEST_COVERS if isinstance(message, Request) else RESPONSE_COVERS, mismatch)


def verify_body(message: Request | Response, result: VerifyResult, body: bytes) -> None:
    """Check that `body` is what was signed."""
    try:
        _Verifier(signature_algorithm=ED25519, key_resolver=None).verify_body(message, [result], body)
    except HTTPMessageSignaturesException as error:
        raise BadSignature(
            "The body is not the one that was signed.",
            hint="Something between the two nodes changes or cuts it; look at proxies.",
        ) from error


def check_recipient(request: Request, name: str) -> None:
    """Refuse what was signed for somebody else."""
    meant = {key.lower(): value for key, value in request.headers.items()}[RECIPIENT.lower()]
    if not secrets.compare_digest(meant.encode(), name.encode()):
        raise BadSignature(
            f"The request was signed for {meant!r}, but this is {name!r}.", hint="Check the URL of the peer."
        )


def check_nonce(result: VerifyResult) -> None:
    """Refuse a request that could not be told from its repetition."""
    if not result.nonce or len(result.nonce) > 64:
        raise BadSignature("The signature has no usable nonce.", hint="Use a client of protocol 1.")


def check_clock(result: VerifyResult, here: str) -> None:
    """Refuse a message that was signed too far in the past or the future of our own clock."""
    created, mine = int(result.parameters["created"]), now()
    if abs(created - mine) <= settings.max_clock_skew:
        return
    name = result.parameters["keyid"]
    raise ClockSkew(
        f"The clocks are too far apart: {_clock(created)} on {name}, {_clock(mine)} on {here}"
        f" (limit {settings.max_clock_skew:g} s).",
        hint="Set the wrong one right, by NTP if you can, or raise MAX_CLOCK_SKEW.",
    )


def remember(using: str, peer: Peer, result: VerifyResult) -> None:
    """Note the nonce of a request that proved genuine. Raises Replayed if it has been here."""
    try:
        with transaction.atomic(using=using):
            Nonce.objects.using(using).create(peer_name=peer.name, nonce=result.nonce or "")
    except IntegrityError as error:
        raise Replayed(
            f"This request of {peer.name} has been here before.", hint="Sign each attempt anew, with a new nonce."
        ) from error


def forget_nonces(using: str) -> None:
    """Drop the nonces of requests that would be refused for their age anyway."""
    # Twice the skew, because one may be signed that far ahead of our clock; the rest is for a clock set back a bit.
    age = timedelta(seconds=2 * settings.max_clock_skew + 600)
    Nonce.objects.using(using).filter(created__lt=datetime.now(UTC) - age).delete()


def _sign(me: Identity, message: Request | Response, body: bytes, covers: tuple[str, ...], nonce: str | None) -> None:
    # The digest goes first: `covers` names it, so that it stands at a fixed place.
    signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_Keys(lambda _: me.private_key))
    signer.content_digest_class.add(message.headers, body)
    signer.sign(
        message,
        key_id=me.name,
        created=datetime.fromtimestamp(now(), UTC),
        nonce=nonce,
        label=LABEL,
        tag=TAG,
        covered_component_ids=covers,
        use_existing_digest=True,
    )


def _verify(
    message: Request | Response,
    find: Callable[[str], Any],
    covers: tuple[str, ...],
    mismatch: Callable[[], AuthError],
) -> VerifyResult:
    try:
        verifier = _Verifier(signature_algorithm=ED25519, key_resolver=_Keys(find))
        results = verifier.verify(message, max_age=None, expect_tag=TAG, require_components=covers)
    except HTTPMessageSignaturesException as error:
        if isinstance(error.__cause__, (AuthError, DatabaseError)):
            raise error.__cause__ from None  # a database that fails is not a signature that does
        if isinstance(error.__cause__, WrongKey):
            raise mismatch() from error
        raise BadSignature(f"The signature proves nothing: {error}.", hint="Pair the two nodes again.") from error
    except SyncError:
        raise
    except Exception as error:  # the library's parsers, fed with garbage
        raise BadSignature("The signature cannot be read.", hint="Pair the two nodes again.") from error
    if len(results) != 1:
        raise BadSignature("There is more than one signature.", hint="Use a client of protocol 1.")
    return results[0]


def _clock(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s since 1970"
