"""Neither django-reversion nor Django REST framework is needed."""

import importlib.util

import pytest

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("reversion", "rest_framework"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
SURFACE = [f"handleref_sync.{name}" for name in ("models", "manager", "util", "rest", "version", "admin")]
WORK = """
from dropin.models import Field
field = Field.handleref.create(name="x")
field.name = "y"
field.save()
field.delete()
print(Field.handleref.since(timestamp=1).count(), field.version, field.handle)
"""


def test_all_but_the_serializer_works_without_them(project):
    modules = [name for name in SURFACE if importlib.util.find_spec(name)]
    call = "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    code = f"{BLOCK}\nimport django; django.setup(); import {', '.join(modules)}\n{call}\n{WORK}"
    assert project.run("-c", code, node="hq") == "1 0 fld2"


@pytest.mark.parametrize("name", ["handleref_sync.rest.serializers", "django_handleref.rest.serializers"])
def test_the_serializer_says_what_is_missing(project, name):
    said = project.run("-c", f"{BLOCK}\nimport django; django.setup(); import {name}", ok=False)
    assert said.endswith("No module named 'rest_framework'")
