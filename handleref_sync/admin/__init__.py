"""The admin: an object's versions with revert and rollback, soft deletion of many, and where a row was written."""

from handleref_sync.admin.listing import HistoryActionsForm, HistoryListing
from handleref_sync.admin.soft_deletion import soft_delete_selected
from handleref_sync.admin.version_admin import VersionAdmin
from handleref_sync.admin.waiting import ConflictAdmin, ParkedAdmin
from handleref_sync.admin.written_at import NodeFilter, WrittenAtMixin
from handleref_sync.version import ReversionReverter, ReversionVersion

__all__ = [
    "ConflictAdmin",
    "HistoryActionsForm",
    "HistoryListing",
    "NodeFilter",
    "ParkedAdmin",
    "ReversionReverter",
    "ReversionVersion",
    "VersionAdmin",
    "WrittenAtMixin",
    "soft_delete_selected",
]
