"""What the pages of docs/ take for granted: an application called ``airports`` and two nodes, hq and ship-7."""

import sys
import types
from unittest.mock import patch

import pytest

from handleref_sync.capture import install
from handleref_sync.models import Capture, LocalNode, Node
from tests.testapp import models


def application():
    """The test application under the name that the pages use."""
    package = types.ModuleType("airports")
    package.models = models
    return {"airports": package, "airports.models": models}


@pytest.fixture
def nodes(transactional_db):
    """The first two databases as the nodes hq and ship-7, not paired."""
    for using, name in (("default", "hq"), ("second", "ship-7")):
        # Flushing a database makes it the node of the test settings; the pages have names of their own.
        LocalNode.objects.using(using).all().delete()
        Node.objects.using(using).all().delete()
        Capture.objects.using(using).all().delete()
        install.install(using, node=name)
    with patch.dict(sys.modules, application()):
        yield
