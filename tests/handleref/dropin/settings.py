"""Settings of a project that was written for django-handleref; what differs between tests comes from outside."""

import json
import os

if "DROPIN_ALIAS" in os.environ:
    import handleref_sync.compat  # noqa: F401

SECRET_KEY = "tests only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", *json.loads(os.environ["DROPIN_APPS"]), "dropin"]
DATABASES = {"default": json.loads(os.environ["DROPIN_DATABASE"])}
if "DROPIN_NODE" in os.environ:
    HANDLEREF_SYNC = {"NODE": os.environ["DROPIN_NODE"]}
