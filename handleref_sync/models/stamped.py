"""Rows that come with their stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db.models.query import ModelIterable

from handleref_sync.models.lookup import load_stamps

ALL = 50_000
"""Rows whose stamps are loaded together where the whole result is held in memory anyway."""


class StampedIterable(ModelIterable):  # type: ignore[type-arg]
    """Instances with their stamps loaded. The rows of one batch cost one query for each chunk of parameters."""

    def __iter__(self) -> Iterator[Any]:
        rows = super().__iter__()
        using = self.queryset.db
        size = self.chunk_size if self.chunked_fetch else ALL
        while batch := list(islice(rows, size)):
            load_stamps(batch, using)
            yield from batch
