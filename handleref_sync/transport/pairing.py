"""How two nodes come to know each other's keys: a token that is carried by hand, once.

The token holds a secret, the fingerprint of the inviter's key and the number of the invite. The secret never travels:
both sides prove with HMAC that they know it, over everything that the other is going to believe. The inviter keeps a
key that is derived from it, so that the stored row cannot be turned back into a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from http_message_signatures import VerifyResult

from handleref_sync import wire
from handleref_sync.conf import NODE_ID, URLS, is_url, settings
from handleref_sync.exceptions import (
    BadSignature,
    ConfigurationError,
    MalformedBody,
    PairingError,
    VersionMismatch,
)
from handleref_sync.models import Invite, LocalNode, Nonce, Peer
from handleref_sync.transport import auth
from handleref_sync.transport.caller import TRANSIENT, Answer, Caller, Transient
from handleref_sync.transport.client import ERROR_BYTES, opened, refused

PROTOCOL = 1
MAX_BODY = ERROR_BYTES
"""Bytes of either message; it is read before anybody is proved to have sent it."""
VERSION = b"\x01"  # of the token; as the first byte it also keeps a token from beginning with a dash
SECRET, CHECK = 16, 4
PARTY: dict[str, type] = {"name": str, "public_key": bytes, "url": str, "protocol": int}
"""What either side says of itself."""
KEPT = timedelta(days=30)
"""How long an expired invite is kept, so that its token can be told from a wrong one."""
NOBODY = "?"
"""Stands for whoever brings a wrong token, among the senders whose requests are remembered. No node is called so."""
WRONG_TRIES = 60
"""Wrong tokens within a minute, from whomever, after which none is looked at."""
AGAIN = "Run sync_invite again on the other node."


@dataclass(frozen=True)
class Token:
    """What the text of a token holds."""

    invite: int
    secret: bytes
    fingerprint: bytes

    @property
    def key(self) -> bytes:
        """The HMAC key, which is all that the inviter keeps of the secret."""
        return hashlib.sha256(b"handleref-sync invite" + self.secret).digest()

    def __str__(self) -> str:
        number = self.invite.to_bytes(self.invite.bit_length() // 8 + 1, "big")
        body = VERSION + self.secret + self.fingerprint + number
        return base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Token({self.invite})"  # a log must not show the secret

    @classmethod
    def parse(cls, text: str) -> Token:
        """The inverse of ``str``. Raises PairingError for what is no token, a cut or a mistyped one."""
        text = "".join(text.split())
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            data = b""
        body, check = data[:-CHECK], data[-CHECK:]
        token = cls(int.from_bytes(body[33:], "big"), body[1:17], body[17:33])
        whole = 34 <= len(body) <= 42 and body[:1] == VERSION and hmac.compare_digest(check, _check(body))
        # Base64 leaves bits of the last character unused: a mistake there must not pass either.
        if not whole or str(token) != text.rstrip("="):
            raise PairingError("That is not a whole token.", hint="Copy it again, to its last character.")
        return token


@dataclass(frozen=True)
class Claim:
    """A request to be paired, signed by the key that it brings; what its proof is worth is still open."""

    fields: dict[str, Any]
    proof: bytes
    head: auth.Request
    result: VerifyResult


def invite(using: str, peer_name: str, *, url: str = "", ttl: int | None = None) -> str:
    """The text of a new token for the node `peer_name`, good for one use within `ttl` seconds (default: the setting).

    `url` (default: the setting) is where the other node will reach this one; it only has to exist, for the token
    doesn't hold it. Raises ConfigurationError without one or for one that is none, and for a bad name or our own.
    """
    me = auth.identity(using)
    if not NODE_ID.fullmatch(peer_name):
        raise ConfigurationError(
            f"{peer_name!r} is not a node ID.", hint="A node ID has lower-case letters, digits and dashes."
        )
    if peer_name == me.name:
        raise ConfigurationError(
            f"{peer_name} is this node itself.",
            hint="Give the ID of the other one, which HANDLEREF_SYNC['NODE'] says there.",
        )
    if not (url or settings.url):
        raise ConfigurationError(
            "This node has no URL at which the other one could reach it.",
            hint="Set HANDLEREF_SYNC['URL'] or give --url, such as --url https://hq.example/sync/; or invite from "
            "the side that can be reached.",
        )
    if url and not is_url(url):
        raise ConfigurationError(f"{url!r} is not a URL at which a node can be reached.", hint=f"Give {URLS}.")
    rows = Invite.objects.using(using)
    rows.filter(expires__lt=timezone.now() - KEPT).delete()
    secret = secrets.token_bytes(SECRET)
    key = Token(0, secret, b"").key
    expires = timezone.now() + timedelta(seconds=settings.invite_ttl if ttl is None else ttl)
    row = rows.create(peer_name=peer_name, token_hash=key.hex(), expires=expires)
    return str(Token(row.pk, secret, auth.fingerprint(me.public_key)))


def join(using: str, url: str, token: str, *, sleep: Callable[[float], object] = time.sleep) -> Peer:
    """Pair with the node at `url`, which printed `token`. To do it again with the same token is safe.

    Raises ConfigurationError for a URL that is none, PairingError for a token or an answer that is wrong,
    PeerUnreachable, or PeerRefused.
    """
    me = auth.identity(using)
    if not is_url(url):
        if is_url(token):
            raise ConfigurationError("URL and token have changed places.", hint="Give the URL first, then the token.")
        raise ConfigurationError(
            f"{url!r} is not a URL at which a node can be reached.",
            hint=f"Copy the whole line that sync_invite printed; the first word after sync_join is {URLS}.",
        )
    ticket = Token.parse(token)
    fields = {
        "invite": ticket.invite,
        "name": me.name,
        "public_key": me.public_key,
        "url": settings.url,
        "protocol": PROTOCOL,
        "nonce": secrets.token_bytes(16),
    }
    body = wire.compress(wire.pack({**fields, "proof": _proof(ticket.key, "join", fields)}))
    caller = Caller("the other node", url, sleep, again="run sync_join again")

    def once() -> dict[str, Any]:
        # Signed for whoever has that fingerprint: its name is not known yet.
        with caller.post(
            "pair", body, "gzip", lambda r: auth.sign_request(me, r, body, ticket.fingerprint.hex())
        ) as answer:
            return _read(answer, ticket, fields)

    try:
        theirs = caller.retrying(once)
    finally:
        caller.close()
    if theirs["name"] == me.name:
        raise auth.same_node(me.name)
    # Whoever joins has chosen to trust the node that it joins; the other way round it has to be given more rights.
    return _save(using, theirs["name"], caller.url, theirs["public_key"], read_only=[])


def claim(head: auth.Request, body: bytes, message: dict[str, Any]) -> Claim:
    """The claim in a request whose body is `body`. Raises MalformedBody, or BadSignature if its key isn't its own."""
    fields, proof = _fields(message, {**PARTY, "invite": int, "nonce": bytes})
    if not 0 < fields["invite"] < 2**63:
        raise MalformedBody("The request to pair names no invite.", hint="Bring both nodes to the same version.")
    result = auth.verify_with_key(head, fields["name"], fields["public_key"])
    auth.verify_body(head, result, body)
    return Claim(fields, proof, head, result)


def accept(using: str, me: auth.Identity, claim: Claim) -> dict[str, Any]:
    """Check `claim`, make the peer, and answer. Raises PairingError, SameNode, ClockSkew or BadSignature."""
    fields, name = claim.fields, claim.fields["name"]
    if fields["protocol"] != PROTOCOL:
        spoken = fields["protocol"] if 0 <= fields["protocol"] < 2**31 else "that is none"
        raise VersionMismatch(
            f"{name} speaks protocol {spoken}, {me.name} speaks {PROTOCOL}.",
            hint="Bring both nodes to the same version.",
        )
    tries = Nonce.objects.using(using).filter(peer_name=NOBODY)
    if tries.filter(created__gt=timezone.now() - timedelta(minutes=1)).count() >= WRONG_TRIES:
        raise PairingError(f"Too many wrong tokens came to {me.name} just now.", hint="Try again in a minute.")
    found = Invite.objects.using(using).filter(pk=fields["invite"]).first()
    key = bytes.fromhex(found.token_hash) if found else secrets.token_bytes(32)
    if not hmac.compare_digest(claim.proof, _proof(key, "join", fields)) or found is None:
        tries.create(peer_name=NOBODY, nonce=secrets.token_urlsafe(18))
        raise PairingError(f"{me.name} did not print this token.", hint=f"Check the URL. {AGAIN}")
    # Only now may anything be said about the invite: whoever asks has the token.
    auth.check_recipient(claim.head, auth.fingerprint(me.public_key).hex())
    auth.check_clock(claim.result, me.name)
    auth.check_nonce(claim.result)
    if name == me.name:
        raise auth.same_node(name)
    if found.peer_name != name:
        raise PairingError(
            f"The token was made for {found.peer_name}, not for {name}.",
            hint=f"Run sync_invite {name} on {me.name}, or use this token in the database of {found.peer_name}.",
        )
    if found.expires <= timezone.now():
        raise PairingError(f"The token has expired, at {found.expires:%Y-%m-%d %H:%M} UTC.", hint=AGAIN)
    with transaction.atomic(using=using):
        rows = Invite.objects.using(using).filter(pk=found.pk, used_at=None)
        # One UPDATE decides between two who come at the same time. The answer may have been lost, so whoever became
        # the peer by this invite may come back with it.
        if not rows.update(used_at=timezone.now()):
            known = Peer.objects.using(using).filter(name=name).first()
            if known is None or not hmac.compare_digest(bytes(known.public_key), fields["public_key"]):
                raise PairingError("The token has been used.", hint=AGAIN)
        peer = _save(using, name, fields["url"], fields["public_key"])
        auth.remember(using, peer, claim.result)
    mine = {"name": me.name, "public_key": me.public_key, "url": settings.url, "protocol": PROTOCOL}
    return {**mine, "proof": _proof(key, "invite", {"join": fields, "invite": mine})}


def _read(answer: Answer, ticket: Token, fields: dict[str, Any]) -> dict[str, Any]:
    body, head = answer.read(MAX_BODY), answer.head
    if head.status_code != 200:
        error = refused(answer.name, head, body, signed=True)  # signed or not, here its key can't be known
        if head.status_code in TRANSIENT:
            raise Transient(error)
        raise PairingError(error.message, hint=error.hint) if error.reason == PairingError.reason else error
    message = opened(head, body, 16 * MAX_BODY)
    mine, proof = _fields(message, PARTY)
    if not hmac.compare_digest(auth.fingerprint(mine["public_key"]), ticket.fingerprint):
        raise PairingError(
            "The key of the node that answers is not the one in the token.",
            hint="Check the URL: this is another node, or somebody in between.",
        )
    try:
        auth.verify_body(head, auth.verify_with_key(head, mine["name"], mine["public_key"]), body)
    except BadSignature as error:
        raise PairingError("The answer is not signed by the node that made the token.", hint=error.hint) from error
    if not hmac.compare_digest(proof, _proof(ticket.key, "invite", {"join": fields, "invite": mine})):
        raise PairingError("The node that answers does not know the token.", hint=AGAIN)
    return mine


def _fields(message: dict[str, Any], kinds: dict[str, type]) -> tuple[dict[str, Any], bytes]:
    """What the message says of its sender, and the proof. Raises MalformedBody for what can't be stored."""
    fields, proof = {name: message.get(name) for name in kinds}, message.get("proof")
    if not isinstance(proof, bytes) or any(type(fields[name]) is not kind for name, kind in kinds.items()):
        raise MalformedBody("The message to pair is not complete.", hint="Bring both nodes to the same version.")
    name, url = str(fields["name"]), str(fields["url"])
    if not NODE_ID.fullmatch(name):
        raise MalformedBody(f"A node that is to be paired has the ID {name[:80]!r}.", hint="Correct its NODE.")
    if url and not is_url(url):
        raise MalformedBody(f"{name} says that its URL is {url[:200]!r}.", hint=f"Let its setting URL be {URLS}.")
    return fields, proof


def _save(using: str, name: str, url: str, public_key: bytes, **flags: Any) -> Peer:
    """Make or renew the peer. Its flags stay what they were, if it was known."""
    values: dict[str, Any] = {"url": url, "public_key": public_key, "next_public_key": None, "revoked": None}
    if LocalNode.objects.using(using).exclude(dropped="").exists():
        # It may still have what was deleted here so long ago that nobody remembers: it has to show all of it.
        values |= {"rejoining": True, "pull_sequence": 0, "pull_token": ""}
    rows = Peer.objects.using(using)
    return rows.update_or_create(name=name, defaults=values, create_defaults={**values, **flags})[0]


def _proof(key: bytes, label: str, fields: dict[str, Any]) -> bytes:
    return hmac.digest(key, wire.pack([label, fields]), "sha256")


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"handleref-sync token" + body).digest()[:CHECK]
