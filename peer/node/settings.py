"""Settings of one node. Everything that differs between nodes comes from the environment (see README.md)."""

import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

NODE = os.environ.get("HANDLEREF_NODE") or "hq"
HOME = Path(os.environ.get("PEER_HOME") or ".").resolve()
URL = os.environ.get("HANDLEREF_URL", "")

DEBUG = os.environ.get("PEER_DEBUG", "").lower() in ("1", "true")
SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set: put 50 or more random characters into that environment variable and keep them "
            "for the life of this node, or set PEER_DEBUG=1 on a machine that only you can reach."
        )
    # Says in its name that it protects nothing; sessions of different development nodes still don't mix.
    SECRET_KEY = f"development-only-and-known-to-everyone-{NODE}"

_hosts = os.environ.get("PEER_ALLOWED_HOSTS") or "localhost,127.0.0.1"
ALLOWED_HOSTS = [host.strip() for host in _hosts.split(",") if host.strip()]
# A node that tells others to reach it under a name must answer to that name.
if (_own := urlsplit(URL).hostname) and _own not in ALLOWED_HOSTS:
    ALLOWED_HOSTS.append(f"[{_own}]" if ":" in _own else _own)

HANDLEREF_SYNC = {
    "NODE": NODE,
    "URL": URL,
    # Inspectors are users, so users travel too. Every HandleRefModel does so without being named.
    "MODELS": ["auth.User"],
    # Smaller pages lose less when a bad link breaks; bigger ones have fewer round trips.
    "PAGE_ROWS": int(os.environ.get("PEER_PAGE_ROWS") or 2000),
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "reversion",  # the history of versions
    "handleref_sync",
    "inspections",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # Serves the admin's CSS without a web server in front: a node on a ship is one process.
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "node.urls"
WSGI_APPLICATION = "node.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

SQLITE_OPTIONS = {
    # A transaction takes the write lock when it begins. One that reads first and writes later would fail at once
    # with "database is locked" if another has written in between, and no timeout helps against that.
    "transaction_mode": "IMMEDIATE",
    # Seconds to wait for the write lock: a sync applies a page in one transaction, and somebody who presses "Save"
    # meanwhile should wait, not see an error.
    "timeout": 20,
    "init_command": ";".join(
        (
            # Readers don't wait for the writer nor the writer for them: pages keep loading during a sync.
            "PRAGMA journal_mode=WAL",
            # In WAL mode a power cut can then lose the last commits but can't corrupt the file, and a commit needs
            # no fsync. Where a lost commit may already have been synced, and that matters more than speed: FULL.
            "PRAGMA synchronous=NORMAL",
            # Off by default in SQLite. Django turns it on as well; here it is said, since replication relies on it.
            "PRAGMA foreign_keys=ON",
        )
    ),
}

_database = dj_database_url.parse(
    os.environ.get("DATABASE_URL") or f"sqlite:///{HOME / f'{NODE}.sqlite3'}",
    # A connection is kept between requests. On SQLite the last one to close folds the WAL back into the file, which
    # at every request would cost the fsync that synchronous=NORMAL saves.
    conn_max_age=60,
    conn_health_checks=True,
)
if _database["ENGINE"] == "django.db.backends.mysql" and find_spec("MySQLdb") is None:
    import pymysql  # where mysqlclient can't be built: slower, and without a compiler

    pymysql.install_as_MySQLdb()
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["OPTIONS"] = {**SQLITE_OPTIONS, **_database.get("OPTIONS", {})}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# Straight from the installed packages: there is no collectstatic to forget.
WHITENOISE_USE_FINDERS = True

# A browser keeps cookies by host and not by port, so two nodes on one machine would log each other's users out.
SESSION_COOKIE_NAME = f"sessionid-{NODE}"
CSRF_COOKIE_NAME = f"csrftoken-{NODE}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = URL.startswith("https://")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Without its own handlers, which print only under DEBUG, and then everything twice.
    "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
}
