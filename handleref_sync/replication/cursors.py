"""Where a reader stands in this database's feed, as this database remembers it.

The invariant: a place in the feed is believed only if it was given to this reader, in this scope. After a restore the
numbers begin anew from an older one, and a place that was given before would leave out what is written since.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F

from handleref_sync import wire
from handleref_sync.models import Parked, Peer
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.page import Cursor

REMEMBERED = 8
"""How many cursors that were given to a reader are remembered: where it stands, and what may be on its way."""


@dataclass(frozen=True)
class Scope:
    """What an exchange is about: the models that both replicate, and whether others' writes are passed on."""

    models: frozenset[str]
    own_only: bool = False

    def admits(self, ledger: Ledger, row: StampRow | Parked) -> bool:
        """Whether the exchange is about writes of this one's author."""
        return not self.own_only or ledger.node_name(row.node_id).partition("~")[0] == ledger.local.name

    def name(self) -> str:
        """A short name under which cursors are kept: another scope has another position in the feed."""
        return wire.digest([sorted(self.models), self.own_only])[:16]


def resume(reader: Peer, cursor: Cursor, scope: Scope) -> int:
    """The sequence to go on from. A cursor that isn't remembered counts as 0: this database was restored."""
    return cursor[0] if remembered(reader, cursor, scope) else 0


def remembered(reader: Peer, cursor: Cursor, scope: Scope) -> bool:
    """Whether this place was given to `reader`, lately enough."""
    return scope.name() == reader.given_scope and list(cursor) in reader.given


def give(using: str, reader: Peer, standing: Cursor, position: int, scope: Scope) -> Cursor:
    """The cursor of `position` for `reader`, who stands at `standing`; it is remembered as given.

    More than the last one: an answer may be lost on its way, or never applied, and the reader then asks again from
    where it stands. Without its place there it would get everything anew. So the places that it named last are kept
    before those that it never came back to, and who asks again for the same page gets the same cursor.
    """
    with transaction.atomic(using=using):
        # A request of a process that was killed may still be answered beside that of the next one. A write first, so
        # that it waits for that one's commit, and reads what it has remembered.
        rows = Peer.objects.using(using).filter(pk=reader.pk)
        rows.update(given_scope=F("given_scope"))
        reader.given, reader.given_scope = rows.values_list("given", "given_scope").get()
        cursor: Cursor = (position, secrets.token_urlsafe(9))
        if remembered(reader, standing, scope):
            cursor = next(((n, token) for n, token in reversed(reader.given) if n == position), cursor)
            named = (list(standing), list(cursor))
            others = [pair for pair in reader.given if pair not in named]
            reader.given = [*others[len(named) - REMEMBERED :], *named]
        else:  # never to be trusted, not even now that it has been named
            reader.given = [list(cursor)]
        reader.given_scope = scope.name()
        reader.save(using=using, update_fields=["given", "given_scope"])
    return cursor


def acknowledged(using: str, reader: Peer, sequence: int) -> None:
    """Note that `reader` has all that it gets of this feed up to `sequence`. A reader that was restored goes back."""
    if reader.acknowledged != sequence:
        reader.acknowledged = sequence
        with transaction.atomic(using=using):
            reader.save(using=using, update_fields=["acknowledged"])
