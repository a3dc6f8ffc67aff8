"""Primary keys that the application gave itself, on a database whose sequence does not know of them."""

import pytest

from handleref_sync.models import Parked
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


def test_keys_of_the_application_are_passed_over():
    net = Network("ab")
    first = Item.objects.using(B).create(name="first").pk
    Item.objects.using(B).bulk_create([Item(pk=first + i, name=f"explicit {i}") for i in range(1, 300)])
    Item.objects.using(A).create(name="from a")
    assert net.ok("b", "a").parked == 0
    assert not Parked.objects.using(B).exists()
    assert Item.objects.using(B).filter(name="from a").exists()


def test_a_row_that_came_and_went_while_a_page_was_on_its_way():
    net = Network("ab")
    first = Item.objects.using(B).create(name="first").pk
    Item.objects.using(A).create(name="from a")
    transport = net.transport("b", "a")
    call = transport.call

    def meanwhile(action, message):
        answer = call(action, message)
        if action == "pull":
            for i in range(1, 5):
                Item.objects.using(B).create(pk=first + i, name="passing").delete(hard=True)
        return answer

    transport.call = meanwhile
    assert not net.sync("b", "a", transport=transport).error
    net.heal([("b", "a")])
    for using in (A, B):
        assert sorted(Item.objects.using(using).values_list("name", flat=True)) == ["first", "from a"]
    assert net.rows("a") == net.rows("b")
