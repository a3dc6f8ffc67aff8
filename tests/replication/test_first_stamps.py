"""First stamps that are made inside the database are those that folding the same notes would have made."""

import random
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from handleref_sync import registry
from handleref_sync.capture.base import Captured, vendor_for
from handleref_sync.capture.install import uninstall
from handleref_sync.core import hlc
from handleref_sync.models import Capture, LocalNode, Node, Stamp
from handleref_sync.replication import stamping
from handleref_sync.replication.ledger import locked, now_ms
from handleref_sync.replication.stamping import first_stamps, fold, stamp
from tests.identityapp.models import Ticket
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.skipif("connection.vendor == 'mysql'", reason="this database makes none by itself")


@contextmanager
def undone(using):
    """The ledger under its lock, in a transaction that leaves nothing behind."""
    with locked(using) as ledger:
        yield ledger
        transaction.set_rollback(True, using=using)


def books():
    """All that stamping writes."""
    stamps = Stamp.objects.order_by("sequence").values_list(
        "model", "pk_text", "key", "node", "counter", "clock", "timestamp", "deleted", "sequence", "carried"
    )
    nodes = Node.objects.order_by("name").values_list("name", "vector", "seen")
    return list(stamps), list(nodes), LocalNode.objects.get().sequence


def notes():
    rows = Capture.objects.order_by("id").values_list("id", "model", "pk_text", "op", "timestamp", "fields")
    return [Captured(*row) for row in rows]


def write_at_random(dice, count):
    """Writes of rows that are known by the primary key, by the dot, by their content, and by their ends."""
    countries, tickets = list(Country.objects.all()), list(Ticket.objects.all())
    for _ in range(count):
        match dice.choice("cccctttttuudaig"):
            case "c":
                code = f"{dice.randrange(36**2):02x}"[-2:]
                if not Country.objects.filter(code=code).exists():
                    countries.append(Country.objects.create(code=code, name=str(dice.random())))
            case "t":
                tickets.append(Ticket.objects.create(text=str(dice.random())))
            case "u" if countries:
                dice.choice(countries).save()
            case "d" if tickets:
                tickets.pop(dice.randrange(len(tickets))).delete()
            case "a" if countries:
                Airport.objects.create(country=dice.choice(countries), name="new")
            case "i":
                item = Item.objects.create(name=str(dice.random()))
                item.tags.add(Tag.objects.create(name="one"))
            case "g":
                Capture.objects.filter(pk=Capture.objects.order_by("?").values("pk")[:1]).update(
                    timestamp=dice.choice([0, now_ms() + 10**9]) << hlc.LOGICAL_BITS
                )


@pytest.mark.parametrize("seed", range(12))
def test_they_are_what_folding_the_same_notes_makes(node, seed, monkeypatch):
    dice = random.Random(seed)
    monkeypatch.setattr(stamping, "FIRST_CHUNK", dice.choice([1, 3, 10, 1000]))
    numbers = [model.id for model in registry.replicated(node).values()]
    stamp(node)
    for _ in range(4):
        write_at_random(dice, dice.randrange(15))
        before = notes()
        with undone(node) as ledger:
            count = first_stamps(ledger, numbers)
            left, made = notes(), books()
        assert [note for note in before if note in left] == left
        with undone(node) as ledger:
            Capture.objects.exclude(pk__in=[note.id for note in left]).delete()
            assert fold(ledger, before[: len(before) - len(left)]) == count
            assert books() == made
        # The first that was left needs the closer look, unless no more were looked at.
        if count == 0 and left:
            about = [note for note in before if (note.model, note.pk) == (left[0].model, left[0].pk)]
            assert not all(map(plain, about))
        if dice.random() < 0.7:
            stamp(node)


def plain(note):
    named = {model.id: model.named for model in registry.replicated("default").values()}
    known = Stamp.objects.filter(model_id=note.model, pk_text=note.pk).exists()
    return note.op in "IU" and not named[note.model] and not known and note.timestamp >> hlc.LOGICAL_BITS <= now_ms()


def test_notes_about_models_that_are_not_named_stay(node):
    Country.objects.create(code="fr", name="France")
    Ticket.objects.create(text="one")
    number = registry.replicated(node)["testapp.country"].id
    with locked(node) as ledger:
        assert first_stamps(ledger, [number]) == 1
    assert Stamp.objects.filter(model_id=number).count() == 1
    assert {note.model for note in notes()} == {registry.replicated(node)["identityapp.ticket"].id}


@pytest.mark.parametrize("noted", ["twice", "stamped before", "by a clock that is ahead"])
def test_insertions_that_need_a_closer_look_get_it(node, noted):
    tickets = [Ticket.objects.create(text=str(n)) for n in range(3)]
    if noted == "twice":
        note = Capture.objects.order_by("pk")[1]
        Capture.objects.create(model=note.model, pk_text=note.pk_text, op="I", timestamp=note.timestamp + 1)
    elif noted == "stamped before":
        stamp(node)
        vendor_for(connection).execute(f"DELETE FROM {Ticket._meta.db_table}")
        Capture.objects.all().delete()  # as by REPLACE, which fires no trigger for what it takes out
        Ticket.objects.bulk_create(Ticket(pk=t.pk, text="again") for t in tickets)
    else:
        Capture.objects.filter(pk=Capture.objects.order_by("pk")[1].pk).update(timestamp=(now_ms() + 10**9) << 16)
    stamp(node)
    stamps = Stamp.objects.filter(model__label="identityapp.ticket", deleted=False)
    assert sorted(stamps.values_list("pk_text", flat=True)) == sorted(str(t.pk) for t in tickets)
    assert not Capture.objects.exists()
    assert all(s.timestamp >> 16 <= now_ms() for s in stamps)


def test_many_rows_take_a_few_statements(node, django_assert_max_num_queries):
    stamp(node)
    uninstall(node)
    Ticket.objects.bulk_create(Ticket(text=str(n)) for n in range(3000))
    vendor_for(connection).capture_existing(registry.replicated(node)["identityapp.ticket"])
    with django_assert_max_num_queries(30):
        assert stamp(node) == 3000
