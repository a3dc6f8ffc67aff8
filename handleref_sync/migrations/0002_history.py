from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("handleref_sync", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="RevisionSource",
            fields=[
                ("revision_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("node", models.CharField(help_text="the ID of the node that wrote it", max_length=100)),
                ("dot", models.CharField(help_text="which write of that node, with its incarnation", max_length=125)),
                (
                    "timestamp",
                    models.BigIntegerField(help_text="when it was written, as a hybrid logical clock has it"),
                ),
                (
                    "peer",
                    models.CharField(help_text="the node that it came from, or was being synced with", max_length=60),
                ),
                (
                    "lost",
                    models.BooleanField(
                        default=False, help_text="it lost a conflict and was not written to the table"
                    ),
                ),
                (
                    "conflict",
                    models.CharField(help_text="the entry of the conflict log, if it lost", max_length=40, null=True),
                ),
            ],
        ),
        migrations.AddField(
            model_name="parked",
            name="peer",
            field=models.CharField(blank=True, default="", help_text="who brought it", max_length=60),
        ),
        migrations.AddIndex(
            model_name="conflict",
            index=models.Index(fields=["model", "key"], name="handleref_sync_conflict_record"),
        ),
        migrations.AddConstraint(
            model_name="revisionsource",
            constraint=models.UniqueConstraint(
                fields=("conflict",),
                name="handleref_sync_loser_once",
            ),
        ),
    ]
