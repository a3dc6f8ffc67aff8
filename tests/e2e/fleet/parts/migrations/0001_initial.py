import django.db.models.manager
from django.db import migrations, models

import handleref_sync.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Part",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("status", models.CharField(blank=True, max_length=255, verbose_name="Status")),
                ("created", handleref_sync.models.CreatedDateTimeField(auto_now_add=True, verbose_name="Created")),
                ("updated", handleref_sync.models.UpdatedDateTimeField(auto_now=True, verbose_name="Updated")),
                ("version", models.IntegerField(default=0)),
                ("name", models.CharField(max_length=20)),
                ("size", models.IntegerField(default=0)),
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
