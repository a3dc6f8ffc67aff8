"""The library's models: what applications build on, and the ledger that describes their rows.

The ledger's models name their application themselves, so that a project which only inherits from HandleRefModel can
import this without having it in INSTALLED_APPS.
"""

from typing import Any

from handleref_sync.models.conflict import Conflict
from handleref_sync.models.fields import CreatedDateTimeField, UpdatedDateTimeField
from handleref_sync.models.handleref import HandleRefMeta, HandleRefModel, HandleRefOptions
from handleref_sync.models.ledger import Applying, Capture, LocalNode, Node, ReplicatedModel, Stamp
from handleref_sync.models.parked import Parked
from handleref_sync.models.peer import Invite, Nonce, Peer
from handleref_sync.models.queryset import HandleRefManager, HandleRefQuerySet
from handleref_sync.models.revision import RevisionSource

__all__ = [
    "Applying",
    "Capture",
    "Conflict",
    "CreatedDateTimeField",
    "HandleRefManager",
    "HandleRefMeta",
    "HandleRefModel",
    "HandleRefOptions",
    "HandleRefQuerySet",
    "Invite",
    "LocalNode",
    "Node",
    "Nonce",
    "Parked",
    "Peer",
    "ReplicatedModel",
    "RevisionSource",
    "Stamp",
    "UpdatedDateTimeField",
]


def __getattr__(name: str) -> Any:
    """``handle_version`` is here where django-reversion is installed, as in django-handleref 2.0."""
    if name == "handle_version":
        try:
            # Late, because it stands above the models; it is no part of what this package is made of.
            from handleref_sync.versioning.bump import handle_version
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "reversion":
                raise
        else:
            return handle_version
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
