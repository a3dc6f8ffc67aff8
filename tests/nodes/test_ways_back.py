"""A loser whose parent is gone: what is said can be followed, and then it can be written back."""

import pytest

from handleref_sync.exceptions import ConfigurationError
from handleref_sync.models import Conflict
from handleref_sync.replication.conflicts import describe, restore
from tests.identityapp.models import City, Stop, Ticket
from tests.nodes.network import ALIASES, Network, tick
from tests.testapp.models import Airport, Country

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B = ALIASES["a"], ALIASES["b"]


@pytest.fixture
def net():
    return Network("ab")


def lost(net, model, field):
    """The entry of a version that a wrote and b wrote over, of the one row of `model`."""
    net.ok("b", "a")
    model.objects.using(A).update(**{field: "of a"})
    tick()
    model.objects.using(B).update(**{field: "of b"})
    net.ok("b", "a")
    return Conflict.objects.using(A).get(model=model._meta.label_lower).id


def refusal(entry):
    with pytest.raises(ConfigurationError) as caught:
        restore(A, entry)
    return caught.value.sentence()


def test_a_parent_that_is_known_by_its_first_stamp(net):
    Airport.objects.using(A).create(country=Country.objects.using(A).create(code="fr"), name="Orly")
    entry = lost(net, Airport, "name")
    Country.objects.using(A).all().delete()
    net.ok("b", "a")
    said = refusal(entry)
    assert "the testapp.country a:" in said and "Make another testapp.country in its place" in said
    assert "sync_conflicts --json shows its values" in said
    found = next(e for e in describe(A, everything=True) if e["id"] == entry)
    assert (found["values"]["name"], found["won"]) == ("of a", "deletion")


def test_a_parent_that_is_known_by_what_is_in_it(net):
    Stop.objects.using(A).create(city=City.objects.using(A).create(code="rom"), name="Termini")
    entry = lost(net, Stop, "name")
    City.objects.using(A).all().delete()
    net.ok("b", "a")
    assert "Make the identityapp.city with code='rom' again" in refusal(entry)
    City.objects.using(A).create(code="rom")
    net.ok("b", "a")
    restore(A, entry)
    assert Stop.objects.using(A).get().name == "of a"


def test_a_parent_that_is_known_by_its_primary_key(net):
    parent = Ticket.objects.using(A).create(text="parent")
    child = Ticket.objects.using(A).create(text="child", parent=parent)
    net.ok("b", "a")
    Ticket.objects.using(A).filter(pk=child.pk).update(text="of a")
    tick()
    Ticket.objects.using(B).filter(pk=child.pk).update(text="of b")
    net.ok("b", "a")
    entry = Conflict.objects.using(A).get().id
    Ticket.objects.using(A).filter(pk=parent.pk).delete()
    net.ok("b", "a")
    assert f"Make the identityapp.ticket with the primary key {parent.pk} again" in refusal(entry)
    Ticket.objects.using(A).create(pk=parent.pk, text="again")
    net.ok("b", "a")
    restore(A, entry)
    assert Ticket.objects.using(A).get(pk=child.pk).text == "of a"


def test_a_parent_that_has_an_entry_of_its_own(net):
    Airport.objects.using(A).create(country=Country.objects.using(A).create(code="fr"), name="Orly")
    entry = lost(net, Airport, "name")
    Country.objects.using(A).update(name="of a")
    tick()
    Country.objects.using(B).all().delete()
    net.heal((("b", "a"),))
    parent = Conflict.objects.using(A).filter(model="testapp.country", data__isnull=False).get().id
    assert f"Restore that first: sync_conflicts --restore {parent[:12]}." in refusal(entry)
    restore(A, parent)
    restore(A, entry)
    assert Airport.objects.using(A).get().name == "of a"


def test_what_is_back_already_and_what_was_changed_since(net):
    Country.objects.using(A).create(code="fr")
    entry = lost(net, Country, "name")
    restore(A, entry)
    assert "is restored already" in refusal(entry)
    Country.objects.using(A).update(name="another")
    restore(A, entry)
    assert Country.objects.using(A).get().name == "of a"


def test_a_deletion_that_is_not_stamped_yet_is_what_won(net):
    Country.objects.using(A).create(code="fr")
    entry = lost(net, Country, "name")
    Country.objects.using(A).all().delete()
    (found,) = describe(A)
    assert (found["id"], found["won"], found["against_written"]) == (entry, "deletion", None)
