"""Two paired nodes with rows of their own, and some that both have and changed apart."""

import pytest

from handleref_sync.capture import install
from handleref_sync.models import Peer
from handleref_sync.transport import auth
from tests.fuzz import nodes
from tests.nodes.network import Network


@pytest.fixture
def ready(transactional_db):
    """By action: what b would say to a, in full."""
    network = Network("ab")
    for here, there in ((nodes.A, nodes.B), (nodes.B, nodes.A)):
        me = auth.identity(here)
        Peer.objects.using(there).filter(name=me.name).update(public_key=me.public_key)
    nodes.write(nodes.A, "of a")
    network.ok("b", "a")
    nodes.differ()
    network.ok("b", "a")
    nodes.write(nodes.B, "of b")
    nodes.differ()
    install.install(nodes.A)
    return nodes.messages()
