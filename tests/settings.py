"""Settings of the test suite: three database aliases, so that one process can hold three nodes."""

import os

SECRET_KEY = "tests only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "reversion",
    "handleref_sync",
    "tests.testapp",
    "tests.adminapp",
    "tests.handleref",
    "tests.resolverapp",
    "tests.identityapp",
    "tests.refapp",
    "tests.fieldapp",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the default one is slow on purpose
STATIC_URL = "static/"
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
IDENTITIES = [
    f"identityapp.{name}"
    for name in ("City", "Street", "Stop", "Ticket", "Vehicle", "Bus", "Engine", "Route", "Leg", "Remark", "Person")
]
REFERENCES = [
    f"refapp.{name}"
    for name in ("Owner", "Cascaded", "Below", "Nulled", "Protected", "Restricted", "Replaced", "Careless")
]
UNIQUES = ["refapp.Desk", "refapp.Label", "refapp.Account", "refapp.Seat"]
HANDLEREF_SYNC = {
    "NODE": "a",
    "MODELS": [
        "auth.User",
        "testapp.Tag",
        "adminapp.Label",
        "resolverapp.Price",
        "fieldapp.Everything",
        *IDENTITIES,
        *REFERENCES,
        *UNIQUES,
    ],
}

_KIND = os.environ.get("HANDLEREF_TEST_DATABASE", "sqlite")
# A prefix of its own lets several runs share one server.
_PREFIX = os.environ.get("HANDLEREF_TEST_PREFIX", "handleref")


if _KIND == "postgresql":  # fields that only PostgreSQL has
    INSTALLED_APPS += ["django.contrib.postgres", "tests.postgresapp"]
    HANDLEREF_SYNC["MODELS"] += ["postgresapp.Rich", "postgresapp.Elsewhere"]


def _sqlite(alias):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"file:{alias}?mode=memory&cache=shared"}


def _postgresql(alias):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"{_PREFIX}_{alias}",
        "HOST": os.environ.get("PGHOST", "localhost"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "OPTIONS": {"options": "-c synchronous_commit=off"},  # what a test has written need not outlive a power cut
    }


def _mariadb(alias):
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": f"{_PREFIX}_{alias}",
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MYSQL_PORT", "3306"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
        "TEST": {"CHARSET": "utf8mb4"},
    }


if _KIND in ("mariadb", "mixed"):
    import pymysql

    pymysql.install_as_MySQLdb()  # pure Python, so that the tests need no compiler

# "mixed": one node on each, so that every pair of databases talks.
_MAKERS = {
    "sqlite": (_sqlite, _sqlite, _sqlite),
    "postgresql": (_postgresql, _postgresql, _postgresql),
    "mariadb": (_mariadb, _mariadb, _mariadb),
    "mixed": (_mariadb, _postgresql, _sqlite),
}[_KIND]
DATABASES = {alias: make(alias) for alias, make in zip(("default", "second", "third"), _MAKERS, strict=True)}
