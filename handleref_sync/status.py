"""What an operator wants to see at a glance: this node, its peers, what lags, what waits."""

from __future__ import annotations

from typing import Any

from handleref_sync.capture import install, schema
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.models import Conflict, Parked, Peer, ReplicatedModel
from handleref_sync.replication import cursors, feed, parking
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.rights import Rights, exchanged


def status(using: str) -> dict[str, Any]:
    """The node at alias `using`, ready for JSON. Stamps nothing. Raises NotInstalled."""
    ledger = Ledger(using)
    parked: dict[str, int] = {}
    for reason in Parked.objects.using(using).values_list("reason", flat=True):
        parked[reason] = parked.get(reason, 0) + 1
    return {
        "node": ledger.local.name,
        "incarnation": ledger.local.incarnation.name,
        "sequence": ledger.local.sequence,
        "baseline": ledger.local.baseline,
        "vector": dict(ledger.vector()),
        "models": sorted(ledger.models),
        "missing_tables": [lack.sentence() for lack in schema.unmigrated(using)],
        "missing_triggers": install.missing(using),
        "dirty": feed.dirty(ledger),
        "conflicts": Conflict.objects.using(using).filter(restored=False, dismissed=False).count(),
        "parked": parked,
        "parked_overdue": parking.overdue(using),
        "dots_reused": parking.reused(using),
        "settled": not parked,
        "unreadable": {
            label: rows
            for label, rows in ReplicatedModel.objects.using(using)
            .order_by("label")
            .values_list("label", "unreadable")
            if rows
        },
        "waiting_fields": dict(
            ReplicatedModel.objects.using(using).exclude(unknown=[]).order_by("label").values_list("label", "unknown")
        ),
        "peers": [_peer(using, ledger, peer) for peer in Peer.objects.using(using).order_by("name")],
    }


def _peer(using: str, ledger: Ledger, peer: Peer) -> dict[str, Any]:
    scope = cursors.Scope(exchanged(ledger.models, peer))
    # What the peer got from us it may since have passed on; only it knows, so this is an upper bound until it is met.
    after = peer.given[-1][0] if peer.given and peer.given_scope == scope.name() else 0
    return {
        "name": peer.name,
        "url": peer.url,
        "passive": not peer.url,
        "revoked": _moment(peer.revoked),
        "can_pull": peer.can_pull,
        "can_push": peer.can_push,
        "relay": peer.relay,
        "models": peer.only_models,
        "read_only": sorted(Rights.of(peer).read_only),
        "last_attempt": _moment(peer.last_attempt),
        "last_success": _moment(peer.last_success),
        "last_error": peer.last_error,
        "to_pull": peer.lag_pull,
        "to_push": feed.lag(using, after, VersionVector.parse(peer.known), scope),
    }


def _moment(value: Any) -> str | None:
    return value.isoformat(timespec="seconds") if value else None
