import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="Vehicle",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("plate", models.CharField(max_length=20)),
            ],
        ),
        migrations.CreateModel(
            name="City",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=10, unique=True)),
                ("name", models.CharField(blank=True, max_length=50)),
            ],
        ),
        migrations.CreateModel(
            name="Bus",
            fields=[
                (
                    "vehicle_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="identityapp.vehicle",
                    ),
                ),
                ("seats", models.IntegerField(default=0)),
            ],
            bases=("identityapp.vehicle",),
        ),
        migrations.CreateModel(
            name="Engine",
            fields=[
                (
                    "vehicle",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="identityapp.vehicle",
                    ),
                ),
                ("power", models.IntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Person",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                (
                    "home",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to="identityapp.city"),
                ),
            ],
        ),
        migrations.AddField(
            model_name="city",
            name="mayor",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to="identityapp.person"),
        ),
        migrations.CreateModel(
            name="Guest",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("identityapp.person",),
        ),
        migrations.CreateModel(
            name="Remark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("object_id", models.CharField(max_length=40, null=True)),
                ("text", models.CharField(max_length=50)),
                (
                    "content_type",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="contenttypes.contenttype"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                ("connections", models.ManyToManyField(to="identityapp.route")),
            ],
        ),
        migrations.CreateModel(
            name="Leg",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minutes", models.IntegerField(default=0)),
                ("route", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="identityapp.route")),
            ],
        ),
        migrations.CreateModel(
            name="Stop",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                (
                    "city",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="identityapp.city", to_field="code"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="route",
            name="stops",
            field=models.ManyToManyField(through="identityapp.Leg", to="identityapp.stop"),
        ),
        migrations.AddField(
            model_name="leg",
            name="stop",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="identityapp.stop"),
        ),
        migrations.CreateModel(
            name="Ticket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=50)),
                (
                    "parent",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="identityapp.ticket"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="route",
            name="buses",
            field=models.ManyToManyField(to="identityapp.bus"),
        ),
        migrations.CreateModel(
            name="Street",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                ("length", models.IntegerField(default=0)),
                ("city", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="identityapp.city")),
            ],
            options={
                "unique_together": {("city", "name")},
            },
        ),
    ]
