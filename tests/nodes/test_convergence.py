"""Guarantees G1, G2, G5 and G6 over random histories of three nodes."""

import os
import random
from itertools import groupby

import pytest
from django.db import IntegrityError, connections, transaction

from handleref_sync import wire
from handleref_sync.core.change import Record
from handleref_sync.exceptions import PeerUnreachable
from handleref_sync.models import Conflict, Parked, Stamp
from handleref_sync.replication.content import Content
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.stamping import stamp
from handleref_sync.replication.versions import key_of, version_of
from tests.nodes.network import ALIASES, Network
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
SEEDS = int(os.environ.get("HANDLEREF_SEEDS", "12"))
SHAPES = {
    "chain": [("a", "b"), ("b", "c")],
    "star": [("b", "a"), ("c", "a")],
    "mesh": [("a", "b"), ("b", "c"), ("c", "a")],
}


class History:
    """Random writes of every kind, and rounds that may be cut."""

    def __init__(self, net, rnd):
        self.net, self.rnd, self.number = net, rnd, 0
        self.written = {}

    def observe(self):
        """Note each write that was made since, with what it knew."""
        for using in ALIASES.values():
            stamp(using)
            ledger = Ledger(using)
            mine = Stamp.objects.using(using).filter(node=ledger.local.incarnation_id).order_by("model_id")
            unseen = [s for s in mine if version_of(ledger, s).dot not in self.written]
            for number, group in groupby(unseen, key=lambda s: s.model_id):
                model, new = ledger.by_number[number], list(group)
                rows = Content(ledger, model).read([s.pk_text for s in new if not s.deleted], under_lock=False)
                for s in new:
                    values = None if s.deleted else wire.pack(rows[s.pk_text])
                    version = version_of(ledger, s)
                    self.written[version.dot] = (Record(model.label, key_of(ledger, s)), values, version)

    def lost(self, net):
        """Writes that are neither current, nor superseded by one that knew them, nor in the conflict log."""
        ledger = Ledger(ALIASES["a"])
        current, logged = {}, set()
        for number, model in ledger.by_number.items():
            stamps = list(Stamp.objects.using(ledger.using).filter(model=number))
            rows = Content(ledger, model).read([s.pk_text for s in stamps if not s.deleted], under_lock=False)
            for s in stamps:
                current[Record(model.label, key_of(ledger, s))] = None if s.deleted else wire.pack(rows[s.pk_text])
        for entry in Conflict.objects.using(ledger.using).all():
            values = None if entry.data is None else wire.pack(wire.unpack(bytes(entry.data))["values"])
            logged.add((Record(entry.model, entry.key), values))
        for dot, (record, values, _) in self.written.items():
            if record.model == "handleref_sync.conflict" or current.get(record, "none") == values:
                continue
            if (record, values) in logged:
                continue
            equal = [d for d, w in self.written.items() if w[:2] == (record, values)]
            if not any(
                w[0] == record and d != e and w[2].clock.knows(e) for e in equal for d, w in self.written.items()
            ):
                yield dot, record

    def pick(self, model, using):
        rows = list(model._base_manager.using(using).order_by("pk"))
        return self.rnd.choice(rows) if rows else None

    def write(self, name):
        using, rnd = ALIASES[name], self.rnd
        self.number += 1
        text = f"{name}{self.number}"
        act = rnd.randrange(11)
        try:
            with transaction.atomic(using=using):
                self.act(act, using, text)
        except IntegrityError:
            return

    def act(self, act, using, text):
        country, airport, item, tag = (self.pick(m, using) for m in (Country, Airport, Item, Tag))
        if act == 0:
            Country.objects.using(using).create(code=f"{self.number % 100:02}", name=text)
        elif act == 1 and country:
            Airport.objects.using(using).create(country=country, name=text)
        elif act in (2, 3) and airport:
            airport.name = text
            airport.save()
        elif act == 4 and country:
            Country.objects.using(using).filter(pk=country.pk).update(name=text)
        elif act == 5 and airport:
            airport.delete(hard=True)
        elif act == 6 and country:
            country.delete()
        elif act == 7:
            Tag.objects.using(using).create(name=text)
            Item.objects.using(using).create(name=text)
        elif act == 8 and item and tag:
            item.tags.add(tag)
        elif act == 9 and item and tag:
            item.tags.remove(tag)
        elif act == 10 and airport:
            with connections[using].cursor() as cursor:
                cursor.execute("UPDATE testapp_airport SET name = %s WHERE id = %s", [text, airport.pk])

    def sync(self, here, there):
        transport = self.net.transport(here, there)
        if self.rnd.random() < 0.3:
            inner, left = transport.call, self.rnd.randrange(1, 4)

            def cut(action, message):
                nonlocal left
                left -= 1
                if left < 0:
                    raise PeerUnreachable("cut")
                answer = inner(action, message)
                if left == 0 and self.rnd.random() < 0.5:
                    raise PeerUnreachable("the answer was lost")
                if self.rnd.random() < 0.3:
                    self.write(self.rnd.choice("abc"))
                return answer

            transport.call = cut
        report = self.net.sync(here, there, transport=transport)
        assert not report.error or report.reason == "unreachable", report.error


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_histories_converge_and_lose_nothing(seed, settings):
    watched = seed % 2 == 0  # to watch is to stamp at once; the others are stamped when a peer asks
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 3}
    rnd = random.Random(seed)
    net = Network()
    history = History(net, rnd)
    for _ in range(40):
        if rnd.random() < 0.75:
            history.write(rnd.choice("abc"))
            if watched:
                history.observe()
        else:
            history.sync(*rnd.sample("abc", 2))
    net.heal(SHAPES[rnd.choice(sorted(SHAPES))])
    assert not any(Parked.objects.using(using).exists() for using in ALIASES.values())
    first = net.rows("a")
    for name in "bc":
        other = net.rows(name)
        for part in ("rows", "log", "stamps"):
            assert other[part] == first[part], f"{part} of {name}"
    if watched:
        history.observe()
        assert list(history.lost(net)) == []
    before = [net.rows(name) for name in "abc"]
    for here, there in SHAPES["mesh"]:
        report = net.ok(here, there)
        assert report.pulled == report.pushed == 0
    assert [net.rows(name) for name in "abc"] == before
