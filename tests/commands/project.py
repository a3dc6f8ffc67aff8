"""A small project of somebody new, in a folder of its own: each command is a process, as they type it."""

import contextlib
import os
import sys
import textwrap
import uuid
from pathlib import Path

from django.db import connection

from tests import forked

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "tests only"
USE_TZ = True
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "handleref_sync", "library"]
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("sync/", include("handleref_sync.urls"))]
"""
BOOK = """
from django.db import models
from handleref_sync.models import HandleRefModel

class Book(HandleRefModel):
    isbn = models.CharField(max_length=20, unique=True)
"""


class Project:
    """`say` writes a file; `run` gives (exit status, output), and `manage` the output of what must succeed."""

    def __init__(self, folder, database, node="hq", url="http://127.0.0.1:8000/sync/"):
        self.folder, self.database = folder, database
        for name, text in (("manage.py", MANAGE), ("urls.py", URLS), ("library/__init__.py", "")):
            self.say(name, text)
        self.say("library/models.py", BOOK)
        self.configure(NODE=node, URL=url)

    def say(self, name, text):
        path = Path(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def configure(self, more="", **sync):
        known = f"DATABASES = {{'default': {self.database!r}}}\nHANDLEREF_SYNC = {sync!r}\n{more}\n"
        driver = "import pymysql\npymysql.install_as_MySQLdb()\n" if "mysql" in self.database["ENGINE"] else ""
        self.say("settings.py", driver + SETTINGS + known)

    def run(self, *arguments, answers=""):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "COV_", "COVERAGE_"))}
        command = [sys.executable, "-B", "manage.py", *arguments]
        done = forked.run(command, answers, cwd=self.folder, env=environment)
        output = (done.stdout + done.stderr).strip()
        assert "Traceback" not in output, output
        return done.returncode, output

    def manage(self, *arguments, answers=""):
        status, output = self.run(*arguments, answers=answers)
        assert status == 0, output
        return output

    def refuses(self, *arguments):
        """The one sentence with which a command ends."""
        status, output = self.run(*arguments)
        assert status == 1, output
        return output


@contextlib.contextmanager
def database(folder):
    """The settings of an empty database on the server that the tests run on."""
    if connection.vendor == "sqlite":
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder, "db.sqlite3"))}
        return
    # Beside the tests' own, so that it needs no other rights; dropped by this very name.
    name = f"{os.environ.get('HANDLEREF_TEST_PREFIX', 'handleref')}_new_{uuid.uuid4().hex[:12]}"
    quoted = connection.ops.quote_name(name)
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {quoted}")
        try:
            known = connection.settings_dict
            yield {key: known[key] for key in ("ENGINE", "HOST", "PORT", "USER", "PASSWORD")} | {"NAME": name}
        finally:
            cursor.execute(f"DROP DATABASE {quoted}")
