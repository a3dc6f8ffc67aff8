"""Databases that began as copies of one."""

import copy
from datetime import UTC, datetime

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections, models

from handleref_sync.baseline import take_baseline
from handleref_sync.exceptions import ConfigurationError, MalformedBody, NotPermitted, PeerRefused, PeerUnreachable
from handleref_sync.models import Conflict, LocalNode, Peer, Stamp
from handleref_sync.replication.conflicts import describe, restore
from handleref_sync.replication.stamping import stamp
from tests.identityapp.models import Bus, City, Person, Remark, Route, Street
from tests.nodes.network import ALIASES, APPLICATION, Network, state
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")
A, B, C = (ALIASES[name] for name in "abc")
OF_IDENTITIES = [City, Street, Person, Route, Route.buses.through, Route.connections.through]


@pytest.fixture
def net():
    """Node a has rows; b and c have copies of them, primary keys and all, and nothing is stamped."""
    country = Country.objects.using(A).create(code="xx", name="X")
    for number in range(5):
        Airport.objects.using(A).create(country=country, name=f"airport {number}", elevation=number)
    Item.objects.using(A).create(name="one").tags.add(Tag.objects.using(A).create(name="red"))
    for using in (B, C):
        duplicate(using, [Country, Airport, Tag, Item, Item.tags.through])
    return Network("abc", APPLICATION)


def duplicate(using, classes):
    """Insert the rows of node a as they are."""
    for model in classes:
        for row in model._base_manager.using(A).order_by("pk"):
            row = copy.copy(row)
            if isinstance(row, Remark):  # a copy has the content types too; the databases of a test number their own
                kind = ContentType.objects.db_manager(A).get_for_id(row.content_type_id)
                row.content_type_id = ContentType.objects.db_manager(using).get_by_natural_key(*kind.natural_key()).pk
            models.Model.save_base(row, raw=True, force_insert=True, using=using)
    with connections[using].cursor() as cursor:  # a copy has the sequences as well
        for sql in connections[using].ops.sequence_reset_sql(no_style(), classes):
            cursor.execute(sql)


def baseline(net, here="b", there="a", transport=None):
    return take_baseline(ALIASES[here], net.peer(here, there), transport or net.transport(here, there))


def later(using):
    """Change one row at a moment that is after all that was before."""
    Airport.objects.using(using).filter(name="airport 2").update(
        name=f"of {using}", updated=datetime.now(UTC).replace(microsecond=0)
    )


def equal(*names):
    first, *others = (state(ALIASES[name], APPLICATION) for name in names)
    for other in others:
        assert other == first


def test_rows_that_are_the_same_become_the_same_records_and_do_not_cross(net):
    report = baseline(net)
    assert report.same["testapp.airport"] == 5 and not report.differ and report.fetched == 0
    equal("a", "b")
    assert {s.dot.node for s in Stamp.objects.using(B).select_related("node")} == {"a"}
    for here, there in (("b", "a"), ("a", "b")):
        round = net.ok(here, there)
        assert round.pulled == round.pushed == round.conflicts == 0
    airport = Airport.objects.using(B).get(name="airport 3")
    airport.name = "changed"
    airport.save()
    net.ok("b", "a")
    assert Airport.objects.using(A).get(pk=airport.pk).name == "changed" and Airport.objects.using(A).count() == 5


def test_a_row_that_was_changed_since_is_the_same_record_and_a_conflict(net):
    later(B)
    report = baseline(net)
    assert report.differ == {"testapp.airport": 1} and report.same["testapp.airport"] == 4 and report.conflicts == 1
    net.heal([("b", "a")])
    equal("a", "b")
    assert Airport.objects.using(A).count() == 5 and Airport.objects.using(A).filter(name=f"of {B}").exists()
    assert [lost["values"]["name"] for lost in describe(A)] == ["airport 2"]
    restore(A, describe(A)[0]["id"])
    net.heal([("b", "a")])
    assert Airport.objects.using(B).filter(name="airport 2").exists()


def test_rows_that_were_made_since_are_records_of_their_own_though_they_have_one_number(net):
    number = Airport.objects.using(A).latest("pk").pk + 1000
    for using in (A, B):
        Airport.objects.using(using).create(
            pk=number, country=Country.objects.using(using).get(), name=f"new at {using}"
        )
    report = baseline(net)
    assert report.differ == {"testapp.airport": 1} and report.conflicts == 0
    net.heal([("b", "a")])
    equal("a", "b")
    assert Airport.objects.using(A).count() == Airport.objects.using(B).count() == 7


def test_what_only_one_side_has_goes_to_the_other(net):
    Airport.objects.using(A).create(country=Country.objects.using(A).get(), name="only at a")
    Tag.objects.using(B).create(name="only at b")
    baseline(net)
    net.heal([("b", "a")])
    equal("a", "b")
    assert Airport.objects.using(B).filter(name="only at a").exists()
    assert Tag.objects.using(A).filter(name="only at b").exists()


def test_a_deletion_here_since_the_installation_counts(net):
    Airport.objects.using(B).get(name="airport 1").delete(hard=True)
    report = baseline(net)
    net.heal([("b", "a")])
    equal("a", "b")
    assert not Airport.objects.using(A).filter(name="airport 1").exists()
    assert report.conflicts == 1 and describe(A)[0]["values"]["name"] == "airport 1"


def test_a_third_copy_takes_it_from_the_second(net):
    later(B)
    baseline(net)
    net.heal([("b", "a")])
    report = baseline(net, "c", "b")
    assert report.same["testapp.airport"] == 4
    net.heal([("b", "a"), ("c", "b"), ("a", "c")])
    equal("a", "b", "c")
    assert Airport.objects.using(C).count() == 5


def test_every_kind_of_identity_and_reference(net):
    city = City.objects.using(A).create(code="par")
    Street.objects.using(A).create(city=city, name="Rivoli")
    Person.objects.using(A).create(pk=7, name="Anna", home=city)
    bus, route, other = (
        Bus.objects.using(A).create(plate="b", seats=1),
        Route.objects.using(A).create(name="1"),
        Route.objects.using(A).create(name="2"),
    )
    route.buses.add(bus)
    route.connections.add(other)
    Remark.objects.using(A).create(about=route, text="of a route")
    Remark.objects.using(A).create(about=city, text="of a city")
    duplicate(B, [City, Person, Street, Route])
    for using in (A, B):
        City.objects.using(using).update(mayor=7)
    Bus.objects.using(B).create(pk=bus.pk, plate="b", seats=1)
    duplicate(B, [Route.buses.through, Route.connections.through, Remark])
    report = baseline(net)
    assert report.fetched == report.conflicts == report.parked == 0 and not report.differ
    assert state(A, OF_IDENTITIES) == state(B, OF_IDENTITIES)
    assert report.same["identityapp.remark"] == 2
    assert sum(net.ok("b", "a").as_dict()[name] for name in ("pulled", "pushed", "conflicts")) == 0
    City.objects.using(B).filter(code="par").delete()
    net.heal([("b", "a")])
    assert not City.objects.using(A).exists() and not Street.objects.using(A).exists()


def test_a_child_whose_parent_is_another_record_is_not_the_same(net):
    """The rows look alike, column by column, but what they refer to is not one record."""
    for using in (A, B):
        Route.objects.using(using).create(name=f"of {using}")  # both have the number 1
        Route.objects.using(using).get().connections.add(Route.objects.using(using).get())
    report = baseline(net)
    assert "identityapp.route_connections" not in report.same
    net.heal([("b", "a")])
    assert Route.objects.using(A).count() == Route.objects.using(B).count() == 2
    assert state(A, OF_IDENTITIES) == state(B, OF_IDENTITIES)
    for using in (A, B):
        assert all(list(route.connections.all()) == [route] for route in Route.objects.using(using).all())


@pytest.mark.parametrize("calls", (1, 2, 4, 7, 10, 13, 16))
def test_broken_off_it_goes_on_and_ends_the_same(net, settings, calls):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 2}
    later(B)
    Airport.objects.using(A).create(country=Country.objects.using(A).get(), name="only at a")
    Airport.objects.using(B).create(country=Country.objects.using(B).get(), name="only at b")
    transport = net.transport("b", "a")
    inner, left = transport.call, calls

    def cut(action, message):
        nonlocal left
        left -= 1
        if left < 0:
            raise PeerUnreachable("cut")
        return inner(action, message)

    transport.call = cut
    with pytest.raises(PeerUnreachable):
        baseline(net, transport=transport)
    report = net.sync("b", "a")
    assert report.reason == "in-progress" and "sync_init --baseline a" in report.error
    assert net.sync("a", "b").reason == "in-progress"  # it does not answer either
    with pytest.raises(ConfigurationError, match="taking its baseline from a"):
        baseline(net, "b", "c")
    baseline(net)
    net.heal([("b", "a")])
    equal("a", "b")
    assert Airport.objects.using(A).count() == 7 and Conflict.objects.using(A).count() == 1


def test_it_comes_too_late_once_there_are_stamps(net):
    stamp(B)
    with pytest.raises(ConfigurationError, match="are stamped"):
        baseline(net)
    assert LocalNode.objects.using(B).get().baseline == ""


def test_other_fields_are_refused_before_anything_is_united(net):
    transport = net.transport("b", "a")
    inner = transport.call

    def call(action, message):
        answer = inner(action, message)
        return {**answer, "fields": ["name"]} if action == "rows" else answer

    transport.call = call
    with pytest.raises(ConfigurationError, match="has other fields on a"):
        baseline(net, transport=transport)
    assert not Stamp.objects.using(B).exists()


def test_it_needs_the_permission_to_pull(net):
    Peer.objects.using(A).filter(name="b").update(can_pull=False)
    with pytest.raises(NotPermitted):
        baseline(net)


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        ("rows", {"model": "testapp.nothing"}),
        ("rows", {"model": "testapp.country", "below": "x"}),
        ("rows", {"model": "testapp.tag"}),
        ("records", {}),
        ("records", {"records": [["testapp.tag"]]}),
    ],
)
def test_requests_that_make_no_sense_are_refused(net, action, asked):
    transport = net.transport("b", "a")
    message = {}
    transport.call, inner = lambda *call: message.update(call[1]) or inner(*call), transport.call
    net.sync("b", "a", transport=transport, dry_run=True)
    with pytest.raises(PeerRefused) as refused:
        inner(action, {**message, **asked})
    assert refused.value.reason == "malformed"


@pytest.mark.parametrize("rows", [None, [[1]], [["1", "k", b"d"]]])
def test_rows_that_are_none_are_refused(net, rows):
    transport = net.transport("b", "a")
    inner = transport.call
    transport.call = lambda action, message: {
        **inner(action, message),
        **({"rows": rows} if action == "rows" else {}),
    }
    with pytest.raises(MalformedBody):
        baseline(net, transport=transport)
