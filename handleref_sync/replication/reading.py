"""From rows to what travels.

The invariant: the wire form of a row depends on the row's content alone, never on this database's primary keys,
its locale, or the order in which something was stored. Equality of content is decided on its bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.db import models

from handleref_sync.registry import Column, Replicated
from handleref_sync.replication.ledger import Ledger, StampRow
from handleref_sync.replication.stamping import keys_of, keys_of_column, natural_keys, pk_text
from handleref_sync.replication.values import Unfit, converter, encoder, raise_unless_of_a_value

Rows = dict[str, tuple[Any, ...]]
"""By primary key, as the capture table has it: the values of the fields, in their order."""


INTEGERS = {models.AutoField, models.BigAutoField, models.SmallAutoField, models.IntegerField, models.BigIntegerField}
"""Fields of which an integer is a database value on every vendor."""


class Reader:
    """Reads rows of `model` in wire form, and finds the stamps of its records."""

    def __init__(self, ledger: Ledger, model: Replicated) -> None:
        self.ledger = ledger
        self.model = model
        self.fields = tuple(column.name for column in model.columns)
        self.columns: dict[str, Column] = {column.name: column for column in model.columns}
        self.unreadable: dict[str, str] = {}
        """Rows that `read` left out because a value in them is none of its field's type, and why."""
        connection = ledger.vendor.connection
        self._encoders = [encoder(column.field) for column in model.columns]
        self._converters = [converter(column.field, connection) for column in model.columns]
        self._generic = {column.name for column in model.columns if column.generic is not None}
        relations = any(column.field.is_relation for column in model.columns)
        self._as_it_is = not (any(self._encoders) or relations or self._generic)
        self._integer_pk = type(model.pk) in INTEGERS

    def read(self, pks: Iterable[str], under_lock: bool) -> Rows:
        """The wire values of the rows with these primary keys (as the capture table has them)."""
        return self._readable(list(pks), under_lock)

    def raw(self, pks: Iterable[str]) -> Rows:
        """As `read`, but references to replicated rows are what the columns have, to compare copies of a database."""
        return self._readable(list(pks), under_lock=False, raw=True)

    def _readable(self, pks: list[str], under_lock: bool, raw: bool = False) -> Rows:
        try:
            return self._read(pks, under_lock, raw)
        except Exception as error:
            raise_unless_of_a_value(self.ledger.vendor, error)
            if len(pks) == 1:
                self.unreadable[pks[0]] = str(error) or type(error).__name__
                return {}
        middle = len(pks) // 2
        return self._readable(pks[:middle], under_lock, raw) | self._readable(pks[middle:], under_lock, raw)

    def _read(self, pks: list[str], under_lock: bool, raw: bool) -> Rows:
        found = self._rows(pks)
        if not raw:
            self._name_generic(found, under_lock)
        for position, (column, encode) in enumerate(zip(self.model.columns, self._encoders, strict=True)):
            target = self.ledger.models.get(column.target or "")
            if target is not None and raw:
                text = column.field.target_field.to_python
                for row in found.values():
                    row[position] = None if row[position] is None else str(text(row[position]))
            elif column.generic is not None:
                continue
            elif target is not None:
                values = {row[position] for row in found.values()}
                keys = keys_of_column(self.ledger, column, values, under_lock)
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
        return found if self._as_it_is else {pk: tuple(values) for pk, values in found.items()}

    def _name_generic(self, found: Mapping[str, list[Any]], under_lock: bool) -> None:
        """Put [label, key] in the place of primary keys whose model a content type says, which is read first."""
        if not self._generic:
            return
        from django.contrib.contenttypes.models import ContentType  # installed, where a model refers to it

        using = self.ledger.using
        for name in self._generic:
            position, types = self.fields.index(name), self._place_of_type(name)
            groups: dict[Any, list[list[Any]]] = defaultdict(list)
            for row in found.values():
                if row[position] is not None and row[types] is not None:
                    groups[row[types]].append(row)
            for number, rows in groups.items():
                model = ContentType.objects.db_manager(using).get_for_id(number).model_class()
                label = "" if model is None else model._meta.concrete_model._meta.label_lower  # type: ignore[union-attr]
                target = self.ledger.models.get(label)
                if target is None:
                    continue
                pks = {row[position]: target.pk.to_python(row[position]) for row in rows}
                keys = keys_of(self.ledger, target, set(pks.values()), under_lock)
                for row in rows:
                    pk = row[position]
                    row[position] = [target.label, keys.get(pks[pk], f"?{pk}")]

    def _place_of_type(self, name: str) -> int:
        wanted = self.columns[name].generic
        return next(i for i, column in enumerate(self.model.columns) if column.field.name == wanted)

    def _rows(self, pks: list[str]) -> dict[str, Any]:
        """The rows' values as the ORM would give them, without the ORM: a page has thousands.

        As lists, in which values may be replaced, but where there is nothing to replace.
        """
        columns = [self.model.pk_column, *[column.column for column in self.model.columns]]
        rows = self._select(columns, pks)
        if not rows:
            return {}
        if not self.columns:
            return {str(pk): () for (pk,) in rows}
        texts, *found = zip(*rows, strict=True)
        for position, convert in enumerate(self._converters):
            if convert is not None:
                found[position] = tuple([convert(value) for value in found[position]])
        # A primary key as the database has it is, as text, what its triggers write.
        values = zip(*found, strict=True)
        return dict(zip(map(str, texts), values if self._as_it_is else map(list, values), strict=True))

    def present(self, pks: Sequence[str]) -> set[str]:
        """Which of these primary keys have a row."""
        try:
            return {str(pk) for (pk,) in self._select([self.model.pk_column], pks)}
        except Exception as error:  # one that is none of its field's type
            raise_unless_of_a_value(self.ledger.vendor, error)
            return self.ledger.vendor.present_texts(self.model.table, self.model.pk_column, pks)

    def _select(self, columns: Sequence[str], pks: Sequence[str]) -> list[tuple[Any, ...]]:
        values = [self.db_pk(text) for text in pks]
        return self.ledger.vendor.select_rows(self.model.table, self.model.pk_column, columns, values)

    def db_pk(self, text: str) -> Any:
        """A primary key as the database driver takes it, from the form in the capture table."""
        if self._integer_pk:
            return int(text)
        pk = self.model.pk
        return pk.get_db_prep_value(pk.to_python(text), self.ledger.vendor.connection)

    def pk_of_key(self, key: str) -> tuple[Any, str]:
        """For identity ``"pk"``: the primary key, as Python and as the capture table has it. Raises Unfit."""
        try:
            value = self.model.pk.to_python(key)
            return value, pk_text(self.model, value, self.ledger)
        except Exception as error:  # a custom field's own errors among them
            raise Unfit(f"{key!r} is no primary key of {self.model.label}") from error

    def stamps(self, keys: Iterable[str]) -> dict[str, StampRow]:
        """The stamps of the records with these keys, by key. Keys that the model can't have are in none."""
        wanted, texts = list(keys), {}
        if self.model.identity == "pk":
            for key in wanted:
                with suppress(Unfit):
                    texts[key] = self.pk_of_key(key)[1]
            wanted = list(texts)
        return self.stamps_with(wanted, texts)

    def stamps_with(self, keys: Iterable[str], texts: Mapping[str, str]) -> dict[str, StampRow]:
        """The same, where the primary keys are known of those records of which they are the keys."""
        if self.model.identity != "pk":
            return self.ledger.stamps_by_key(self.model, keys)
        by_text = {texts[key]: key for key in keys}
        return {by_text[text]: stamp for text, stamp in self.ledger.stamps_of(self.model, by_text).items()}
