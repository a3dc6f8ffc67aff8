"""The collector is paused, and comes back as it was."""

import gc

import pytest

from handleref_sync.core.uncollected import uncollected


def test_it_is_paused_inside_and_back_afterwards():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_brings_it_back():
    with pytest.raises(ValueError), uncollected():
        raise ValueError
    assert gc.isenabled()


def test_an_application_that_wants_none_gets_none():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
