"""A data migration: the historical model has ``handleref``, because the migration before it says so."""

from django.db import migrations


def forwards(apps, schema_editor):
    Field = apps.get_model("dropin", "Field")
    Field.handleref.create(name="first", version=1)
    for field in Field.handleref.all():
        field.status = "ok"
        field.save()


class Migration(migrations.Migration):
    dependencies = [("dropin", "0001_initial")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
