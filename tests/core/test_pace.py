"""Larger pages on a slow link, and only there."""

from hypothesis import given
from hypothesis import strategies as st

from handleref_sync.core.pace import AIM, MOST, Pace


def test_a_fast_link_keeps_the_size_that_is_set():
    pace = Pace()
    for _ in range(5):
        pace.took(0.6, 5_000_000)
        pace.took(0.05, 100)
    assert pace.rows(2000, 20_000) == 2000


def test_pages_grow_on_a_slow_link_until_they_take_long_enough():
    """1 Mbit/s with a round trip of 200 ms, 40 bytes a row."""
    pace, used = Pace(), 0.0
    for _ in range(6):
        rows = pace.rows(2000, 20_000)
        sending = rows * 40 / 125_000
        used = sending / (sending + 0.2)
        pace.took(sending + 0.2, rows * 40)
    assert used > 0.9


def test_on_a_link_that_is_slower_still_they_stay():
    pace = Pace()
    pace.took(16, 80_000)  # 2G: each page takes long enough as it is
    assert pace.rows(2000, 20_000) == 2000


def test_they_shrink_again_when_the_link_is_fast_again():
    pace = Pace()
    pace.took(0.8, 80_000)
    assert pace.rows(2000, 20_000) == 10_000
    pace.took(0.6, 800_000)
    assert pace.rows(2000, 20_000) == 2000


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**9)), max_size=20),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_never_more_than_the_other_side_takes(pages, least, most):
    pace = Pace()
    for seconds, transferred in pages:
        pace.took(seconds, transferred)
    rows = pace.rows(least, most)
    assert 1 <= rows <= most and min(least, most) <= rows <= max(1, MOST * least) and AIM > 0
