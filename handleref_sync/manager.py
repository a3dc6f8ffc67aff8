"""The manager under the name that applications import it by."""

from handleref_sync.models.queryset import HandleRefManager, HandleRefQuerySet

__all__ = ["HandleRefManager", "HandleRefQuerySet"]
