"""Guarantees G1, G2, G6, G7 and G9 of the core, over random histories; and that the checks would notice a breach."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.simulation import RULES, History


@settings(max_examples=400, deadline=None)
@given(st.integers(min_value=0))
def test_random_histories_hold(seed):
    assert History(seed).run() is None


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_noticed(rule):
    for seed in range(4000):
        try:
            fault = History(seed, rule).run()
        except AssertionError as error:
            fault = str(error)
        if fault:
            return
    raise AssertionError(f"nothing fails without: {RULES[rule]}")
