"""What somebody reads who has forgotten `migrate`, or `makemigrations`: what to run, and no traceback."""

from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from handleref_sync.models import LocalNode, Peer
from tests.commands.project import BOOK, Project, database
from tests.messages import found
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])
NOT_SET_UP = "The database 'default' is not set up. Run manage.py migrate."
COMMANDS = [
    ("sync_status",),
    ("sync_conflicts",),
    ("sync_parked",),
    ("sync_peer",),
    ("sync_invite", "ship-7", "--url", "http://127.0.0.1:9/sync/"),
    ("sync_join", "http://127.0.0.1:9/sync/", "AQAB"),
    ("sync_init",),
    ("sync_uninstall",),
]


@pytest.fixture
def project(tmp_path, transactional_db):
    with database(tmp_path) as settings:
        yield Project(tmp_path, settings)


def test_from_the_first_command_to_a_new_column(project):
    assert project.refuses("sync_status") == f"CommandError: {NOT_SET_UP}"
    migrating = project.manage("migrate")  # a warning lets it run
    assert "(handleref_sync.W006) The database 'default' is not set up." in migrating
    said = project.refuses("sync_peer")
    assert "The table of library.book does not exist. Run manage.py makemigrations library, then" in said
    assert "or manage.py migrate --run-syncdb, if library is to have no migrations." in said
    project.manage("makemigrations", "library", "--verbosity", "0")
    assert "The table of library.book does not exist. Run manage.py migrate." in project.refuses("sync_peer")
    project.manage("migrate", "--verbosity", "0")
    project.say("library/models.py", f"{BOOK}    pages = models.IntegerField(default=0)\n")
    lacks = "The table library_book has no column pages, which library.book has."
    make = "Run manage.py makemigrations library, then manage.py migrate."
    assert project.refuses("sync_peer") == f"CommandError: {lacks} {make}"


def test_every_command_says_that_the_database_is_not_set_up(nodes, manage):
    says = NOT_SET_UP.replace("'default'", "'second'").replace("migrate.", "migrate --database second.")
    with renamed("second"):
        for command in COMMANDS[:-1]:  # the last one asks other tables
            assert refused(manage, "b", *command) == says, command


def test_the_checks_name_the_table_or_the_column_and_no_trigger(nodes, manage, settings):
    with without_a_column():
        assert "has no column name" in found(databases=["default"])["handleref_sync.W007"].msg
        assert "NOT MIGRATED: The table testapp_item has no column name" in manage("a", "sync_status")
    with renamed("default", Item):
        (check,) = [m for m in found(databases=["default"]).values()]
        assert (check.id, check.msg) == ("handleref_sync.W007", "The table of testapp.item does not exist.")
        assert "--run-syncdb, if testapp is to have no migrations" in check.hint
        shown = manage("a", "sync_status")
        assert "NOT MIGRATED: The table of testapp.item does not exist." in shown and "NOT CAPTURED" not in shown
        settings.MIGRATION_MODULES = {"testapp": None}
        assert refused(manage, "a", "sync_peer").endswith("Run manage.py migrate --run-syncdb, which makes it.")


def test_a_router_that_keeps_the_tables_of_the_library_out(nodes, manage, settings):
    class Router:
        def allow_migrate(self, db, app_label, **hints):
            return app_label != "handleref_sync"

    settings.DATABASE_ROUTERS = [Router()]
    with renamed("default"):
        assert "a router keeps the library's tables out of it" in refused(manage, "a", "sync_status")
        assert found(databases=["default"])["handleref_sync.W006"].hint.startswith("Let its allow_migrate() have")


def test_every_command_but_one_refuses_another_node_than_the_database_is(nodes, manage, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "NODE": "x"}
    for command in COMMANDS[:-1]:
        said = refused(manage, "a", *command)
        assert "HANDLEREF_SYNC['NODE'] is 'x', but this database is the node 'a'." in said, command
        assert "sync_init --new-node" in said
    assert "Triggers removed" in manage("a", "sync_uninstall")


def test_an_alias_that_is_none(settings):
    with pytest.raises(CommandError, match=r"DATABASES has no alias 'nope'\. Use one of default, second, third\."):
        call_command("sync_status", "--database", "nope")
    settings.HANDLEREF_SYNC = {"NODE": "a", "DATABASE": "nope"}
    with pytest.raises(
        CommandError, match=r"HANDLEREF_SYNC\['DATABASE'\] is 'nope', and DATABASES has no such alias"
    ):
        call_command("sync_status")


@pytest.fixture
def impatient(settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "RETRIES": 0}


@pytest.mark.usefixtures("impatient")
class TestOfAServer:
    """What a peer is told."""

    def test_without_the_tables(self, joined, manage, caplog):
        with renamed("default"):
            said = error(manage)
        assert "a can't answer: the database 'default' is not set up." in said
        assert "On that node: Run manage.py migrate." in said
        assert "Traceback" not in caplog.text and "not set up" in caplog.text

    def test_without_a_column(self, joined, manage):
        Item.objects.using("default").create(name="one")
        with without_a_column():
            said = error(manage)
        assert "a can't answer: the table testapp_item has no column name" in said

    def test_of_another_node(self, joined, manage, settings):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "NODE": "x"}
        said = error(manage)
        assert "x can't answer: HANDLEREF_SYNC['NODE'] is 'x', but this database is the node 'a'." in said
        assert "not signed" not in said

    def test_that_has_no_node(self, joined, manage):
        LocalNode.objects.using("default").delete()
        assert "a can't answer: this database is not a node yet." in error(manage)


@contextmanager
def renamed(using, model=LocalNode):
    """Without the table of `model`, as before `migrate`."""
    table, moved = model._meta.db_table, "handleref_sync_elsewhere"
    with connections[using].schema_editor() as editor:
        editor.alter_db_table(model, table, moved)
    try:
        yield
    finally:
        with connections[using].schema_editor() as editor:
            editor.alter_db_table(model, moved, table)


@contextmanager
def without_a_column():
    def rename(before, after):
        with connections["default"].schema_editor() as editor:
            editor.execute(f"ALTER TABLE testapp_item RENAME COLUMN {before} TO {after}")

    rename("name", "nome")
    try:
        yield
    finally:
        rename("nome", "name")


def refused(manage, *command):
    with pytest.raises(CommandError) as caught:
        manage(*command)
    return str(caught.value)


def error(manage):
    assert "1 of 1 failed" in refused(manage, "b", "sync_peer")
    return Peer.objects.using("second").get().last_error
