"""The sample project's settings with what a test of faults turns by the environment."""

import os

from django.db.backends.signals import connection_created
from node.settings import *  # noqa: F403
from node.settings import DATABASES, HANDLEREF_SYNC

for _key in ("TIMEOUT", "RETRIES"):
    if _value := os.environ.get(f"FAULTS_{_key}"):
        HANDLEREF_SYNC[_key] = int(_value)

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"]["timeout"] = float(os.environ.get("FAULTS_PATIENCE") or 20)


def _small_disk(connection, **kwargs):
    """A disk that is full when the file has so many pages."""
    pages = int(os.environ.get("FAULTS_MAX_PAGES") or 0)
    if pages and connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA max_page_count = {pages}")


connection_created.connect(_small_disk, weak=False)
