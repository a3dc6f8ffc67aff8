"""Trying parked changes again because somebody asks for it, and not because a peer was met.

The invariant of the hello holds here too: nothing is stamped or numbered before a peer has said what it has seen of
us. Otherwise a database that was restored from a backup would give its dots a second time, and hide that it did.
"""

from __future__ import annotations

from handleref_sync.exceptions import PeerUnreachable, SyncError
from handleref_sync.models import Peer
from handleref_sync.replication import place
from handleref_sync.replication.applier import retry_parked
from handleref_sync.replication.hello import Hello, hello, meet
from handleref_sync.replication.ledger import local_node
from handleref_sync.replication.outcome import Outcome
from handleref_sync.transport.client import HttpTransport


def retry(using: str) -> Outcome:
    """Try all parked changes now. Raises PeerUnreachable where no peer can be heard before."""
    local, why = local_node(using), []
    place.check(using)
    peers = list(Peer.objects.using(using).filter(revoked=None).order_by("name"))
    for peer in peers:
        try:
            _hear(using, peer)
            break
        except SyncError as error:
            why.append(error.message)
    else:
        if peers:
            raise PeerUnreachable(
                f"No peer could be asked what it has seen of {local.name}, so nothing was tried. {' '.join(why)}",
                hint="All is tried again whenever a peer is met.",
            )
    return retry_parked(using, local.name, settle=True)


def _hear(using: str, peer: Peer) -> None:
    transport = HttpTransport(using, peer)
    try:
        meet(using, peer, Hello.from_message(transport.call("hello", hello(using, peer).to_message())))
    finally:
        transport.close()
