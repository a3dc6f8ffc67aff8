"""Settings of the test suite: three database aliases, so that one process can hold three nodes."""

import os

SECRET_KEY = "tests only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "handleref_sync", "tests.testapp"]
HANDLEREF_SYNC = {"NODE": "a", "MODELS": ["auth.User", "testapp.Tag"]}

if os.environ.get("HANDLEREF_TEST_DATABASE") == "postgresql":
    _BASE = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", "localhost"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    }
    DATABASES = {alias: {**_BASE, "NAME": f"handleref_{alias}"} for alias in ("default", "second", "third")}
else:
    DATABASES = {
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"file:{alias}?mode=memory&cache=shared"}
        for alias in ("default", "second", "third")
    }
