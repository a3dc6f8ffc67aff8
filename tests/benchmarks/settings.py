"""Settings of one node of a benchmark; which one, the environment says."""

import os

from tests.benchmarks import databases

KIND = os.environ.get("BENCH_KIND", "sqlite")
if KIND == "mariadb":
    import pymysql

    pymysql.install_as_MySQLdb()  # pure Python, so that a benchmark needs no compiler

SECRET_KEY = "benchmarks only"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.benchmarks.urls"
WSGI_APPLICATION = "tests.benchmarks.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    *(["reversion"] if os.environ.get("BENCH_REVERSION") else []),
    "handleref_sync",
    "tests.benchmarks.app",
]
# As many models more; see app/models.py.
MODELS = int(os.environ.get("BENCH_MODELS", "0"))
HANDLEREF_SYNC = {
    "NODE": os.environ.get("BENCH_NODE", "hub"),
    "MODELS": {"app.Narrow": {}, **{f"app.Extra{n}": {} for n in range(MODELS)}},
    "TIMEOUT": 600,
    "MAX_CLOCK_SKEW": 86400,
}
DATABASES = {"default": databases.django(KIND, os.environ.get("BENCH_NAME", ":memory:"))}
