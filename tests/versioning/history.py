"""Reading a history in tests."""

from reversion.models import Revision, Version

from handleref_sync.models import RevisionSource
from handleref_sync.versioning.sources import local_node_name, sources_of


def entries(row):
    """(node, lost, fields) of each version of a row, oldest first."""
    using = row._state.db
    found = list(Version.objects.using(using).get_for_object(row, model_db=using).order_by("pk"))
    sources = sources_of([v.revision_id for v in found], using)
    return [_entry(v, sources.get(v.revision_id), using) for v in found]


def _entry(version, source, using):
    node, lost = (source.node, source.lost) if source else (local_node_name(using), False)
    return node, lost, version.field_dict


def names(row):
    """The same, with the name alone of all fields."""
    return [(node, lost, fields["name"]) for node, lost, fields in entries(row)]


def comments(using):
    return list(Revision.objects.using(using).order_by("pk").values_list("comment", flat=True))


def count(using):
    """Revisions, versions, and sources."""
    return tuple(model.objects.using(using).count() for model in (Revision, Version, RevisionSource))
