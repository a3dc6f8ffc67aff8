import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models

import handleref_sync.models


class Migration(migrations.Migration):
    dependencies = [
        ("parts", "0004_grade"),
    ]

    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("status", models.CharField(blank=True, max_length=255, verbose_name="Status")),
                ("created", handleref_sync.models.CreatedDateTimeField(auto_now_add=True, verbose_name="Created")),
                ("updated", handleref_sync.models.UpdatedDateTimeField(auto_now=True, verbose_name="Updated")),
                ("version", models.IntegerField(default=0)),
                ("text", models.TextField()),
                ("part", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="parts.part")),
            ],
            options={
                "ordering": ("-updated", "-created"),
                "get_latest_by": "updated",
                "abstract": False,
            },
            managers=[
                ("handleref", django.db.models.manager.Manager()),
            ],
        ),
    ]
