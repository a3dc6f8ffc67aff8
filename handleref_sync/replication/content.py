"""From what travels to rows: the content of one replicated model.

The invariant: a value is written just as its author had it, or Unfit is raised and nothing is written. To cut, round
or convert it would make it another value under the dot of its author.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import models

from handleref_sync import wire
from handleref_sync.registry import Column, Replicated
from handleref_sync.replication import shape
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.reading import Reader
from handleref_sync.replication.values import (
    JSON_NULL,
    TRAVELS,
    Unfit,
    expected,
    own_form,
    preparer,
    preparer_of_many,
    too_fine,
)

Parents = Mapping[tuple[str, ...], Any]
"""By (model, key): the primary key of a record. By (model, key, field): the value of another field of it."""


class Content(Reader):
    """Reads rows of `model` in wire form, and turns that form into what its columns take."""

    def __init__(self, ledger: Ledger, model: Replicated) -> None:
        super().__init__(ledger, model)
        connection = ledger.vendor.connection
        self._complete: dict[tuple[str, ...], bool] = {}
        self._prepares = {column.name: preparer(column.field, connection) for column in model.columns}
        self._expected = {column.name: expected(column.field) for column in model.columns}
        self._references = {column.name: column for column in model.columns if column.target in ledger.models}
        self._sets = {column.name: preparer_of_many(column.field, ledger.vendor) for column in model.columns}

    def complete(self, fields: tuple[str, ...]) -> bool:
        """Whether `fields` are just those that the table has. Asked for each of thousands with the same few."""
        if fields not in self._complete:
            self._complete[fields] = set(fields) == set(self.fields)
        return self._complete[fields]

    def parents(self, fields: Sequence[str], values: Sequence[Any]) -> list[tuple[str, str]]:
        """The replicated records (model, key) that these wire values refer to."""
        if not self._references and not self._generic:
            return []
        found = []
        for name, value in zip(fields, values, strict=True):
            if name in self._references and value is not None:
                found.append((str(self._references[name].target), str(value)))
            elif name in self._generic and is_reference(value) and value[0] in self.ledger.models:
                found.append((value[0], value[1]))
        return found

    def refuse_references(self, fields: Sequence[str], values: Sequence[Any]) -> None:
        """Raises Unfit for a reference by what can't be a key: nobody has such a record, nor could wait for it."""
        for label, key in self.parents(fields, values):
            why = shape.unfit_key(key)
            if why is not None:
                raise Unfit(f"it refers to a {label} by no key. {why}")

    def others(self, fields: Sequence[str], values: Sequence[Any]) -> list[tuple[str, str, str]]:
        """The records (model, key, field) of which another field than the primary key is referred to."""
        return [
            (str(self._references[name].target), str(value), str(self._references[name].to))
            for name, value in zip(fields, values, strict=True)
            if value is not None and name in self._references and self._references[name].to is not None
        ]

    def prepare(self, fields: Sequence[str], values: Sequence[Any], parents: Parents) -> list[Any]:
        """Database values for the columns of `fields`. `parents` gives the pk of each record referred to.

        Raises Unfit for a field that is not there or a value that its field refuses.
        """
        return [self._prepare(self._column(name), value, parents) for name, value in zip(fields, values, strict=True)]

    def prepare_rows(
        self, fields: Sequence[str], rows: Sequence[Sequence[Any]], parents: Parents
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
                many = self._sets[name]
                if many is not None and set(map(type, values)) == {many.kind} and not self._lossy(many.kind, values):
                    columns.append(many.prepare(values))
                elif name in self._references:  # many have the same
                    prepared = {value: self._prepare(column, value, parents) for value in set(values)}
                    columns.append([prepared[value] for value in values])
                else:
                    columns.append([self._prepare(column, value, parents) for value in values])
            return [list(row) for row in zip(*columns, strict=True)]
        except Unfit:
            return [self._prepared_or_unfit(fields, row, parents) for row in rows]

    def _lossy(self, kind: type, values: Iterable[Any]) -> bool:
        return kind is float and not all(map(self.ledger.vendor.keeps, values))

    def _prepared_or_unfit(self, fields: Sequence[str], row: Sequence[Any], parents: Parents) -> list[Any] | Unfit:
        try:
            return self.prepare(fields, row, parents)
        except Unfit as error:
            return error

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise Unfit(f"{self.model.label} has no field {name!r} here")
        return self.columns[name]

    def _prepare(self, column: Column, value: Any, parents: Parents) -> Any:
        if not self.ledger.vendor.keeps(value):
            raise Unfit(f"{column.name}: this database would not keep {value} as it is")
        try:
            value = self._python(column, value, parents)
            if value is None:  # SQL NULL also for JSON, where get_db_prep_save would make it a JSON null
                return None
            if value is JSON_NULL:
                value = models.Value(None, models.JSONField())
            return self._prepares[column.name](value)
        except Unfit:
            raise
        except Exception as error:  # whatever a custom field raises for a value it doesn't take
            raise Unfit(f"{column.name}: {error}") from error

    def python(self, fields: Sequence[str], values: Sequence[Any], parents: Parents) -> dict[str, Any]:
        """What an instance of the model has for these wire values, by attribute. Raises Unfit as `prepare` does."""
        self.prepare(fields, values, parents)  # for what it refuses
        found = {}
        for name, value in zip(fields, values, strict=True):
            column = self._column(name)
            own = self._python(column, value, parents)
            found[str(column.field.attname)] = None if own is JSON_NULL else own
        return found

    def _python(self, column: Column, value: Any, parents: Parents) -> Any:
        field = column.field
        if value is None:
            if not field.null:  # JSON's own null comes as the text "null"
                raise Unfit(f"{column.name} is null")
            return None
        if column.target in self.ledger.models:
            where = (str(column.target), str(value))
            return parents[where if column.to is None else (*where, column.to)]
        if column.generic is not None and is_reference(value):
            if value[0] not in self.ledger.models:
                raise Unfit(f"{column.name} refers to a {value[0]}, which is not replicated here")
            return field.to_python(str(parents[value[0], value[1]]))
        if field.is_relation:
            return _by_natural_key(field, value, self.ledger.using)
        if isinstance(field, models.JSONField):
            value = json.loads(value, cls=field.decoder)
            return JSON_NULL if value is None else value
        if own_form(field) or not isinstance(field, (*TRAVELS, models.BinaryField)):
            return field.to_python(value)
        kind = self._expected[column.name]
        if kind is not None and type(value) is not kind:
            # To convert it would make it another value under the dot of its author.
            raise Unfit(f"{column.name} is of type {type(value).__name__}, and the field takes {kind.__name__}")
        if too_fine(field, value):
            raise Unfit(f"{column.name}: {value} has more decimal places than {column.field.decimal_places}")
        return value

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

    def refuse_lacking(self, given: Collection[str]) -> None:
        """Raises Unfit where a new row would have nothing for a column that can't be empty."""
        for column in self.model.columns:
            field = column.field
            optional = field.null or field.has_default() or field.has_db_default() or field.get_default() is not None
            if column.name not in given and not optional:
                raise Unfit(f"it says nothing of {column.name}, which can't be empty here")

    def fixed(self, name: str, one: Any, other: Any) -> bool:
        """Whether `one` and `other`, which a single write gave to this field, have to be equal.

        Not so for what a reference says of its target where that is not replicated, or gone: it changes without any
        write to this row. Nor for a field that has no column here, of which nobody can say what it is.
        """
        column = self.columns.get(name)
        if column is None or column.generic is not None:
            return False
        if not column.field.is_relation:
            return True
        return column.target in self.ledger.models and not (dangling(one) or dangling(other))

    def same(self, fields: Sequence[str], values: Sequence[Any], row: Mapping[str, Any]) -> bool:
        """Whether `values` say the same as the row that is here, in the fields that both have."""
        return all(
            wire.pack(value) == wire.pack(row[name])
            for name, value in zip(fields, values, strict=True)
            if name in row
        )


def dangling(value: Any) -> bool:
    """Whether a wire value may be a reference to a row that was not there when it was read."""
    key = value[1] if is_reference(value) else value
    return isinstance(key, str) and key.startswith("?")


def is_reference(value: Any) -> bool:
    """Whether a wire value is a generic reference to a replicated record."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


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
