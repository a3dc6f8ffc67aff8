"""Histories of fresh seeds and all that ever failed; that a seed replays exactly; and that the checks would bite."""

import os
import random
import subprocess
import sys

import pytest

from handleref_sync.core.version_vector import VersionVector
from handleref_sync.replication import applier, feed, hello
from handleref_sync.replication.ledger import Ledger
from tests.simulation.failures import HISTORIES, SEEDS
from tests.simulation.generate import generate
from tests.simulation.play import play
from tests.simulation.shrink import shrink

FRESH = int(os.environ.get("HANDLEREF_SIMULATIONS", "8"))


@pytest.fixture(autouse=True)
def databases(django_db_blocker):
    """The simulation has aliases of its own, and takes them away again."""
    with django_db_blocker.unblock():
        yield


def fine(seed):
    result = play(generate(seed))
    assert not result.broken, f"python -m tests.simulation --seed {seed} breaks: {result.broken}"


@pytest.mark.parametrize("number", range(FRESH))
def test_fresh_histories_hold(number):
    fine(random.SystemRandom().randrange(1 << 40))


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_that_failed_hold(seed):
    fine(seed)


@pytest.mark.parametrize("name", HISTORIES)
def test_histories_that_failed_hold(name):
    assert not play(HISTORIES[name]).broken
