"""The three forms of one field's values: the database driver's, the field's own in Python, and the wire's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.db import DataError, Error, models

from handleref_sync import wire
from handleref_sync.capture.base import Vendor
from handleref_sync.exceptions import SyncError


class Unfit(Exception):
    """A value that this database can't hold, or a field that it doesn't have."""


REUSED = "one dot, two contents"
"""How the reason begins why a change waits that says something else than what was known under its dot."""


def raise_unless_of_a_value(vendor: Vendor, error: Exception) -> None:
    """Raises `error` if it is not about a value that was read, but about the connection, the disk, or a rule of ours.

    What a field raises for a value that is none of its type is the field's own affair: anything at all.
    """
    ours = isinstance(error, SyncError) or (isinstance(error, Error) and not isinstance(error, DataError))
    if ours and (not vendor.refused(error) or vendor.lacks_column(error)):
        raise error


TRAVELS = (
    models.CharField,
    models.TextField,
    models.BooleanField,
    models.IntegerField,
    models.FloatField,
    models.DecimalField,
    models.DateField,
    models.TimeField,
    models.DurationField,
    models.UUIDField,
)
"""Fields whose Python values are wire values already (subclasses too, unless they read values in another form)."""


JSON_NULL = object()
"""The null of a JSON document, which is not the database's NULL."""


def converter(field: Any, connection: Any) -> Callable[[Any], Any] | None:
    """What turns a value of the database driver into the field's Python value; None where it is one already."""
    column = field.get_col(field.model._meta.db_table)
    steps = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
    if len(steps) == 1:
        (step,) = steps
        utc = django_settings.USE_TZ and connection.timezone is UTC
        if isinstance(field, models.DateTimeField) and not own_form(field) and utc:
            # What the step does with them, without asking each of thousands three times whether it is aware.
            return lambda value: (
                value.replace(tzinfo=UTC)
                if type(value) is datetime and value.tzinfo is None
                else step(value, column, connection)
            )
        return lambda value: step(value, column, connection)

    def convert(value: Any) -> Any:
        for step in steps:
            value = step(value, column, connection)
        return value

    return convert if steps else None


def encoder(field: Any) -> Callable[[Any], Any] | None:
    """What turns a value of the ORM into a wire value; None where it is one already."""
    if isinstance(field, models.JSONField):
        # As text: a JSON document in msgpack would lose which of 1 and 1.0 it held, and its own canonical form.
        return lambda value: json_text(value, field.encoder)
    if isinstance(field, models.BinaryField):
        return bytes
    if isinstance(field, TRAVELS) and not own_form(field):
        return None
    return lambda value: value if type(value) is str else _of_its_own(field, value)


def _of_its_own(field: Any, value: Any) -> Any:
    """A value of a type that only its field knows: as the field prepares it for the database, else as a text."""
    prepared = field.get_prep_value(value)
    if wire.travels(prepared):
        return prepared
    return field.value_to_string(SimpleNamespace(**{field.attname: value}))


EXPECTS: tuple[tuple[type[models.Field[Any, Any]], type], ...] = (
    (models.CharField, str),
    (models.TextField, str),
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.FloatField, float),
    (models.DecimalField, Decimal),
    (models.DateTimeField, datetime),
    (models.DateField, date),
    (models.TimeField, time),
    (models.DurationField, timedelta),
    (models.UUIDField, uuid.UUID),
)
"""What comes for a field where both sides have it of the same type; the first that fits."""


def expected(field: Any) -> type | None:
    """The type of the field's values on the wire; None where that is the field's own affair."""
    if own_form(field):
        return None
    return next((kind for base, kind in EXPECTS if isinstance(field, base)), None)


def too_fine(field: Any, value: Any) -> bool:
    """Whether the field has fewer decimal places than the value: databases round it without a word."""
    if not isinstance(field, models.DecimalField) or not isinstance(value, Decimal) or not value.is_finite():
        return False
    exponent = value.normalize().as_tuple().exponent
    return isinstance(exponent, int) and field.decimal_places is not None and -exponent > field.decimal_places


AS_IS: dict[type[models.Field[Any, Any]], type] = {
    models.CharField: str,
    models.TextField: str,
    models.BooleanField: bool,
    models.IntegerField: int,
    models.BigIntegerField: int,
    models.SmallIntegerField: int,
    models.FloatField: float,
}
"""Fields of which a value of this very type is a database value on every vendor. Their subclasses may differ."""


def json_text(value: Any, encoder: Any) -> str:
    """A JSON document in canonical form, the same whichever database has kept it."""
    text = json.dumps(value, cls=encoder, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if "e+" in text or "-0.0" in text:
        # PostgreSQL's jsonb writes great numbers out in full, and knows no negative zero.
        value = json.loads(text, parse_float=_number)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text


def _number(text: str) -> float | int:
    number = float(text)
    return int(Decimal(text)) if 1e16 <= abs(number) < float("inf") else number or 0.0


def key_text(value: Any) -> str:
    """A wire value as part of a key: the same text for the same value on every node."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, uuid.UUID, date, time)):
        return wire.pack(value).hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def own_form(field: Any) -> bool:
    """Whether the field makes objects of its own from what the database holds."""
    return hasattr(field, "from_db_value") and not isinstance(field, models.JSONField)


def preparer(field: Any, connection: Any) -> Callable[[Any], Any]:
    """``field.get_db_prep_save``, without the detour where there is nothing to prepare."""
    plain = AS_IS.get(type(field))
    if plain is not None:
        return lambda value: value if type(value) is plain else field.get_db_prep_save(value, connection)
    if _plain_moment(field):
        adapt = connection.ops.adapt_datetimefield_value
        return lambda value: (
            adapt(value) if type(value) is datetime and value.tzinfo else field.get_db_prep_save(value, connection)
        )
    return lambda value: field.get_db_prep_save(value, connection)


class Many(NamedTuple):
    """What prepares many values at once, all of which have to be of type `kind`."""

    kind: type
    prepare: Callable[[Sequence[Any]], Sequence[Any]]


def preparer_of_many(field: Any, vendor: Vendor) -> Many | None:
    """As `preparer`, for many values; None where each is a case of its own."""
    plain = AS_IS.get(type(field))
    if plain is not None:
        return Many(plain, lambda values: values)
    if _plain_moment(field):
        return Many(datetime, vendor.moments)
    return None


def _plain_moment(field: Any) -> bool:
    """Whether the field prepares aware times just as Django does."""
    moment = isinstance(field, models.DateTimeField) and _unchanged(type(field), models.DateTimeField)
    return moment and django_settings.USE_TZ


def _unchanged(kind: type, base: type) -> bool:
    """Whether the field class `kind` prepares values just as Django's `base` does."""
    names = ("get_db_prep_save", "get_db_prep_value", "get_prep_value", "to_python")
    return all(getattr(kind, name) is getattr(base, name) for name in names)
