"""A new key for a node that keeps its peers.

The invariant: each side signs only with a key that the other is known to have, and believes a new one only on the
word of the old. So nothing is lost if a message is, and a peer that is away for long goes on with the old key until
it is met. When all have the new one, the old is dropped.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import LocalNode, Peer
from handleref_sync.replication.ledger import local_node


def fingerprint(public_key: bytes) -> bytes:
    """What is told of a key: enough that nobody finds a second key for it."""
    return hashlib.sha256(public_key).digest()[:16]


def rotate(using: str) -> list[str]:
    """Make a new key; returns the peers that have to be met before the old one goes.

    Raises ConfigurationError while the last new key is still on its way.
    """
    local = local_node(using)
    if local.next_key:
        waiting = ", ".join(waiting_for(using))
        raise ConfigurationError(
            f"{local.name} has a new key already, which {waiting} does not know yet.",
            hint="Let them meet, or forget or revoke those that will not come.",
        )
    with transaction.atomic(using=using):
        Peer.objects.using(using).update(knows_next=False)
        LocalNode.objects.using(using).update(next_key=Ed25519PrivateKey.generate().private_bytes_raw())
    settle(using)
    return waiting_for(using)


def waiting_for(using: str) -> list[str]:
    """The peers that do not know the new key yet."""
    late = Peer.objects.using(using).filter(knows_next=False, revoked=None).order_by("name")
    return list(late.values_list("name", flat=True))


def offered(local: LocalNode) -> bytes:
    """The public half of the new key; empty where there is none on its way."""
    if not local.next_key:
        return b""
    return Ed25519PrivateKey.from_private_bytes(bytes(local.next_key)).public_key().public_bytes_raw()


def known(peer: Peer) -> bytes:
    """The fingerprint of the newest key of `peer` that we have."""
    return fingerprint(bytes(peer.next_public_key or peer.public_key))


def met(using: str, peer: Peer, next_key: bytes, knows: bytes) -> None:
    """Take in what the peer says of its own new key, and of which of ours it has."""
    local = local_node(using)
    if next_key and next_key not in (bytes(peer.public_key), bytes(peer.next_public_key or b"")):
        peer.next_public_key = next_key
        peer.save(using=using, update_fields=["next_public_key"])
    if local.next_key and not peer.knows_next and knows == fingerprint(offered(local)):
        peer.knows_next = True
        peer.save(using=using, update_fields=["knows_next"])
        settle(using)


def promote(using: str, peer: Peer) -> None:
    """The peer has signed with its new key: the old one is believed no more."""
    peer.public_key, peer.next_public_key = peer.next_public_key, None
    peer.save(using=using, update_fields=["public_key", "next_public_key"])


def settle(using: str) -> None:
    """Drop the old key once every peer knows the new one."""
    with transaction.atomic(using=using):
        local = LocalNode.objects.using(using).select_for_update().get()
        if local.next_key and not waiting_for(using):
            local.private_key, local.next_key = local.next_key, None
            local.save(using=using, update_fields=["private_key", "next_key"])
