"""The peer node as somebody runs it: every command is a process of its own, in a folder of its own."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests

from tests import forked

MANAGE = Path(__file__).resolve().parents[2] / "peer" / "manage.py"
OURS = ("HANDLEREF_", "PEER_", "DJANGO_", "DATABASE_URL", "SECRET_KEY")
KEY = "a key of this test that is longer than the fifty characters"
PROXYLESS = {"http": "", "https": ""}


def environment(**extra):
    """The environment without what may be set for another node, and with production's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "SECRET_KEY": KEY, **extra}


def manage(folder, *args, env=None):
    """Run a command to its end in `folder`, where the node's database is."""
    command = [sys.executable, str(MANAGE), *args]
    return forked.run(command, cwd=folder, env=env or environment())


def done(folder, *args, env=None):
    """What a command prints that must succeed."""
    result = manage(folder, *args, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def rows(folder, sql, name="hq"):
    with closing(sqlite3.connect(folder / f"{name}.sqlite3")) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def serving(folder, *args, env=None):
    """A node that serves on a free port: (process, its line, its address). Stopped by its own pid."""
    command = [sys.executable, str(MANAGE), "serve", "--port", "0", *args]
    with (
        open(folder / "stderr.txt", "w") as errors,
        forked.start(command, cwd=folder, env=env or environment(), stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        watchdog = threading.Timer(60, process.kill)  # readline() below has no timeout of its own
        watchdog.start()
        try:
            line = process.stdout.readline().rstrip("\n")
            address = re.search(r"http://\S+", line)
            assert address, (folder / "stderr.txt").read_text()
            yield process, line, address[0]
        finally:
            watchdog.cancel()
            process.kill()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A folder with the database of the node "hq", and nothing loaded."""
    folder = tmp_path_factory.mktemp("node")
    done(folder, "migrate", "--verbosity", "0")
    return folder


def get(url, **kwargs):
    return requests.get(url, timeout=30, proxies=PROXYLESS, **kwargs)


def test_secret_key_is_demanded_in_one_sentence(tmp_path):
    result = manage(tmp_path, "check", env=environment(SECRET_KEY=""))
    assert result.returncode == 1
    assert result.stderr.startswith("manage.py: SECRET_KEY is not set: put ")
    assert result.stderr.count("\n") == 1


def test_debug_has_a_key_of_its_own(tmp_path):
    done(tmp_path, "check", env=environment(SECRET_KEY="", PEER_DEBUG="1"))


def test_check_finds_nothing(tmp_path):
    assert "no issues" in done(tmp_path, "check", "--fail-level", "WARNING")


def test_check_deploy_has_no_error(tmp_path):
    done(
        tmp_path, "check", "--deploy", "--fail-level", "ERROR", env=environment(HANDLEREF_URL="https://hq.test/sync/")
    )


def test_migrations_are_complete(migrated):
    done(migrated, "makemigrations", "--check", "--dry-run")


def test_database_lies_in_peer_home_under_the_name_of_the_node(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done(tmp_path, "migrate", "--verbosity", "0", env=environment(PEER_HOME=str(home), HANDLEREF_NODE="ship-7"))
    assert (home / "ship-7.sqlite3").exists()
    assert rows(home, "SELECT name FROM handleref_sync_localnode", "ship-7") == [("ship-7",)]


def test_database_url_comes_first(tmp_path):
    done(tmp_path, "migrate", "--verbosity", "0", env=environment(DATABASE_URL=f"sqlite:///{tmp_path}/other.sqlite3"))
    assert [path.name for path in tmp_path.glob("*.sqlite3")] == ["other.sqlite3"]
    assert rows(tmp_path, "PRAGMA journal_mode", "other") == [("wal",)]


def test_sqlite_is_opened_as_the_readme_says(migrated):
    code = (
        "from django.db import connection as c; cursor = c.cursor(); print([cursor.execute('PRAGMA ' + name)"
        ".fetchone()[0] for name in ('journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout')], "
        "c.transaction_mode)"
    )
    normal = 1
    assert done(migrated, "shell", "--no-imports", "-c", code).strip() == f"['wal', {normal}, 1, 20000] IMMEDIATE"


def test_load_airports_twice(tmp_path):
    done(tmp_path, "migrate", "--verbosity", "0")
    first = done(tmp_path, "load_airports", "--limit", "500")
    assert re.fullmatch(r"\d+ countries, 500 airports: 500 new, 0 changed\.\n", first)
    assert rows(tmp_path, "SELECT count(*) FROM inspections_airport") == [(500,)]

    spoiled = "UPDATE inspections_airport SET name = 'x', updated = '2001-01-01 00:00:00' WHERE id <= 3"
    with closing(sqlite3.connect(tmp_path / "hq.sqlite3")) as connection, connection:
        connection.execute(spoiled)
        connection.execute("UPDATE inspections_country SET name = 'somewhere' WHERE id = 1")
        connection.execute("UPDATE inspections_airport SET status = 'deleted' WHERE id = 4")
    captured = "SELECT count(*) FROM handleref_sync_capture"
    before = rows(tmp_path, captured)[0][0]

    assert done(tmp_path, "load_airports", "--limit", "500").endswith("500 airports: 0 new, 3 changed.\n")
    assert rows(tmp_path, "SELECT count(*) FROM inspections_airport WHERE name = 'x' OR updated < '2002'") == [(0,)]
    assert rows(tmp_path, "SELECT name FROM inspections_country WHERE id = 1") == [("somewhere",)]
    assert rows(tmp_path, "SELECT status FROM inspections_airport WHERE id = 4") == [("deleted",)]
    assert rows(tmp_path, captured)[0][0] == before + 3

    assert done(tmp_path, "load_airports", "--limit", "510").endswith("510 airports: 10 new, 0 changed.\n")
    assert done(tmp_path, "load_airports", "--limit", "500").endswith("500 airports: 0 new, 0 changed.\n")


def test_load_airports_refuses_a_negative_limit(migrated):
    result = manage(migrated, "load_airports", "--limit", "-1")
    assert result.returncode == 1
    assert "CommandError" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve(migrated, number):
    with serving(migrated) as (process, line, address):
        assert re.fullmatch(r"hq serves http://127\.0\.0\.1:[1-9]\d*/", line)

        front = get(address)
        assert front.status_code == 200
        assert "<h1>hq</h1>" in front.text
        assert "0 airports" in front.text
        assert "0 inspections" in front.text
        assert 'href="/admin/"' in front.text

        login = get(f"{address}admin/login/")
        assert login.status_code == 200
        styles = re.findall(r'<link rel="stylesheet" href="/([^"]+\.css)"', login.text)
        assert styles
        for style in styles:
            answer = get(address + style)
            assert answer.status_code == 200, style
            assert answer.headers["Content-Type"].startswith("text/css")

        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == ""
    assert "Traceback" not in (migrated / "stderr.txt").read_text()


def test_serve_answers_to_the_host_of_its_own_url_and_to_no_other(migrated):
    with serving(migrated, env=environment(HANDLEREF_URL="http://hq.test/sync/")) as (_, _, address):
        assert get(address, headers={"Host": "hq.test"}).status_code == 200
        assert get(address, headers={"Host": "elsewhere.test"}).status_code == 400


def test_serve_says_when_the_port_is_taken(migrated):
    with serving(migrated) as (_, _, address):
        port = address.rstrip("/").rpartition(":")[2]
        result = manage(migrated, "serve", "--port", port)
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: Can't listen on 127.0.0.1 port ")


def test_admin_pages(migrated):
    """Every list, form and search of the admin renders, and deleting in bulk is as soft as deleting one."""
    code = """
import datetime
from django.contrib.auth.models import User
from django.test import Client
from inspections.models import Airport, Country, Inspection, Inspector
user = User.objects.create_superuser("boss", password="x")
country = Country.objects.create(code="FR", name="France")
airport = Airport.objects.create(country=country, icao="LFPG", name="Charles de Gaulle", latitude=49, longitude=2.5)
inspector = Inspector.objects.create(user=user, badge="B1")
Inspection.objects.create(airport=airport, inspector=inspector, date=datetime.date(2025, 1, 2), grade="pass")
client = Client(SERVER_NAME="localhost")
client.force_login(user)
for model in (Country, Airport, Inspector, Inspection):
    base = f"/admin/inspections/{model._meta.model_name}/"
    row = model.objects.get()
    for page in (base, base + "?q=b", base + "add/", f"{base}{row.pk}/change/", f"{base}{row.pk}/delete/"):
        assert client.get(page).status_code == 200, page
chosen = {"action": "delete_selected", "_selected_action": [country.pk], "post": "yes"}
assert client.post("/admin/inspections/country/", chosen).status_code == 302
for model in (Country, Airport, Inspection):
    assert model.objects.get().status == "deleted", model
print("all fine")
"""
    # A copy of the folder's database would do as well; a node of another name is simpler.
    env = environment(HANDLEREF_NODE="admin-pages")
    done(migrated, "migrate", "--verbosity", "0", env=env)
    assert done(migrated, "shell", "--no-imports", "-c", code, env=env).strip() == "all fine"
