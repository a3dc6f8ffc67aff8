"""A model that has rows already is given another base, as docs/models.md says."""

from pathlib import Path

from tests.commands.project import Project

PLAIN = """
from django.db import models

class Book(models.Model):
    isbn = models.CharField(max_length=20, unique=True)
"""
REBASED = """
from django.db import models
from handleref_sync.models import HandleRefModel

class Book(HandleRefModel):
    id = models.BigAutoField(primary_key=True)
    isbn = models.CharField(max_length=20, unique=True)
"""


def test_the_migration_that_it_takes(tmp_path):
    project = Project(tmp_path, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")})
    project.say("library/models.py", PLAIN)
    project.manage("makemigrations", "library", "--skip-checks")
    project.say("library/models.py", REBASED)
    status, said = project.run("makemigrations", "library", "--skip-checks", "--noinput")
    assert status != 0 and "Field 'created' on model 'book' not migrated" in said
    assert not list(Path(tmp_path, "library", "migrations").glob("0002*"))
    project.manage("makemigrations", "library", "--skip-checks", answers="1\n\n")
    (made,) = Path(tmp_path, "library", "migrations").glob("0002*")
    text = made.read_text()
    assert "CreatedDateTimeField(auto_now_add=True, default=django.utils.timezone.now" in text
    assert "field=models.BigAutoField(primary_key=True" in text and "models.AutoField" not in text
    project.manage("makemigrations", "library", "--skip-checks", "--check")
