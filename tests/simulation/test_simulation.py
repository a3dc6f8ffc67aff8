"""Histories of fresh seeds and all that ever failed; that a seed replays exactly; and that the checks would bite."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.simulation import noticed, steps
from tests.simulation.failures import HISTORIES, SEEDS
from tests.simulation.generate import generate
from tests.simulation.play import play
from tests.simulation.rules import RULES, broken
from tests.simulation.shrink import shrink
from tests.simulation.steps import Wait

FRESH = int(os.environ.get("HANDLEREF_SIMULATIONS", "8"))
"""Histories of fresh seeds; ten take about as many seconds of a processor."""


@pytest.fixture(autouse=True)
def databases(django_db_blocker):
    """The simulation has database aliases of its own, and takes them away again."""
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


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_noticed(name):
    history = noticed.HISTORIES[name]
    assert not play(history).broken
    with broken(RULES[name]):
        assert play(history).broken, RULES[name].text


def test_a_history_is_its_seed_and_prints_as_the_python_that_makes_it():
    history = generate(9)
    assert generate(9) == history and generate(10) != history
    assert eval(repr(history), vars(steps)) == history


def test_two_plays_of_a_history_end_the_same_in_every_respect():
    command = [sys.executable, "-m", "tests.simulation", "--seed", "9", "--digest"]
    there = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    digest = play(generate(9)).digest
    assert there.stdout.splitlines()[0] == f"9 {digest}", there.stderr


def test_a_failure_is_shrunk_to_the_steps_that_it_takes():
    history = noticed.HISTORIES["head"]
    longer = replace(history, steps=(Wait(1), *history.steps, Wait(2)), shape="mesh")
    with broken(RULES["head"]):
        found = shrink(longer, play(longer).kind, told=lambda text: None)
    assert len(found.steps) < len(longer.steps) and found.shape == "chain"
