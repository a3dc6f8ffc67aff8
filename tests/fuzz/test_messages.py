"""What a paired but hostile peer may say: properly signed, and wrong in some places."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync.exceptions import SyncError
from tests.fuzz import nodes
from tests.fuzz.mutation import misfill, mutate

pytestmark = pytest.mark.django_db(transaction=True, databases=[nodes.A, nodes.B])


def test_what_is_not_spoilt_is_answered(ready):
    for action, message in ready.items():
        assert not isinstance(nodes.attempt(action, message), SyncError), action
    assert nodes.attempt("push", ready["push"])["applied"] > 5


bounded = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("action", nodes.ACTIONS)
@bounded
@given(random=st.randoms(use_true_random=False), times=st.integers(1, 4))
def test_a_spoilt_message_is_refused_or_answered(ready, action, random, times):
    nodes.attempt(action, mutate(random, ready[action], times))


@bounded
@given(random=st.randoms(use_true_random=False), times=st.integers(1, 5))
def test_a_page_whose_content_no_table_takes(ready, random, times):
    nodes.attempt("push", misfill(random, ready["push"], times))
