from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("parts", "0003_weight"),
    ]

    operations = [
        migrations.AddField(
            model_name="part",
            name="grade",
            field=models.DecimalField(decimal_places=2, max_digits=4, null=True),
        ),
    ]
