"""A project that has no django-reversion: in a process of its own, where it can't be imported."""

import sys
import textwrap

from tests import forked

PROJECT = """
import sys
sys.modules["reversion"] = sys.modules["rest_framework"] = None  # as if they were not installed
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    USE_TZ=True,
    ROOT_URLCONF="urls",
    STATIC_URL="static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    HANDLEREF_SYNC={"NODE": "a"},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
        "django.contrib.sessions", "handleref_sync", "tests.testapp",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
)
django.setup()

import handleref_sync.admin
import handleref_sync.version
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import path
from tests.testapp.models import Country

admin.site.register(Country, handleref_sync.admin.VersionAdmin)
urls = sys.modules["urls"] = type(sys)("urls")
urls.urlpatterns = [path("admin/", admin.site.urls)]
call_command("migrate", run_syncdb=True, verbosity=0)
setup_test_environment()
client = Client()
client.force_login(User.objects.create_superuser("root", "", "x"))
row = Country.objects.create(code="de", name="Germany")
base = f"/admin/testapp/country/{row.pk}/"
"""


def run(script):
    command = [sys.executable, "-W", "error", "-c", PROJECT + textwrap.dedent(script)]
    result = forked.run(command)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_it_imports_and_the_rest_of_the_admin_works():
    assert run("""
        print(client.get("/admin/testapp/country/").status_code, client.get(base + "change/").status_code)
        history = client.get(base + "history/")
        print(history.status_code, history.templates[0].name)
        form = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        client.post("/admin/testapp/country/", form)
        print(Country.objects.get().status)
    """) == ["200", "200", "200", "admin/object_history.html", "deleted"]


def test_what_needs_it_says_so():
    assert run("""
        for url in ("history/1/", "history/1/rollback/", "history/revert/?version_id=1"):
            try:
                client.get(base + url)
            except ImproperlyConfigured as error:
                assert "django-reversion" in str(error)
                print("refused")
        try:
            handleref_sync.version.ReversionReverter().rollback(row, handleref_sync.version.Version(1))
        except ImproperlyConfigured as error:
            print("refused")
        print(client.get("/admin/testapp/country/99/history/1/").status_code)
    """) == ["refused"] * 4 + ["404"]


def test_a_store_of_the_project_s_own_is_used():
    assert run("""
        from datetime import UTC, datetime
        from django.contrib.admin.models import LogEntry

        class Stored(handleref_sync.version.Version):
            id = property(lambda self: self.version.pk)
            date = property(lambda self: self.version.action_time)
            user = property(lambda self: self.version.user)
            comment = property(lambda self: str(self.version))
            data = property(lambda self: {"name": self.version.object_repr})
            data_sorted = property(lambda self: sorted(self.data.items()))
            model = Country
            previous = next = None

        own = admin.site.get_model_admin(Country)
        own.version_cls, own.reverter_cls = Stored, handleref_sync.version.Reverter
        own.history_query_set = lambda object_id: LogEntry.objects.filter(object_id=object_id).order_by("-pk")
        LogEntry.objects.log_actions(User.objects.get().pk, [row], 2, "was so")
        row.name = "other"
        row.save()
        entry = LogEntry.objects.get().pk
        print(client.get(base + "history/").status_code, client.get(base + f"history/{entry}/").status_code)
        client.post(base + f"history/{entry}/rollback/process/")
        print(Country.objects.get().name)
    """) == ["200", "200", "Germany"]
