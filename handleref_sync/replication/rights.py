"""What a peer may write here.

The invariant: nothing that a peer brings changes a row in a way that the peer has no right to, whoever is said to
have written it. It is judged by who brings a change, for a change bears no signature of its author. What is not
permitted is not thrown away: it is parked, and applied when a peer brings it that may.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps import apps
from django.contrib.auth.hashers import is_password_usable
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from handleref_sync.core.change import Change
from handleref_sync.models import Conflict, LocalNode, Peer
from handleref_sync.registry import Replicated

PRIVILEGES = ("is_superuser", "is_staff", "password")
MEMBERSHIPS = ("groups", "user_permissions")
NOTHING = frozenset[str]()


@dataclass(frozen=True)
class Rights:
    """What `peer` may write. Of nobody in particular: everything."""

    peer: str = ""
    relay: bool = True
    only_models: frozenset[str] | None = None
    read_only: frozenset[str] = frozenset()
    """Labels of models, and ``label.field``."""
    rejoining: bool = False
    """Whether it may lack tombstones that were dropped here."""

    @classmethod
    def of(cls, peer: Peer) -> Rights:
        """Those that the flags of `peer` give it."""
        read_only = default_read_only() if peer.read_only is None else peer.read_only
        return cls(peer.name, peer.relay, only_models(peer), frozenset(map(str.lower, read_only)), peer.rejoining)

    def exchanges(self, change: Change) -> bool:
        """Whether it is about a model, or the log's entry about one, that the peer has to do with."""
        if self.only_models is None:
            return True
        label = change.record.model
        if label == Conflict._meta.label_lower and change.values is not None and "model" in change.fields:
            label = str(change.values[change.fields.index("model")])
        return label in self.only_models

    def protected(self, model: Replicated) -> frozenset[str]:
        """The fields of `model` that it may not write though it may others, by the names under which they travel."""
        own = self._fields.get(model.label)
        return frozenset(c.name for c in model.columns if c.field.name.lower() in own) if own else NOTHING

    def all_of(self, model: Replicated) -> bool:
        """Whether it may write every field of `model`."""
        return not self.read_only or (model.label not in self.read_only and model.label not in self._fields)

    @cached_property
    def _fields(self) -> dict[str, set[str]]:
        """By model: the fields in `read_only`. Asked for each of thousands of changes, few of them of such models."""
        found = defaultdict[str, set[str]](set)
        for entry in self.read_only:
            label, _, field = entry.rpartition(".")
            found[label].add(field)
        return dict(found)

    def knows_too_much(self, change: Change, met: Callable[[str], int]) -> str:
        """Whose writes its clock claims to know that have not come here, where the peer may not vouch for others.

        `met`: the highest counter of a node that was met here.
        Believed, such a clock would win over writes that are still to come, and nobody would log that they lost.
        """
        if self.relay:
            return ""
        for node, counter in change.version.clock.items():
            if node.partition("~")[0] != self.peer and counter > met(node):
                return node
        return ""


def only_models(peer: Peer) -> frozenset[str] | None:
    """The labels of what is exchanged with `peer`; None: all. The conflict log is, as far as it speaks of those."""
    if peer.only_models is None:
        return None
    return frozenset({*map(str.lower, peer.only_models), Conflict._meta.label_lower})


def exchanged(labels: Iterable[str], peer: Peer) -> frozenset[str]:
    """Those of `labels` that are exchanged with `peer`."""
    only = only_models(peer)
    return frozenset(labels) if only is None else only.intersection(labels)


def default_read_only() -> list[str]:
    """What makes a user more than any other: rights and passwords. A site could make itself administrator."""
    try:
        from django.contrib.auth import get_user_model

        user = get_user_model()
    except (ImproperlyConfigured, RuntimeError):  # the project has no users
        return []
    fields = {field.name for field in user._meta.get_fields()}
    names = [f"{user._meta.label_lower}.{name}" for name in PRIVILEGES if name in fields]
    holders: list[Any] = [(user, name) for name in MEMBERSHIPS if name in fields]
    if apps.is_installed("django.contrib.auth"):
        holders.append((apps.get_model("auth", "Group"), "permissions"))
    return names + [getattr(holder, name).through._meta.label_lower for holder, name in holders]


def harmless(field: Any, value: Any) -> bool:
    """Whether a new row may have this value of a field that the peer may not write."""
    if isinstance(field, models.CharField) and field.name == "password" and isinstance(value, str) and value:
        return not is_password_usable(value)
    return bool(value == field.get_default())


class RightsOf:
    """The rights of each peer by its name, looked up once. This node itself may do everything."""

    def __init__(self, using: str, local: LocalNode) -> None:
        self._using = using
        self._known = {local.name: Rights(local.name)}

    def __getitem__(self, name: str) -> Rights:
        if name not in self._known:
            peer = Peer.objects.using(self._using).filter(name=name).first()
            # Who is no peer any more has the rights of a newcomer.
            self._known[name] = Rights.of(peer or Peer(name=name, rejoining=True))
        return self._known[name]
