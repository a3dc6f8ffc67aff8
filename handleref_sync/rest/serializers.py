"""A base for the serializers of HandleRefModels."""

from __future__ import annotations

from rest_framework import serializers

from handleref_sync.models import HandleRefModel


class HandleRefSerializer(serializers.ModelSerializer):  # type: ignore[misc, unused-ignore]
    """``version`` and ``status`` are read-only, also where a subclass lists them among its fields."""

    version = serializers.ReadOnlyField()
    status = serializers.ReadOnlyField()

    class Meta:
        model = HandleRefModel
        fields = ["created", "updated", "status"]  # noqa: RUF012 - a list: applications add lists of their own to it


__all__ = ["HandleRefModel", "HandleRefSerializer"]
