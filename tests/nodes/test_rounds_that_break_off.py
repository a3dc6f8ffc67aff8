"""A round that ends with an error nobody foresaw."""

import logging

import pytest

from handleref_sync.models import Peer
from handleref_sync.replication import applier
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def breaks(error):
    def apply(*args, **options):
        raise error

    return apply


def test_it_is_reported_and_the_next_peer_has_its_round(monkeypatch, caplog):
    net = Network("abc")
    for using in (A, C):
        Tag.objects.using(using).create(name=f"of {using}")
    monkeypatch.setattr("handleref_sync.session.apply_page", breaks(ZeroDivisionError("of a callback")))
    with caplog.at_level(logging.ERROR, logger="handleref_sync.session"):
        report = net.sync("b", "a")
    assert "not foreseen: ZeroDivisionError: of a callback." in report.error and report.reason == "error"
    assert Peer.objects.using(B).get(name="a").last_error == report.error
    assert "Traceback" in caplog.text and "in apply" in caplog.text
    monkeypatch.setattr("handleref_sync.session.apply_page", applier.apply_page)
    assert net.ok("b", "c").pulled == 1
    assert net.ok("b", "a").pulled == 1 and not Peer.objects.using(B).get(name="a").last_error


def test_who_interrupts_it_is_heard(monkeypatch):
    net = Network("ab")
    Tag.objects.using(A).create(name="t")
    monkeypatch.setattr("handleref_sync.session.apply_page", breaks(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        net.sync("b", "a")
    monkeypatch.undo()
    assert net.ok("b", "a").pulled == 1
