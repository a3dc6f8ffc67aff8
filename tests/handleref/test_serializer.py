"""The base of serializers, as applications use it."""

import pytest

from handleref_sync.models import HandleRefModel
from handleref_sync.rest import serializers
from handleref_sync.rest.serializers import HandleRefSerializer
from tests.handleref.models import Org


class OrgSerializer(HandleRefSerializer):
    class Meta:
        model = Org
        fields = ["id", "name", *HandleRefSerializer.Meta.fields]  # noqa: RUF012


class VersionSerializer(HandleRefSerializer):
    class Meta:
        model = Org
        fields = ("id", "version")


def test_the_list_that_applications_add_to():
    assert HandleRefSerializer.Meta.fields == ["created", "updated", "status"]
    assert type(["id"] + HandleRefSerializer.Meta.fields) is list  # noqa: RUF005 - this is how they write it
    assert HandleRefSerializer.Meta.model is HandleRefModel is serializers.HandleRefModel


@pytest.mark.django_db
def test_status_and_version_are_read_only():
    found = OrgSerializer(data={"name": "o", "status": "zz", "version": 7, "created": "2020-01-01T00:00:00Z"})
    assert found.is_valid()
    assert found.validated_data == {"name": "o"}
    org = found.save()
    data = OrgSerializer(org).data
    assert data["status"] == "" and set(data) == {"id", "name", "created", "updated", "status"}
    assert VersionSerializer(org).data == {"id": org.pk, "version": 0}
