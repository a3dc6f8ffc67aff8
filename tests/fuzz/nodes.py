"""Node a, and what its peer b would say to it: a real message of each action, to be spoilt."""

import uuid
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache

from django.contrib.admin import site
from django.db import connections, transaction

from handleref_sync import wire
from handleref_sync.admin.waiting import ConflictAdmin, ParkedAdmin
from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import ConfigurationError, SyncError
from handleref_sync.models import Conflict, LocalNode, Node, Parked, Peer, Stamp
from handleref_sync.replication import conflicts, cursors, feed, parking
from handleref_sync.replication.applier import retry_parked
from handleref_sync.replication.hello import hello
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.page import to_message
from handleref_sync.replication.responder import Responder
from handleref_sync.transport import auth
from tests.fieldapp.models import Everything, Point
from tests.nodes.network import Network
from tests.refapp.models import Desk, Owner, Seat
from tests.testapp.models import Airport, Country, Item, Tag

A, B = "default", "second"
ACTIONS = ("hello", "pull", "push", "rows", "records")
REFUSALS = {400, 401, 403, 409, 413, 426}
APART = {"handleref_sync_peer", "handleref_sync_nonce", "django_session"}
"""Tables that a refused request may touch: when who was here, and that this request is not to come again."""
FILLED = {
    "char": "x",
    "integer": 5,
    "real": 1.5,
    "decimal": Decimal("1.25"),
    "date": date(2024, 2, 29),
    "moment": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "time": time(12, 30),
    "duration": timedelta(days=1, microseconds=1),
    "uuid": uuid.UUID(int=7),
    "binary": b"\x00\xff",
    "document": {"a": [1, None]},
    "address": "127.0.0.1",
    "point": Point(1, 2),
    "words": ["a", "b"],
}


def write(using, name):
    """Rows of models of every kind of identity and field."""
    tag = Tag.objects.using(using).create(id=uuid.uuid5(uuid.NAMESPACE_DNS, name), name=name)
    item = Item.objects.using(using).create(name=name)
    item.tags.add(tag)
    land = Country.objects.using(using).create(code=name[-1:], name=name)
    Airport.objects.using(using).create(country=land, name=name, elevation=3, extra={"a": [1, {"b": None}]})
    owner = Owner.objects.using(using).create(name=name)
    Desk.objects.using(using).create(owner=owner, code=name)
    Seat.objects.using(using).create(number=ord(name[-1]), name=name)
    Everything.objects.using(using).create(**FILLED)


def differ():
    """One record that a and b have both changed, so that there is a conflict to be found."""
    for using in (A, B):
        Tag.objects.using(using).filter(name="of a").update(name=f"conflicting in {using}")


def meet():
    """Two paired nodes with rows of both, and some that both have changed apart; what b would say then."""
    network = Network("ab")
    for here, there in ((A, B), (B, A)):
        me = auth.identity(here)
        Peer.objects.using(there).filter(name=me.name).update(public_key=me.public_key)
    write(A, "of a")
    network.ok("b", "a")
    differ()
    network.ok("b", "a")
    write(B, "of b")
    differ()
    return messages()


def messages():
    """What b would send now, by action."""
    peer = Peer.objects.using(B).get(name="a")
    mine = hello(B, peer).to_message()
    scope = cursors.Scope(frozenset(mine["models"]))
    with transaction.atomic(using=B):
        page = to_message(feed.read_page(B, peer, (0, ""), Ledger(A).vector(), scope))
        transaction.set_rollback(True, using=B)
    known = [[m, s.key or s.pk_text] for s in Stamp.objects.using(A).select_related("model") for m in [s.model.label]]
    return {
        "hello": {**mine, "count": True},
        "pull": {**mine, "digests": False},
        "push": {**page, "hello": mine, "after": [0, ""]},
        "rows": {**mine, "model": "testapp.item", "below": 1000},
        "records": {**mine, "records": known[:3]},
    }


@cache
def tables(using):
    return sorted(set(connections[using].introspection.django_table_names(only_existing=True)) - APART)


def state(using=A):
    """All rows of the application and the ledger. A new incarnation is no write: it costs nothing but a name."""
    connection, found = connections[using], {}
    with connection.cursor() as cursor:
        for table in tables(using):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found[table] = cursor.fetchall()
    local = LocalNode.objects.using(using).get()
    found[LocalNode._meta.db_table] = [(local.name, local.sequence, bytes(local.private_key))]
    found[Node._meta.db_table] = list(
        Node.objects.using(using).exclude(name__startswith=f"{local.name}~").values_list("name", "vector", "seen")
    )
    return found


@contextmanager
def undone(using=A):
    """Undo what is written inside, so that each try meets the same database."""
    with transaction.atomic(using=using):
        yield
        connections[using].check_constraints()
        transaction.set_rollback(True, using=using)


def attempt(action, message):
    """What node a does with `message`, as it comes off the wire, on behalf of b; and whether others can go on.

    Returns the answer, or the error. Anything but a SyncError that blames the sender is raised: it is a flaw.
    """
    arrived = wire.unpack_message(wire.pack(message))
    with undone():
        before = state()
        try:
            answer = Responder(A, Peer.objects.using(A).get(name="b")).handle(action, arrived)
        except SyncError as error:
            check_refusal(error)
            assert state() == before, f"{error} was refused, and yet something is written"
            return error
        wire.pack(answer)
        readable()
        return answer


def check_refusal(error):
    assert error.status in REFUSALS, repr(error)
    assert error.hint
    assert len(error.sentence()) < 2000
    wire.pack([error.message, error.hint])


def readable():
    """Whoever comes next can still be answered, and the operator still sees what there is."""
    for listed in (ConflictAdmin(Conflict, site), ParkedAdmin(Parked, site)):
        for row in listed.model.objects.using(A).all():
            assert listed.values(row) and listed.written(row)
    reader = Peer(name="c", public_key=b"")
    reader.save(using=A)
    scope = cursors.Scope(frozenset(hello(A, reader).models))
    assert feed.read_page(A, reader, (0, ""), VersionVector(), scope) is not None
    for entry in conflicts.describe(A, everything=True):
        with suppress(ConfigurationError), transaction.atomic(using=A):
            conflicts.restore(A, entry["id"])
    parking.describe(A)
    retry_parked(A, "c", settle=True)
