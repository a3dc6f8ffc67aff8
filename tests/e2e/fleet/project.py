"""Settings of the fleet."""

import os

import dj_database_url

SECRET_KEY = "tests only"
USE_TZ = True
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "addresses"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["handleref_sync", "parts"]
DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL")
        or f"sqlite:///{os.environ['PEER_HOME']}/{os.environ['HANDLEREF_NODE']}.sqlite3"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
    import pymysql

    pymysql.install_as_MySQLdb()
HANDLEREF_SYNC = {"NODE": os.environ["HANDLEREF_NODE"]}
