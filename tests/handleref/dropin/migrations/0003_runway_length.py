"""Names the old path in an AlterField, as django-peeringdb does."""

import django_handleref.models
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dropin", "0002_first_field")]
    operations = [
        migrations.AddField("runway", "length", models.PositiveIntegerField(null=True)),
        migrations.AlterField(
            "log", "updated", django_handleref.models.UpdatedDateTimeField(auto_now=True, verbose_name="Touched")
        ),
    ]
