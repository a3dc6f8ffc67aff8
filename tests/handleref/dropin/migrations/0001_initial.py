"""As makemigrations wrote it with django-handleref 2.0.1."""

import django.db.models.deletion
import django.db.models.manager
import django_handleref.models
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Field",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("status", models.CharField(blank=True, max_length=255, verbose_name="Status")),
                ("created", django_handleref.models.CreatedDateTimeField(auto_now_add=True, verbose_name="Created")),
                ("updated", django_handleref.models.UpdatedDateTimeField(auto_now=True, verbose_name="Updated")),
                ("version", models.IntegerField(default=0)),
                ("name", models.CharField(max_length=50, unique=True)),
            ],
            options={
                "abstract": False,
            },
            managers=[
                ("handleref", django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name="Log",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created", django_handleref.models.CreatedDateTimeField(auto_now_add=True, verbose_name="Created")),
                ("updated", django_handleref.models.UpdatedDateTimeField(auto_now=True, verbose_name="Touched")),
            ],
        ),
        migrations.CreateModel(
            name="Runway",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("status", models.CharField(blank=True, max_length=255, verbose_name="Status")),
                ("created", django_handleref.models.CreatedDateTimeField(auto_now_add=True, verbose_name="Created")),
                ("updated", django_handleref.models.UpdatedDateTimeField(auto_now=True, verbose_name="Updated")),
                ("version", models.IntegerField(default=0)),
                ("name", models.CharField(max_length=50, unique=True)),
                ("field", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="dropin.field")),
            ],
            options={
                "abstract": False,
            },
            managers=[
                ("handleref", django.db.models.manager.Manager()),
            ],
        ),
    ]
