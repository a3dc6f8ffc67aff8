from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("parts", "0002_colour")]

    operations = [migrations.RenameField("part", "size", "weight")]
