"""What a database does not do at once, or not at all."""

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, connection, transaction

from handleref_sync.exceptions import DatabaseFailed
from handleref_sync.replication import again as module
from handleref_sync.replication.again import RETRIES, again, said

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def locked(monkeypatch):
    """Every error of operation is one of a lock; no time passes."""
    vendor = type(module.vendor_for(connection))
    monkeypatch.setattr(vendor, "lost_transaction", lambda self, error: isinstance(error, OperationalError))
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    return pauses


def failing(times, error=OperationalError):
    tries = []

    def work():
        tries.append(1)
        if len(tries) <= times:
            raise error("the words of the database")
        return len(tries)

    work.tries = tries
    return work


def test_a_transaction_that_a_lock_has_cost_is_tried_again_with_jitter(locked):
    assert again("default", failing(RETRIES)) == RETRIES + 1
    assert len(set(locked)) == RETRIES and max(locked) < 1


def test_not_for_ever(locked, monkeypatch):
    work = failing(99)
    with pytest.raises(OperationalError):
        again("default", work)
    assert len(work.tries) == RETRIES + 1
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    work = failing(99)
    with pytest.raises(OperationalError):
        again("default", work)
    assert len(work.tries) == 1


def test_not_within_a_transaction_of_the_caller_and_not_for_other_errors(locked):
    for error in (OperationalError, IntegrityError):
        work = failing(1, error)
        with pytest.raises(error), transaction.atomic():
            again("default", work)
        assert len(work.tries) == 1
    work = failing(1, ProgrammingError)
    with pytest.raises(ProgrammingError):
        again("default", work)
    assert len(work.tries) == 1


def test_what_the_database_says_of_itself_is_one_sentence_for_its_own_operator_only():
    with pytest.raises(DatabaseFailed) as caught, said("default"):
        raise OperationalError("password of\nsomebody is wrong")
    assert "password of somebody is wrong" in caught.value.sentence() and "\n" not in caught.value.sentence()
    assert "password" not in caught.value.message + caught.value.hint, "that is what a peer gets"


def test_a_flaw_of_a_statement_stays_what_it_is():
    for error in (ProgrammingError, IntegrityError):
        with pytest.raises(error), said("default"):
            raise error("no such column")
