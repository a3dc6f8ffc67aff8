"""Entries of the conflict log that two nodes made in different forms of the same loser."""

import pytest

from handleref_sync import wire
from handleref_sync.models import Conflict
from handleref_sync.replication import conflicts
from handleref_sync.replication.stamping import stamp
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def test_they_settle_on_one_form_everywhere(monkeypatch):
    """As when one of the two has the field already that a migration adds."""
    net = Network("abc")
    Tag.objects.using(A).create(name="one")
    net.heal([("b", "a"), ("c", "a")])
    Tag.objects.using(A).update(name="lost")
    stamp(A)
    tick()
    Tag.objects.using(B).update(name="won")
    stamp(B)
    net.ok("c", "b", push=False)
    net.ok("b", "a", push=False)  # b finds the conflict
    real = conflicts.entry
    with monkeypatch.context() as patch:

        def newer(lost):
            loser = lost.change
            more = loser._replace(fields=("more", *loser.fields), values=("x", *loser.values))
            return real(lost._replace(change=more))

        patch.setattr(conflicts, "entry", newer)
        net.ok("c", "a", push=False)  # and c finds it on its own
    data = [bytes(Conflict.objects.using(using).get().data) for using in (B, C)]
    assert data[0] != data[1]
    for here, there in (("a", "c"), ("a", "b"), ("b", "c")):  # a has c's, then b's; b has its own, then c's
        net.ok(here, there, push=False)
    net.heal([("b", "a"), ("c", "b"), ("a", "c")])
    data = [wire.unpack(bytes(Conflict.objects.using(using).get().data)) for using in (A, B, C)]
    assert data[0] == data[1] == data[2]
    assert net.rows("a") == net.rows("b") == net.rows("c")
