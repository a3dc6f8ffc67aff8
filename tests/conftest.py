"""Fixtures for all tests."""

import pytest

from handleref_sync.capture import install


@pytest.fixture
def node(transactional_db):
    """The default database as a node with nothing captured yet."""
    install.install("default", node="a")
    return "default"
