"""A new key for a node that keeps its peers: each learns it when it is met, and nothing is lost on the way."""

import pytest

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import LocalNode, Peer
from handleref_sync.replication import keys, lives
from handleref_sync.session import sync
from handleref_sync.transport import auth
from handleref_sync.transport.client import HttpTransport
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])
A, B = "default", "second"


def key(using):
    return auth.identity(using).public_key


def meet(site, using=B):
    """b calls a, as sync_peer does."""
    peer = Peer.objects.using(using).get()
    peer.url = site.url
    transport = HttpTransport(using, peer, sleep=lambda seconds: None)
    try:
        report = sync(using, peer, transport)
    finally:
        transport.close()
    assert not report.error, report.error


@pytest.mark.parametrize("who", [A, B])
def test_both_go_on_and_the_old_key_goes(site, paired, who):
    old = key(who)
    other = B if who == A else A
    assert keys.rotate(who) == [Peer.objects.using(who).get().name]
    for number in range(3):
        Tag.objects.using(who).create(name=str(number))
        meet(site)
    assert key(who) != old
    assert bytes(Peer.objects.using(other).get().public_key) == key(who)
    assert Peer.objects.using(other).get().next_public_key is None
    assert Tag.objects.using(other).count() == 3
    assert LocalNode.objects.using(who).get().next_key is None


def test_both_at_once(site, paired):
    old = key(A), key(B)
    keys.rotate(A)
    keys.rotate(B)
    for _ in range(4):
        meet(site)
    assert bytes(Peer.objects.using(B).get().public_key) == key(A) != old[0]
    assert bytes(Peer.objects.using(A).get().public_key) == key(B) != old[1]


def test_the_old_key_is_worth_nothing_afterwards(site, paired):
    old = bytes(LocalNode.objects.using(B).get().private_key)
    keys.rotate(B)
    for _ in range(3):
        meet(site)
    LocalNode.objects.using(B).update(private_key=old)
    with pytest.raises(AssertionError, match="has another key for b"):
        meet(site)


def test_who_was_not_met_keeps_the_old_one_alive(site, paired):
    Peer.objects.using(A).create(name="c", public_key=b"c" * 32)
    old = key(A)
    assert keys.rotate(A) == ["b", "c"]
    for _ in range(3):
        meet(site)
    assert key(A) == old
    assert keys.waiting_for(A) == ["c"]
    with pytest.raises(ConfigurationError, match="c does not know yet"):
        keys.rotate(A)
    lives.forget(A, "c")
    assert key(A) != old
    meet(site)


def test_without_peers_it_is_done_at_once(nodes):
    old = key(A)
    assert keys.rotate(A) == []
    assert key(A) != old
