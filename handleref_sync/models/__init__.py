"""The library's models: what applications build on, and the ledger that describes their rows."""

from handleref_sync.models.conflict import Conflict
from handleref_sync.models.handleref import CreatedDateTimeField, HandleRefModel, UpdatedDateTimeField
from handleref_sync.models.ledger import Applying, Capture, LocalNode, Node, ReplicatedModel, Stamp
from handleref_sync.models.parked import Parked
from handleref_sync.models.peer import Invite, Nonce, Peer
from handleref_sync.models.queryset import HandleRefManager, HandleRefQuerySet

__all__ = [
    "Applying",
    "Capture",
    "Conflict",
    "CreatedDateTimeField",
    "HandleRefManager",
    "HandleRefModel",
    "HandleRefQuerySet",
    "Invite",
    "LocalNode",
    "Node",
    "Nonce",
    "Parked",
    "Peer",
    "ReplicatedModel",
    "Stamp",
    "UpdatedDateTimeField",
]
