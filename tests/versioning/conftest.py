"""Models under version control, for one test at a time."""

import pytest
import reversion


@pytest.fixture
def register():
    """Registers a model with reversion until the test ends."""
    registered = []

    def go(model, **options):
        reversion.register(model, **options)
        registered.append(model)

    yield go
    for model in registered:
        reversion.unregister(model)
