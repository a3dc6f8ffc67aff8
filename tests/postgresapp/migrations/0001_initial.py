import uuid

import django.contrib.postgres.fields
import django.contrib.postgres.fields.hstore
import django.contrib.postgres.fields.ranges
import django.contrib.postgres.search
from django.contrib.postgres.operations import HStoreExtension
from django.db import migrations, models

import tests.fieldapp.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        HStoreExtension(),
        migrations.RunSQL("CREATE SCHEMA elsewhere", "DROP SCHEMA elsewhere"),
        migrations.CreateModel(
            name="Elsewhere",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=20)),
            ],
            options={
                "db_table": '"elsewhere"."thing"',
            },
        ),
        migrations.CreateModel(
            name="Rich",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("label", models.CharField(blank=True, max_length=20)),
                (
                    "numbers",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(null=True), null=True, size=None
                    ),
                ),
                (
                    "texts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), null=True, size=None),
                ),
                (
                    "moments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(), null=True, size=None
                    ),
                ),
                (
                    "decimals",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DecimalField(decimal_places=5, max_digits=20), null=True, size=None
                    ),
                ),
                (
                    "points",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=tests.fieldapp.models.PointField(), null=True, size=None
                    ),
                ),
                (
                    "table",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=django.contrib.postgres.fields.ArrayField(
                            base_field=models.FloatField(), size=None
                        ),
                        null=True,
                        size=None,
                    ),
                ),
                ("pairs", django.contrib.postgres.fields.hstore.HStoreField(null=True)),
                ("integers", django.contrib.postgres.fields.ranges.IntegerRangeField(null=True)),
                ("big", django.contrib.postgres.fields.ranges.BigIntegerRangeField(null=True)),
                ("exact", django.contrib.postgres.fields.ranges.DecimalRangeField(null=True)),
                ("days", django.contrib.postgres.fields.ranges.DateRangeField(null=True)),
                ("period", django.contrib.postgres.fields.ranges.DateTimeRangeField(null=True)),
                ("words", django.contrib.postgres.search.SearchVectorField(null=True)),
            ],
        ),
    ]
