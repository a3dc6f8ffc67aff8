"""Two paired nodes with rows of their own, and some that both have and changed apart."""

import pytest

from tests.fuzz import nodes


@pytest.fixture
def ready(transactional_db):
    """By action: what b would say to a, in full."""
    return nodes.meet()
