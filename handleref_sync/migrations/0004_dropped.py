from django.db import migrations, models


def as_far_as_incorporated(apps, schema_editor):
    """What was dropped until now was not noted by its clock. It is covered by all that was incorporated."""
    using = schema_editor.connection.alias
    node = apps.get_model("handleref_sync", "Node")
    counters = node.objects.using(using).filter(vector__gt=0).order_by("name").values_list("name", "vector")
    local = apps.get_model("handleref_sync", "LocalNode").objects.using(using).filter(purged=True)
    local.update(dropped=",".join(f"{name}:{counter}" for name, counter in counters))


class Migration(migrations.Migration):
    dependencies = [("handleref_sync", "0003_trust")]

    operations = [
        migrations.AddField(
            model_name="localnode",
            name="dropped",
            field=models.TextField(
                blank=True, default="", help_text="what the tombstones knew that were dropped here, or before us"
            ),
            preserve_default=False,
        ),
        migrations.RunPython(as_far_as_incorporated, migrations.RunPython.noop),
        migrations.RemoveField(model_name="localnode", name="purged"),
    ]
