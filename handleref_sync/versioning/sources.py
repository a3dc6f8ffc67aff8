"""From revisions to the nodes that wrote them. Works without django-reversion: there is nothing to be found then."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import router

from handleref_sync.models import LocalNode, RevisionSource


def sources_of(revision_ids: Iterable[int], using: str) -> dict[int, RevisionSource]:
    """The sources of those revisions that replication made, by revision ID, in one query.

    `using` is the database that holds the revisions. Those that are not in the answer were made there, on the node
    `local_node_name` tells.
    """
    if not router.allow_migrate_model(using, RevisionSource):
        return {}
    return RevisionSource.objects.using(using).in_bulk(set(revision_ids))


def local_node_name(using: str) -> str | None:
    """The ID of the node that the database at alias `using` is; None where it is no node."""
    if not router.allow_migrate_model(using, LocalNode):
        return None
    return LocalNode.objects.using(using).values_list("name", flat=True).first()


def node_of(revision_id: int, using: str) -> str | None:
    """The ID of the node that wrote what this revision holds. For many revisions use `sources_of`."""
    source = sources_of([revision_id], using).get(revision_id)
    return local_node_name(using) if source is None else source.node
