"""Three nodes in one process: each database alias is one, and they speak over MemoryTransport."""

import time

from handleref_sync.models import Conflict, LocalNode, Node, Parked, Peer, Stamp
from handleref_sync.replication.carried import load
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.responder import Responder
from handleref_sync.session import sync
from handleref_sync.transport.memory import MemoryTransport
from tests import databases
from tests.testapp.models import Airport, Country, Item, Tag

ALIASES = {"a": "default", "b": "second", "c": "third"}
ORDERS = [
    (("b", "a"), ("c", "b"), ("a", "c")),
    (("a", "b"), ("b", "c"), ("c", "a")),
    (("c", "a"), ("c", "b"), ("a", "c")),
]
"""Rounds that lead everything everywhere, in different orders."""
APPLICATION = [Item.tags.through, Airport, Country, Item, Tag]


class Network:
    def __init__(self, names="abc", models=None):
        self.names, self.models = names, models
        for name in names:
            databases.node(ALIASES[name], name)
        for name in names:
            for other in names:
                if name != other:
                    Peer.objects.using(ALIASES[name]).get_or_create(
                        name=other, defaults={"public_key": b"", "read_only": []}
                    )

    def peer(self, here, there):
        return Peer.objects.using(ALIASES[here]).get(name=there)

    def transport(self, here, there):
        def handle(action, message):
            return Responder(ALIASES[there], self.peer(there, here)).handle(action, message)

        return MemoryTransport(handle)

    def sync(self, here, there, transport=None, **options):
        report = sync(ALIASES[here], self.peer(here, there), transport or self.transport(here, there), **options)
        return report

    def ok(self, here, there, **options):
        report = self.sync(here, there, **options)
        assert not report.error, report.error
        return report

    def heal(self, pairs, rounds=12):
        for _ in range(rounds):
            moved = 0
            for here, there in pairs:
                report = self.ok(here, there)
                moved += report.pulled + report.pushed
            if not moved:
                return
        raise AssertionError("does not come to rest")

    def everywhere(self, pairs=ORDERS[0]):
        """All nodes come to rest, equal in every respect and with nothing parked."""
        self.heal(pairs)
        first, *others = [self.rows(name) for name in self.names]
        for other in others:
            assert other == first
        assert not any(parked(name) for name in self.names)

    def rows(self, name):
        return state(ALIASES[name], self.models)


def state(using, models=None):
    """All that guarantee G1 says is the same everywhere: rows by key, stamps with their clocks, the conflict log."""
    ledger = Ledger(using)
    nodes = dict(Node.objects.using(using).values_list("pk", "name"))
    keys, stamps = {}, {}
    for stamp in Stamp.objects.using(using).select_related("model"):
        label = stamp.model.label
        key = stamp.key if stamp.key is not None else normal(stamp.pk_text)
        if stamp.pk_text is not None:
            keys[label, normal(stamp.pk_text)] = key
        clock = stamp.clock or f"{nodes[stamp.node_id]}:{stamp.counter}"
        dot = f"{nodes[stamp.node_id]}:{stamp.counter}"
        stamps[label, key] = (dot, clock, stamp.timestamp, stamp.deleted, marks(ledger, stamp))
    rows = {}
    for model in models or APPLICATION:
        label = model._meta.label_lower
        for row in model._base_manager.using(using).all():
            values = {}
            for field in model._meta.local_concrete_fields:
                if field.primary_key:
                    continue
                value = getattr(row, field.attname)
                if field.is_relation and value is not None and field.target_field.primary_key:
                    value = keys[field.related_model._meta.label_lower, normal(value)]
                values[field.name] = value
            rows[label, keys[label, normal(row.pk)]] = values
    log = {
        (c.model, c.key, c.node, c.counter, c.aspect): (
            bytes(c.data) if c.data is not None else None,
            c.restored,
            c.dismissed,
        )
        for c in Conflict.objects.using(using).all()
    }
    return {"rows": rows, "stamps": stamps, "log": log}


def marks(ledger, stamp):
    return {name: kept.mark for name, kept in load(ledger, stamp.carried).items() if kept.mark}


def normal(pk):
    return str(pk).replace("-", "")


def parked(name):
    return list(Parked.objects.using(ALIASES[name]).values_list("model", "key", "reason"))


def tick():
    """Let the clock go on by more than a timestamp's resolution, so that what follows is later."""
    time.sleep(0.003)


def sequence(name):
    return LocalNode.objects.using(ALIASES[name]).get().sequence
