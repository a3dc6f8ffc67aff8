"""The project ``dropin``, run from outside."""

import json
import os
import sys
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from tests import forked

HERE = Path(__file__).parent


class Project:
    """The project ``dropin`` on a database of its own, each call in a process of its own."""

    def __init__(self, folder, database):
        self.folder = folder
        self.database = database

    def run(self, *arguments, apps=("handleref_sync.compat",), ok=True, path=(), **environment):
        environment = {f"DROPIN_{name.upper()}": value for name, value in environment.items()}
        done = forked.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=self.folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "COV_", "COVERAGE_"))},
                "PYTHONPATH": os.pathsep.join(map(str, [*path, HERE, HERE.parents[1]])),
                "DJANGO_SETTINGS_MODULE": "dropin.settings",
                "DROPIN_DATABASE": json.dumps(self.database),
                "DROPIN_APPS": json.dumps(list(apps)),
                **environment,
            },
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return (done.stdout + done.stderr).strip()

    def manage(self, *arguments, **options):
        return self.run("-m", "django", *arguments, **options)

    def python(self, code, **options):
        return self.run("-c", f"import django; django.setup(); {code}", **options)


@pytest.fixture
def project(tmp_path):
    if os.environ.get("HANDLEREF_TEST_DATABASE") != "postgresql":
        yield Project(tmp_path, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")})
        return
    settings = {k: connection.settings_dict[k] for k in ("ENGINE", "HOST", "PORT", "USER", "PASSWORD")}
    # One for each worker: tests that run side by side would drop it under each other.
    name = "_".join(
        [os.environ.get("HANDLEREF_TEST_PREFIX", "handleref"), "dropin", os.environ.get("PYTEST_XDIST_WORKER", "")]
    )
    server = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"]}
    with psycopg.connect(**server, password=settings["PASSWORD"], dbname="postgres", autocommit=True) as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}"')
        yield Project(tmp_path, {**settings, "NAME": name})
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
