"""Whether this database is the one that it was: the same place, and nothing of what it had is gone.

The invariant: no dot is given twice, not even by a database that was copied or restored before any peer could say so.
Two marks are outside of what a backup brings back: where the database is, and, where the operator has named a file
for it, how far it was.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from pathlib import Path

from django.db import connections, transaction

from handleref_sync.capture.base import vendor_for
from handleref_sync.conf import settings
from handleref_sync.exceptions import ConfigurationError, PlaceChanged
from handleref_sync.models import LocalNode, Node
from handleref_sync.replication.ledger import Ledger, local_node, locked


def check(using: str) -> bool:
    """Look at both marks before anything is stamped; returns whether a new incarnation was taken.

    Raises PlaceChanged where the operator has to say what happened, ConfigurationError for a mark that can't be read.
    """
    local = refuse_elsewhere(using)
    known = _read(local.name)
    if known is None or _behind(local, *known):
        return False
    with locked(using) as ledger:
        if not _behind(ledger.local, *known):
            renew(ledger)
    return True


def refuse_elsewhere(using: str) -> LocalNode:
    """This database's own node, if it is where it was. Raises PlaceChanged."""
    local = local_node(using)
    if settings.check_place:
        here = vendor_for(connections[using]).place()
        if not local.place and here:
            LocalNode.objects.using(using).update(place=here)
        elif here and here != local.place:
            raise PlaceChanged(
                f"The database of {local.name} is not where it was: {here}, not {local.place}.",
                hint="Say what happened. Moved, and the old one is gone: sync_init --moved. Restored from a backup:"
                " sync_init --restored. A copy of a node that goes on: set another NODE, and sync_init --new-node.",
            )
    return local


def _behind(local: LocalNode, incarnation: str, sequence: int) -> bool:
    """Whether the mark says nothing that this database doesn't know."""
    return incarnation == local.incarnation.name and sequence <= local.sequence


def renew(ledger: Ledger, *, vouched_by: str = "") -> str:
    """Go on as a new incarnation of this node, whose name is returned. Always safe: it costs nothing but a name."""
    local = ledger.local
    # Random, not counted: a count would be restored with the backup, and so used twice.
    name = f"{local.name}~{secrets.token_hex(4)}"
    local.incarnation = Node.objects.using(ledger.using).create(name=name)
    local.vouched_by = vouched_by
    local.save(using=ledger.using, update_fields=["incarnation", "vouched_by"])
    transaction.on_commit(lambda: mark(ledger.using), using=ledger.using)
    return name


def mark(using: str) -> None:
    """Keep how far this database is, outside of it. Before a dot leaves it: what nobody has seen may be lost."""
    if not settings.high_water_mark:
        return
    local = local_node(using)
    known = _read(local.name)
    if known == (local.incarnation.name, local.sequence):
        return
    path = Path(settings.high_water_mark)
    text = json.dumps({"node": local.name, "incarnation": local.incarnation.name, "sequence": local.sequence})
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except OSError as error:
        raise ConfigurationError(
            f"HANDLEREF_SYNC['HIGH_WATER_MARK'] can't be written: {error}.",
            hint="Give this process the right to write that file and its folder, or take the setting out.",
        ) from error


def _read(node: str) -> tuple[str, int] | None:
    """Incarnation and sequence of the mark; None where there is none yet."""
    if not settings.high_water_mark:
        return None
    path = Path(settings.high_water_mark)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, incarnation, sequence = found["node"], found["incarnation"], int(found["sequence"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is no high-water mark ({type(error).__name__}: {error}).",
            hint="If nothing else is known of how far this node was, delete it and run sync_init --restored.",
        ) from error
    if name != node:
        raise ConfigurationError(
            f"{path} is the high-water mark of {name}, and this is {node}.",
            hint="Give each node a file of its own in HANDLEREF_SYNC['HIGH_WATER_MARK'].",
        )
    return str(incarnation), sequence
