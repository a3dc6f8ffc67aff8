"""The rules of the house: imports go strictly downward."""

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_import_contracts_hold():
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS
