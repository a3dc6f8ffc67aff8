"""From rows to what travels, and back: the content of one replicated model.

The invariant: the wire form of a row depends on the row's content alone, never on this database's primary keys,
its locale, or the order in which something was stored. Equality of content is decided on its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models

from handleref_sync import wire
from handleref_sync.registry import Column, Replicated
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.stamping import PARAMETERS, keys_of, natural_keys, pk_text

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


class Unfit(Exception):
    """A value that this database can't hold, or a field it doesn't have."""


class Content:
    """Reads and writes rows of `model` in wire form."""

    def __init__(self, ledger: Ledger, model: Replicated) -> None:
        self.ledger = ledger
        self.model = model
        self.fields = tuple(column.name for column in model.columns)
        self.columns: dict[str, Column] = {column.name: column for column in model.columns}
        self._encoders = [_encoder(column) for column in model.columns]
        connection = ledger.vendor.connection
        self._prepares = {column.name: _preparer(column.field, connection) for column in model.columns}
        self._attnames = [column.field.attname for column in model.columns]

    def read(self, pks: Iterable[str], under_lock: bool) -> dict[str, tuple[Any, ...]]:
        """The wire values of the rows with these primary keys (as the capture table has them)."""
        found: dict[str, list[Any]] = {}
        wanted = list(pks)
        rows = self.model.model._base_manager.using(self.ledger.using).order_by()
        for start in range(0, len(wanted), PARAMETERS):
            chunk = wanted[start : start + PARAMETERS]
            for pk, *values in rows.filter(pk__in=chunk).values_list("pk", *self._attnames):
                found[pk_text(self.model, pk, self.ledger)] = values
        for position, (column, encode) in enumerate(zip(self.model.columns, self._encoders, strict=True)):
            target = self.ledger.models.get(column.target or "")
            if target is not None:
                keys = keys_of(self.ledger, target, {row[position] for row in found.values()}, under_lock)
                for row in found.values():
                    # A dangling reference (SQLite may hold one) names a record that nobody has: it will be parked.
                    row[position] = None if row[position] is None else keys.get(row[position], f"?{row[position]}")
            elif column.field.is_relation:
                names = natural_keys(column.field, {row[position] for row in found.values()}, self.ledger.using)
                for row in found.values():
                    row[position] = names.get(row[position])
            elif encode is not None:
                null = "null" if isinstance(column.field, models.JSONField) and not column.field.null else None
                for row in found.values():
                    row[position] = null if row[position] is None else encode(row[position])
        return {pk: tuple(values) for pk, values in found.items()}

    def parents(self, fields: Sequence[str], values: Sequence[Any]) -> list[tuple[str, str]]:
        """The replicated records (model, key) that these wire values refer to."""
        return [
            (str(self.columns[name].target), str(value))
            for name, value in zip(fields, values, strict=True)
            if value is not None and name in self.columns and self.columns[name].target in self.ledger.models
        ]

    def prepare(
        self, fields: Sequence[str], values: Sequence[Any], parents: Mapping[tuple[str, str], Any]
    ) -> list[Any]:
        """Database values for the columns of `fields`. `parents` gives the pk of each record referred to.

        Raises Unfit for a field that is not there or a value that its field refuses.
        """
        return [self._prepare(self._column(name), value, parents) for name, value in zip(fields, values, strict=True)]

    def prepare_rows(
        self, fields: Sequence[str], rows: Sequence[Sequence[Any]], parents: Mapping[tuple[str, str], Any]
    ) -> list[list[Any] | Unfit]:
        """`prepare` for many rows, with an Unfit in the place of each row that is.

        By columns: where all values of one have a type that the database takes as it is, none is looked at.
        """
        if not fields or not rows:
            return [[] for _ in rows]
        try:
            columns = []
            for name, values in zip(fields, zip(*rows, strict=True), strict=True):
                column = self._column(name)
                plain = AS_IS.get(type(column.field))
                if plain is not None and set(map(type, values)) == {plain}:
                    columns.append(values)
                else:
                    columns.append(tuple([self._prepare(column, value, parents) for value in values]))
            return [list(row) for row in zip(*columns, strict=True)]
        except Unfit:
            return [self._prepared_or_unfit(fields, row, parents) for row in rows]

    def _prepared_or_unfit(
        self, fields: Sequence[str], row: Sequence[Any], parents: Mapping[tuple[str, str], Any]
    ) -> list[Any] | Unfit:
        try:
            return self.prepare(fields, row, parents)
        except Unfit as error:
            return error

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise Unfit(f"{self.model.label} has no field {name!r} here")
        return self.columns[name]

    def _prepare(self, column: Column, value: Any, parents: Mapping[tuple[str, str], Any]) -> Any:
        field = column.field
        if value is None:
            if not field.null:  # JSON's own null comes as the text "null"
                raise Unfit(f"{column.name} is null")
            return None  # SQL NULL also for JSON, where get_db_prep_save would make it a JSON null
        try:
            if column.target in self.ledger.models:
                value = parents[str(column.target), str(value)]
            elif field.is_relation:
                value = _by_natural_key(field, value, self.ledger.using)
            elif isinstance(field, models.JSONField):
                value = json.loads(value, cls=field.decoder)
                if value is None:
                    return field.get_db_prep_save(
                        models.Value(None, models.JSONField()), self.ledger.vendor.connection
                    )
            elif _own_form(field) or not isinstance(field, (*TRAVELS, models.BinaryField)):
                value = field.to_python(value)
            return self._prepares[column.name](value)
        except Unfit:
            raise
        except Exception as error:  # whatever a custom field raises for a value it doesn't take
            raise Unfit(f"{column.name}: {error}") from error

    def defaults(self, fields: Sequence[str]) -> tuple[list[str], Callable[[], list[Any]]]:
        """The columns of a new row that a change does not carry, and what makes their values, anew for each row.

        Columns for which the database has a default of its own are left to it.
        """
        given = {self.columns[name].column for name in fields if name in self.columns}
        connection = self.ledger.vendor.connection
        rest: list[Any] = [
            field
            for field in self.model.model._meta.local_concrete_fields
            if not (field.primary_key or getattr(field, "generated", False) or field.column in given)
            and (field.has_default() or not field.has_db_default())
        ]
        return [str(field.column) for field in rest], lambda: [
            field.get_db_prep_save(field.get_default(), connection) for field in rest
        ]

    def same(self, fields: Sequence[str], values: Sequence[Any], row: Mapping[str, Any]) -> bool:
        """Whether `values` say the same as the row that is here, in the fields that both have."""
        return all(
            wire.pack(value) == wire.pack(row[name])
            for name, value in zip(fields, values, strict=True)
            if name in row
        )

    def pk_of_key(self, key: str) -> tuple[Any, str]:
        """For identity ``"pk"``: the primary key, as Python and as the capture table has it. Raises Unfit."""
        try:
            value = self.model.pk.to_python(key)
            return value, pk_text(self.model, value, self.ledger)
        except Exception as error:  # a custom field's own errors among them
            raise Unfit(f"{key!r} is no primary key of {self.model.label}") from error


def _encoder(column: Column) -> Callable[[Any], Any] | None:
    """What turns a value of the ORM into a wire value; None where it is one already."""
    field = column.field
    if isinstance(field, models.JSONField):
        # As text: a JSON document in msgpack would lose which of 1 and 1.0 it held, and its own canonical form.
        return lambda value: _json(value, field.encoder)
    if isinstance(field, models.BinaryField):
        return bytes
    if isinstance(field, TRAVELS) and not _own_form(field):
        return None
    return lambda value: value if type(value) is str else field.get_prep_value(value)


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


def _json(value: Any, encoder: Any) -> str:
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


def _own_form(field: Any) -> bool:
    """Whether the field makes objects of its own from what the database holds."""
    return hasattr(field, "from_db_value") and not isinstance(field, models.JSONField)


def _preparer(field: Any, connection: Any) -> Callable[[Any], Any]:
    """``field.get_db_prep_save``, without the detour where there is nothing to prepare."""
    plain = AS_IS.get(type(field))
    if plain is not None:
        return lambda value: value if type(value) is plain else field.get_db_prep_save(value, connection)
    if (
        isinstance(field, models.DateTimeField)
        and _unchanged(type(field), models.DateTimeField)
        and django_settings.USE_TZ
    ):
        adapt = connection.ops.adapt_datetimefield_value
        return lambda value: (
            adapt(value) if type(value) is datetime and value.tzinfo else field.get_db_prep_save(value, connection)
        )
    return lambda value: field.get_db_prep_save(value, connection)


def _unchanged(kind: type, base: type) -> bool:
    """Whether the field class `kind` prepares values just as Django's `base` does."""
    names = ("get_db_prep_save", "get_db_prep_value", "get_prep_value", "to_python")
    return all(getattr(kind, name) is getattr(base, name) for name in names)


def _by_natural_key(field: Any, value: Any, using: str) -> Any:
    related = field.related_model
    if not isinstance(value, list):
        # Asked here, because SQLite checks foreign keys at COMMIT, where an error would take the whole page.
        if not related._base_manager.using(using).filter(**{field.target_field.name: value}).exists():
            raise Unfit(f"there is no {related._meta.label} {value!r} here")
        return value
    try:
        row = related._default_manager.db_manager(using).get_by_natural_key(*value)
    except (ObjectDoesNotExist, AttributeError) as error:
        raise Unfit(f"there is no {related._meta.label} {value!r} here") from error
    return getattr(row, field.target_field.attname)
