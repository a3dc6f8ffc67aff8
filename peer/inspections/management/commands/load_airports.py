"""Loads the real airports of the package `airportsdata`."""

from typing import Any
from zlib import crc32

import airportsdata
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models, transaction
from django.utils import timezone

from inspections.models import Airport, Country

BATCH = 1000


class Command(BaseCommand):
    help = "Load about 28,000 airports. Run again, it changes only what is different in the package."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--limit", type=int, metavar="N", help="only N airports, from all over the world, the same at each run"
        )

    def handle(self, *args: Any, limit: int | None, **options: Any) -> None:
        if limit is not None and limit < 0:
            raise CommandError("--limit takes a number that is not negative.")
        records = list(airportsdata.load("ICAO").values())
        if limit is not None:
            # In the order of the package the first thousands are fields in one country. Ordered by a hash, N of them
            # are a fair sample, and a greater limit only adds to a smaller one.
            records = sorted(records, key=lambda r: (crc32(r["icao"].encode()), r["icao"]))[:limit]
        with transaction.atomic():
            # The package knows countries by their code alone. A name that somebody typed since then stays.
            codes = {r["country"]: {} for r in records}
            countries = self.upsert(Country, "code", codes, {code: {"name": code} for code in codes})
            wanted = {
                r["icao"]: {
                    "country_id": countries[r["country"]],
                    "iata": r["iata"],
                    "name": r["name"],
                    "city": r["city"],
                    "elevation": r["elevation"],
                    "latitude": r["lat"],
                    "longitude": r["lon"],
                    "tz": r["tz"],
                }
                for r in records
            }
            self.upsert(Airport, "icao", wanted)
        self.stdout.write(f"{len(codes)} countries, {len(wanted)} airports: {self.report}.")

    def upsert(
        self,
        model: type[models.Model],
        key: str,
        wanted: dict[str, dict[str, Any]],
        initial: dict[str, dict[str, Any]] | None = None,
    ) -> dict[str, int]:
        """Bring the rows of `model` to `wanted` (values by `key`) and return their primary keys by `key`.

        `initial` holds values for new rows only. Rows that are right already are not written, so there is nothing
        to replicate; status is left alone, so that what was soft-deleted stays so.
        """
        there = {getattr(row, key): row for row in model.objects.iterator(chunk_size=BATCH)}
        new, changed = [], []
        now = timezone.now()
        for value, fields in wanted.items():
            row = there.get(value)
            if row is None:
                new.append(model(**{key: value}, **fields, **(initial or {}).get(value, {})))
            elif any(getattr(row, name) != content for name, content in fields.items()):
                for name, content in fields.items():
                    setattr(row, name, content)
                row.updated = now  # bulk_update doesn't do what auto_now promises
                changed.append(row)
        model.objects.bulk_create(new, batch_size=BATCH)
        if changed:
            names = [name.removesuffix("_id") for name in next(iter(wanted.values()))]
            model.objects.bulk_update(changed, [*names, "updated"], batch_size=BATCH)
        self.report = f"{len(new)} new, {len(changed)} changed"
        return {value: row.pk for value, row in there.items()} | {getattr(row, key): row.pk for row in new}
