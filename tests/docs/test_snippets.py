"""What the pages of docs/ say is done here: Python is run, and every name of a command, test or file must exist."""

import ast
import dataclasses
import doctest
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.test.utils import isolate_apps
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

from handleref_sync import checks, conf, exceptions
from handleref_sync.models import Parked

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
ALIASES = ["default", "second", "third"]
SEEN_ELSEWHERE = {"testing.md"}  # test_testing_page.py lets pytest itself collect it

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(name):
    return (ROOT / "docs" / name).read_text()


@pages
@pytest.mark.django_db(transaction=True, databases=ALIASES)
@isolate_apps("tests.testapp")
def test_python_is_run(page, nodes):
    if page.name in SEEN_ELSEWHERE:
        return
    parser = PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    document = Sybil([parser]).parse(page)
    fences = re.findall(r"^```python$|^% invisible-code-block: python$", page.read_text(), re.MULTILINE)
    assert len(list(document.examples())) >= len(fences)  # one for each, or one for each prompt in it
    # A model that a page defines belongs to the test application, in a registry that ends with this test.
    document.namespace["__name__"] = "tests.testapp.models_of_a_page"
    for example in document.examples():
        example.evaluate()
    if "HANDLEREF_SYNC" in document.namespace:
        conf.load(document.namespace["HANDLEREF_SYNC"])


@pages
def test_commands_and_their_options_exist(page):
    known = get_commands()
    for name, rest in re.findall(r"manage\.py +([a-z_]+)([^\n`|&;#]*)", page.read_text()):
        assert name in known or name == "COMMAND", name
        if known.get(name) != "handleref_sync":
            continue
        parser = load_command_class("handleref_sync", name).create_parser("manage.py", name)
        options = {option for action in parser._actions for option in action.option_strings}
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in options, f"{name} {option}"


@pages
def test_tests_that_are_named_exist(page):
    for path, names in re.findall(r"(tests/[\w/]+\.py)((?:::\w+)*)", page.read_text()):
        body = ast.parse((ROOT / path).read_text()).body
        for name in names.split("::")[1:]:
            found = [node for node in body if getattr(node, "name", None) == name]
            assert found, f"{path}{names}"
            body = found[0].body


@pages
def test_files_of_the_project_that_are_named_exist(page):
    for path in re.findall(r"`((?:peer|tests|docs|handleref_sync)/[\w./-]+)`", page.read_text()):
        assert (ROOT / path).exists(), path


@pages
def test_every_page_is_in_the_index(page):
    assert page.name == "index.md" or re.search(rf"^{page.stem}$", text_of("index.md"), re.MULTILINE)


def test_every_setting_is_described_with_its_default():
    page = text_of("settings.md")
    for field in dataclasses.fields(conf.Settings):
        if field.name == "options":  # MODELS as a dict
            continue
        row = re.search(rf"^\| `{field.name.upper()}` \|([^|]*)\|", page, re.MULTILINE)
        assert row, field.name
        default = {"": "none", (): "none"}.get(field.default, field.default)
        default = str(default) if isinstance(default, bool) else default
        said = row[1].replace("`", "").replace(" ", "").strip('"')
        number = eval(said, {}) if re.fullmatch(r"[\d.*]+", said) else said
        assert number == default, field.name
    for name in re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE):
        assert name.lower() in {field.name for field in dataclasses.fields(conf.Settings)}, name


def test_every_check_is_described():
    sources = [path.read_text() for path in Path(checks.__file__).parent.rglob("*.py")]
    found = {name for source in sources for name in re.findall(r'\{APP\}\.([EWI]\d{3})"', source)}
    assert found == set(re.findall(r"^## `handleref_sync\.([EWI]\d{3})`", text_of("checks.md"), re.MULTILINE))


def test_every_command_is_described():
    ours = {name for name, app in get_commands().items() if app == "handleref_sync"}
    page = text_of("commands.md")
    assert ours == set(re.findall(r"^## `(\w+)`", page, re.MULTILINE))
    shared = {"-h", "--help", "--version", "-v", "--verbosity", "--settings", "--pythonpath", "--traceback"}
    shared |= {"--no-color", "--force-color", "--skip-checks"}
    for name in ours:
        section = re.split(r"^## ", page.split(f"## `{name}`", 1)[1], flags=re.MULTILINE)[0]
        parser = load_command_class("handleref_sync", name).create_parser("manage.py", name)
        for action in parser._actions:
            for option in set(action.option_strings) - shared - {"--database"}:
                assert f"`{option}" in section, f"{name} {option}"


def test_every_reason_for_parking_is_described():
    for reason in Parked.Reason.values:
        assert f"| `{reason}` |" in text_of("operating.md"), reason


def errors(kind=exceptions.SyncError):
    yield kind
    for inner in kind.__subclasses__():
        yield from errors(inner)


def test_every_reason_of_an_error_is_in_the_protocol_with_its_status():
    page = text_of("protocol.md")
    for kind in errors():
        assert f"| `{kind.reason}` | {kind.status} |" in page, kind
