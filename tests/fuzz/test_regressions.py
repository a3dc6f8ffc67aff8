"""Inputs that broke something once, found by ``make fuzz`` and kept; each has to be refused or answered now."""

import pytest

from tests.fuzz import nodes
from tests.fuzz.harness import REGRESSIONS, responder_target, seeds_of, wire_target

pytestmark = pytest.mark.django_db(transaction=True, databases=[nodes.A, nodes.B])


def kept(target):
    return sorted(path for path in (REGRESSIONS / target).iterdir() if path.is_file())


@pytest.mark.parametrize("path", kept("wire"), ids=lambda path: path.name)
def test_for_the_decoder(path):
    wire_target(path.read_bytes())


@pytest.mark.parametrize("path", kept("responder"), ids=lambda path: path.name)
def test_for_the_responder(ready, path):
    responder_target(path.read_bytes())


def test_the_fuzzers_begin_with_real_messages(ready):
    made = seeds_of(ready)
    assert len(made["responder"]) == len(nodes.ACTIONS) and len(made["wire"]) > 10
    for data in made["wire"]:
        wire_target(data)
    for data in made["responder"]:
        responder_target(data)
