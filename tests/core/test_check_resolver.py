"""The kit with which a project tests a resolver of its own."""

import itertools

import pytest

from handleref_sync.core.resolvers import Prefer
from handleref_sync.testing import check_resolver
from tests.resolverapp.models import merged

START = {"words": "bread", "size": 1}
EDITS = [{"words": "bread milk"}, {"words": "bread salt", "size": 3}, {"words": "oil"}, {"size": 2}, None]


def test_one_that_unites_sets_converges():
    check_resolver(merged, START, EDITS[:4])


@pytest.mark.parametrize("node", ["node-1", "node-2", "node-9"])
def test_a_preferred_node_converges(node):
    check_resolver(Prefer(node), START, EDITS)


def test_the_later_converges():
    check_resolver(lambda conflict: conflict.later, START, EDITS)


def test_one_that_adds_up_does_not_and_the_example_is_shown():
    def total(conflict):
        return {"size": conflict.earlier.values["size"] + conflict.later.values["size"]}

    with pytest.raises(AssertionError, match="order in which versions meet"):
        check_resolver(total, START, [{"size": 2}, {"size": 3}, {"size": 4, "words": "x"}])


def test_one_that_is_no_pure_function_is_found():
    count = itertools.count()
    with pytest.raises(AssertionError, match="Asked twice"):
        check_resolver(lambda conflict: {"size": next(count)}, START, EDITS[:2])


def test_an_answer_that_is_none_is_found():
    with pytest.raises(AssertionError, match="not one of the two sides"):
        check_resolver(lambda conflict: 7, START, EDITS[:2])
