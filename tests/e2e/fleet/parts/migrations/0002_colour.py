from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("parts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="part",
            name="colour",
            field=models.CharField(default="grey", max_length=10),
        ),
    ]
