"""The number that a snapshot holds: the field ``version`` inside the serialized row of a reversion ``Version``."""

from __future__ import annotations

import json
from typing import Any

from django.core import serializers
from reversion.errors import RevertError
from reversion.revisions import _get_options

FIELD = "version"


def options_of(model: Any) -> Any:
    """What `model` was registered with: ``fields``, ``format``, ``follow`` and so on."""
    return _get_options(model)


def id_field(model: Any) -> str:
    """The attribute that reversion knows a row by; it is the primary key in versions that have no such option."""
    return str(getattr(options_of(model), "object_id_field", model._meta.pk.attname))


def serialize(instance: Any, options: Any) -> str:
    """The snapshot of a row, in the form that reversion itself gives it."""
    text: str = serializers.serialize(
        options.format,
        (instance,),
        fields=options.fields,
        use_natural_foreign_keys=options.use_natural_foreign_keys,
    )
    return text


def number_in(version: Any) -> int | None:
    """The row's number in this snapshot; None where it has none that can be read."""
    entry = _as_json(version)
    if entry is not None:
        found = entry[-1]["fields"].get(FIELD)
    else:
        try:
            found = version._local_field_dict.get(FIELD)
        except RevertError:
            return None
    return found if isinstance(found, int) else None


def renumber(version: Any, number: int) -> bool:
    """Let the snapshot say `number`; False where it says so already, or holds no number. Saves nothing."""
    options = options_of(version._model)
    if FIELD not in options.fields or number_in(version) in (None, number):
        return False
    entry = _as_json(version)
    if entry is not None:
        entry[-1]["fields"][FIELD] = number
        text = json.dumps(entry[0], ensure_ascii=False)
    else:
        instance = version._object_version.object
        instance.version = number
        instance._state.db = version.db  # where its many-to-many rows are
        text = serialize(instance, options)
    version.serialized_data = text
    for cached in ("_object_version", "_local_field_dict", "field_dict"):
        version.__dict__.pop(cached, None)
    return True


def _as_json(version: Any) -> tuple[Any, dict[str, Any]] | None:
    """The document of a snapshot in JSON and the row in it: no object has to be made to read one number."""
    if version.format not in ("json", "jsonl"):
        return None
    try:
        document = json.loads(version.serialized_data)
        row = document[0] if isinstance(document, list) else document
        row["fields"].get(FIELD)
    except (ValueError, LookupError, AttributeError, TypeError):
        return None  # a serializer of the project's own goes by that name
    return document, row
