"""What only an operator can know of a node: restored, moved, a copy that becomes another node, gone for good."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections, transaction
from django.utils import timezone

from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Invite, LocalNode, Node, Nonce, Peer
from handleref_sync.replication import keys, place
from handleref_sync.replication.ledger import local_node, locked


def restored(using: str) -> str:
    """Go on as a new incarnation, whose name is returned: this database came from a backup, and it is here now.

    What it had stamped since that backup is in doubt. What peers have of it comes back with the next sync.
    """
    with locked(using) as ledger:
        name = place.renew(ledger)
        _here(using)
    return name


def moved(using: str) -> str:
    """This database is the node that it was, only elsewhere; returns where."""
    local_node(using)
    with transaction.atomic(using=using):
        return _here(using)


def become(using: str) -> str:
    """Make this copy of a node's database a node of its own, with the ID of the setting; returns what it was.

    All records keep their stamps, so that nothing crosses that both have. It has a key of its own and no peers: they
    know the node that it was copied from. Raises ConfigurationError for an ID that is not new.
    """
    with locked(using) as ledger:
        local, name = ledger.local, settings.node
        was = local.name
        if name == was:
            raise ConfigurationError(
                f"HANDLEREF_SYNC['NODE'] is still {was!r}.",
                hint="Set the ID that this copy shall have, and which no node of the network ever had.",
            )
        names = {node.partition("~")[0] for node in Node.objects.using(using).values_list("name", flat=True)}
        if name in names | set(Peer.objects.using(using).values_list("name", flat=True)):
            raise ConfigurationError(
                f"{name} is the ID of another node of this network.", hint="Set one that no node ever had."
            )
        local.incarnation = Node.objects.using(using).create(name=name)
        local.name, local.vouched_by, local.baseline, local.next_key = name, "", "", None
        local.private_key = Ed25519PrivateKey.generate().private_bytes_raw()
        local.save(using=using)
        for rows in (Peer.objects, Invite.objects, Nonce.objects):
            rows.using(using).all().delete()
        _here(using)
        transaction.on_commit(lambda: place.mark(using), using=using)
    return was


def revoke(using: str, name: str) -> None:
    """Believe nothing any more that the peer `name` signs. What it brought stays. Raises ConfigurationError."""
    with transaction.atomic(using=using):
        if not Peer.objects.using(using).filter(name=name).update(revoked=timezone.now(), lease="", lease_until=None):
            raise no_peer(using, name)
        Invite.objects.using(using).filter(peer_name=name, used_at=None).delete()
    keys.settle(using)


def forget(using: str, name: str) -> None:
    """The peer `name` is gone for good: nothing waits for it any more. What it wrote stays."""
    with transaction.atomic(using=using):
        if not Peer.objects.using(using).filter(name=name).delete()[0]:
            raise no_peer(using, name)
        Invite.objects.using(using).filter(peer_name=name).delete()
        Nonce.objects.using(using).filter(peer_name=name).delete()
    keys.settle(using)


def no_peer(using: str, name: str) -> ConfigurationError:
    """What to raise where no peer is called `name`."""
    known = ", ".join(Peer.objects.using(using).order_by("name").values_list("name", flat=True))
    return ConfigurationError(f"There is no peer {name}.", hint=f"Known are: {known or 'none'}.")


def _here(using: str) -> str:
    found = vendor_for(connections[using]).place()
    LocalNode.objects.using(using).update(place=found)
    return found
