"""Settings of a node of Morango, for the Django that it needs. BENCH_TUNED: with SQLite's journal as ours has it."""

import os

SECRET_KEY = "benchmarks only"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "morango.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "mptt",
    "morango",
    "sample",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["BENCH_NAME"]}}
