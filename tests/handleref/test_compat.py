"""A project that was written for django-handleref, with ``handleref_sync.compat`` in its place."""

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STAMPED = "from handleref_sync.replication.stamping import stamp; stamp('default');"
NAMES = "from dropin.models import *; from handleref_sync.models import *; from django.db import connection;"
TABLES = NAMES + "print(sorted(connection.introspection.table_names()));"
CAPTURED = NAMES + "print(Capture.objects.count(), LocalNode.objects.count())"


@pytest.fixture
def fake(tmp_path):
    """A folder with a package of the old name, as pip would have left it."""
    package = tmp_path / "site" / "django_handleref"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text("raise AssertionError('the real package was imported')")
    return package.parent


def test_old_migrations_run_and_none_is_to_be_made(project):
    project.manage("migrate", "-v0")
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")
    assert project.python(f"{NAMES} print(list(Field.handleref.values_list('name', 'status', 'version')))") == (
        "[('first', 'ok', 1)]"
    )


def test_without_a_node_it_is_a_plain_drop_in(project):
    project.manage("migrate", "-v0")
    said = project.manage("check", "--fail-level", "WARNING", "--database", "default")
    assert "handleref_sync.I001" in said and "HANDLEREF_SYNC = {" in said
    work = "f = Field.handleref.get(); f.save(); f.delete(); Runway.objects.create(field=f); f.delete(hard=True);"
    assert project.python(f"{NAMES} {work} print(f.node)") == "None"
    assert project.python(CAPTURED) == "0 0"
    assert "is not a node yet" in project.manage("sync_status", ok=False)


def test_a_node_id_set_later_stamps_what_is_there(project):
    project.manage("migrate", "-v0")
    before = project.python(TABLES + "print([f.column for f in Field._meta.fields])")
    project.manage("migrate", "-v0", node="hq")
    assert "identified no issues" in project.manage("check", "--database", "default", node="hq")
    show = "print([(f.name, f.node) for f in Field.handleref.with_stamps()])"
    assert project.python(f"{NAMES} {STAMPED} {show}", node="hq") == "[('first', 'hq')]"
    assert project.python(TABLES + "print([f.column for f in Field._meta.fields])", node="hq") == before
    # The ID taken out again: what was captured stays captured until the triggers are taken off, and then off.
    project.manage("migrate", "-v0")
    assert project.python(f"{NAMES} Field.objects.update(name='second'); {CAPTURED}") == "1 1"
    project.manage("sync_uninstall")
    project.manage("migrate", "-v0")
    assert project.python(f"{NAMES} Field.objects.update(name='third'); {CAPTURED}") == "1 1"


def test_a_migration_keeps_the_triggers_of_a_node_whose_id_was_taken_out(project):
    project.manage("migrate", "-v0", node="hq")
    project.manage("migrate", "-v0", "dropin", "0002")
    count = "Runway.objects.only('id').count()"
    assert project.python(f"{NAMES} {count}; Field.objects.update(name='x'); {STAMPED} {CAPTURED}") == "0 1"
    project.manage("migrate", "-v0")
    code = f"{NAMES} Runway.objects.create(field=Field.objects.get(), name='r'); Runway.objects.update(length=3);"
    assert project.python(f"{code} {CAPTURED}") == "2 1"


@pytest.mark.parametrize(
    ("edited", "apps"),
    [
        (("models.py", "abstract.py"), ["handleref_sync.compat"]),
        (("migrations",), ["handleref_sync.compat"]),
        (("models.py", "abstract.py", "migrations"), ["handleref_sync"]),
    ],
)
def test_imports_that_were_changed_make_no_migration(project, edited, apps):
    copy = Path(shutil.copytree(HERE / "dropin", project.folder / "dropin"))
    for name in edited:
        for file in (copy / name).glob("*.py") if name == "migrations" else [copy / name]:
            file.write_text(file.read_text().replace("django_handleref", "handleref_sync"))
    project.manage("migrate", "-v0", apps=apps, node="hq")
    found = project.python("import dropin; print(dropin.__file__)", apps=apps, node="hq")
    assert found == str(copy / "__init__.py")
    options = {"apps": apps, "node": "hq"}
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run", **options)


def test_a_new_migration_names_the_public_module(project):
    copy = Path(shutil.copytree(HERE / "dropin", project.folder / "dropin"))
    with (copy / "models.py").open("a") as file:
        file.write("\n\nclass Added(models.Model):\n    created = CreatedDateTimeField()\n")
    project.manage("makemigrations", "dropin", "-n", "added")
    assert "handleref_sync.models.CreatedDateTimeField(" in (copy / "migrations" / "0004_added.py").read_text()
    project.manage("migrate", "-v0")


@pytest.mark.parametrize(
    "module", ["", ".manager", ".models", ".util", ".rest", ".rest.serializers", ".models.handleref"]
)
def test_old_paths_give_the_very_same_modules(project, module):
    names = f"'django_handleref{module}', 'handleref_sync{module}'"
    code = "import importlib; a, b = map(importlib.import_module, ({}))"
    code = f"{code.format(names)}; assert a is b; assert a.__spec__.name == a.__name__ == b.__name__, a.__spec__"
    assert project.python(f"{code}; import django_handleref.util as u; importlib.reload(u)") == ""
    assert project.python(f"import django_handleref{module} as a, handleref_sync{module} as b; assert a is b") == ""


def test_forms_of_imports(project):
    assert (
        project.python("from django_handleref import models, util; print(models.__name__)") == "handleref_sync.models"
    )
    code = "import pickle; from handleref_sync.manager import HandleRefQuerySet as Q;"
    old = r"pickle.loads(b'cdjango_handleref.manager\nHandleRefQuerySet\n.') is Q"
    assert project.python(f"{code} print({old})") == "True"
    said = project.python("import django_handleref.nothing", ok=False)
    assert "No module named 'django_handleref.nothing'" in said
    assert "ModuleNotFoundError" in project.python("from django_handleref.models.nothing import x", ok=False)


def test_beside_the_real_package_it_is_refused(project, fake):
    said = project.manage("check", ok=False, path=[fake])
    assert "handleref_sync.E006" in said and str(fake) in said and "pip uninstall django-handleref" in said
    # Refused, and yet nothing of it was imported.
    assert project.python("import django_handleref.models as m; print(m.__name__)", path=[fake]) == (
        "handleref_sync.models"
    )
    (fake / "django_handleref" / "__init__.py").unlink()  # a folder that pip has left is no package
    (fake / "django_handleref" / "models.py").unlink()
    assert "E006" not in project.manage("check", path=[fake])


@pytest.mark.parametrize("other", ["handleref_sync", "django_handleref", "handleref_sync.apps.HandleRefSyncConfig"])
@pytest.mark.parametrize("first", [True, False])
def test_listed_twice_is_said_in_a_sentence(project, fake, other, first):
    apps = [other, "handleref_sync.compat"] if first else ["handleref_sync.compat", other]
    said = project.manage("check", apps=apps, ok=False, path=[fake])
    assert 'Keep one of "handleref_sync" and "handleref_sync.compat"' in said.splitlines()[-1]


def test_under_its_own_name_a_node_id_is_asked_for(project):
    said = project.python("pass", apps=["handleref_sync"], ok=False)
    assert "No module named 'django_handleref'" in said
    said = project.manage("check", apps=["handleref_sync"], alias="1", ok=False)
    assert "handleref_sync.E002" in said


def test_not_listed_at_all(project):
    """django-peeringdb's settings do not list django_handleref, and its models inherit from it all the same."""
    options = {"apps": [], "alias": "1"}
    project.manage("migrate", "-v0", **options)
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run", **options)
    work = "f = Field.objects.get(); f.save(); Runway.objects.create(field=f, name='r');"
    work = f"{work} print(Field.handleref.all().soft_delete()[0], f.stamp, f.node, f.handle)"
    assert project.python(f"{NAMES} {work}", **options) == "2 None None fld1"
    show = "print([f.node for f in Field.handleref.with_stamps()])"
    assert project.python(f"{NAMES} {show}", **options) == "[None]"
    tables = project.python(TABLES, **options)
    assert "dropin_field" in tables and "handleref_sync" not in tables


def test_options_that_are_inherited_now_are_shown(project):
    code = (
        "from dropin.abstract import NamedBase\n"
        "class Base(NamedBase):\n"
        "    class Meta: abstract = True; app_label = 'dropin'\n"
        "    class HandleRef: tag = 'base'; delete_cascade = ['x']\n"
        "class Child(Base):\n"
        "    class HandleRef(Base.HandleRef): delete_cascade = ['x']\n"
        "    class Meta: app_label = 'dropin'\n"
        "from django.core.checks import run_checks\n"
        "print([(m.id, m.msg, m.hint) for m in run_checks(tags=['handleref_sync']) if m.id.endswith('W003')])"
    )
    said = project.run("-c", f"import django; django.setup()\n{code}")
    assert "dropin.Child.HandleRef inherits tag 'base'" in said and "Write tag into" in said
    assert said.count("W003") == 1
