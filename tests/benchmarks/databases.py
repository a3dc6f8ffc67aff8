"""The databases of a benchmark: where they are, as Django's settings say it; to make one, and to drop it."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

KINDS = ("sqlite", "postgresql", "mariadb")


def django(kind: str, name: str) -> dict[str, Any]:
    """An entry of DATABASES."""
    if kind != "sqlite":
        server = _postgresql() if kind == "postgresql" else _mariadb()
        backend = "postgresql" if kind == "postgresql" else "mysql"
        # As in production: without it each request would make a connection of its own, which is most of a small one.
        kept = {"CONN_MAX_AGE": 600}
        return {"ENGINE": f"django.db.backends.{backend}", "NAME": name, **_upper(server), **kept}
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON",
        },
    }


def _upper(server: dict[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in server.items()}


def _postgresql() -> dict[str, str]:
    return {
        "host": os.environ.get("PGHOST", "localhost"),
        "port": os.environ.get("PGPORT", "5432"),
        "user": os.environ.get("PGUSER", "postgres"),
        "password": os.environ.get("PGPASSWORD", ""),
    }


def _mariadb() -> dict[str, str]:
    return {
        "host": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "port": os.environ.get("MYSQL_PORT", "3306"),
        "user": os.environ.get("MYSQL_USER", "root"),
        "password": os.environ.get("MYSQL_PASSWORD", ""),
    }


def new(kind: str, home: Path, template: str = "") -> str:
    """The name, or for SQLite the path, of a database that is new; empty, or as the one that it is copied from."""
    name = f"handleref_bench_{uuid.uuid4().hex[:10]}"
    if kind == "sqlite":
        file = home / f"{name}.sqlite3"
        if template:
            shutil.copy(template, file)
        return str(file)
    if kind == "postgresql":
        _execute(kind, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    else:
        _execute(kind, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return name


def drop(kind: str, name: str) -> None:
    """Drop what `new` made. A file of SQLite goes with the folder in which it is."""
    if kind == "postgresql":
        _execute(kind, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    elif kind == "mariadb":
        _execute(kind, f"DROP DATABASE IF EXISTS {name}")


def _execute(kind: str, statement: str) -> None:
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(**_postgresql(), dbname="postgres", autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(statement)
    else:
        import pymysql

        server: dict[str, Any] = {**_mariadb(), "port": int(_mariadb()["port"])}
        with pymysql.connect(**server) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
