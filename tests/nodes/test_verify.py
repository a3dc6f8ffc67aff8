"""Two nodes compare what they have: each kind of difference is found, and mended with nothing lost."""

import pytest

from handleref_sync.models import Capture, Conflict, LocalNode, Parked, Peer, Stamp
from handleref_sync.replication.conflicts import describe
from tests.nodes.behind import AIRPORT, TAG, airport, alike, compare, forget, kinds, mended, pk_text, unseen
from tests.nodes.network import ALIASES, Network, sequence, tick
from tests.testapp.models import Airport, Country, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, C = ALIASES.values()


@pytest.fixture
def net():
    return alike()


def test_nodes_that_are_equal(net):
    def books():
        return [(sequence(name), Capture.objects.using(using).count()) for name, using in (("a", A), ("b", B))]

    before = books()
    report = compare(net)
    assert report.clean and not report.notes
    found = report.models[AIRPORT]
    assert (found.compared, found.equal, found.differences) == (3, 3, [])
    assert before == books()
    assert compare(net, repair=True).clean and mended(net).kept == 0


@pytest.mark.parametrize("where", [A, B])
def test_a_record_that_one_side_lacks(net, where):
    for row in (airport(where), Tag.objects.using(where).get(name="blue")):
        forget(where, row)
    net.ok("b", "a")
    kind = "only-here" if where == A else "only-there"
    report = compare(net)
    assert kinds(report) == [(AIRPORT, kind), (TAG, kind)]
    assert (report.models[AIRPORT].compared, report.models[AIRPORT].equal) == (3, 2)
    transport, places = net.transport("b", "a"), []
    inner = transport.call

    def call(action, message):
        before = place(A)
        answer = inner(action, message)
        if message.get("records"):
            places.append((action, before == place(A)))
        return answer

    transport.call = call
    report = compare(net, transport=transport, repair=True)
    assert report.clean and (report.fetched, report.pushed) == ((0, 2) if where == A else (2, 0))
    assert ("push", True) in places if where == A else ("records", True) in places
    mended(net)
    assert airport(where).elevation == 1 and Tag.objects.using(where).filter(name="blue").exists()


def place(using):
    return list(Peer.objects.using(using).values_list("pull_sequence", "pull_token", "pull_scope"))


def older(using, change):
    """Set a record back to what it was before `change`, which has reached all, stamp and row."""
    row = airport(using)
    stamp = Stamp.objects.using(using).filter(model__label=AIRPORT, pk_text=str(row.pk))
    kept = stamp.values("node", "counter", "clock", "timestamp").get()
    values = Airport.objects.using(using).filter(pk=row.pk).values().get()
    change()
    with unseen(using):
        Airport.objects.using(using).filter(pk=row.pk).update(**values)
        stamp.update(**kept)


@pytest.mark.parametrize("where", [A, B])
def test_a_record_of_which_one_side_has_an_older_version(net, where):
    def change():
        Airport.objects.using(A).filter(name="airport 1").update(elevation=7)
        net.heal([("b", "a")])

    older(where, change)
    assert kinds(compare(net)) == [(AIRPORT, "version")]
    mended(net)
    assert airport(A).elevation == airport(B).elevation == 7
    assert not Conflict.objects.using(A).exists()


def test_versions_that_do_not_know_each_other_meet_as_a_conflict(net):
    Airport.objects.using(B).filter(name="airport 2").update(elevation=5)
    net.heal([("b", "a")])
    number = Stamp.objects.using(B).get(model__label=AIRPORT, pk_text=str(airport(B, 2).pk))
    with unseen(B):
        Airport.objects.using(B).filter(name="airport 1").update(elevation=8)
        Stamp.objects.using(B).filter(model__label=AIRPORT, pk_text=str(airport(B).pk)).update(
            node=number.node, counter=number.counter, clock=None, timestamp=number.timestamp
        )
    assert kinds(compare(net)) == [(AIRPORT, "version")]
    assert mended(net).conflicts == 1
    assert airport(A).elevation == 8 and [lost["values"]["elevation"] for lost in describe(A)] == [1]


@pytest.mark.parametrize("where", [A, B])
def test_a_deletion_that_one_side_missed(net, where):
    row = Tag.objects.using(where).get(name="blue")
    stamp = Stamp.objects.using(where).get(model__label=TAG, pk_text=pk_text(where, row))
    kept = {name: getattr(stamp, name) for name in ("node_id", "counter", "clock", "timestamp", "deleted")}
    Tag.objects.using(A).get(name="blue").delete()
    net.heal([("b", "a")])
    with unseen(where):
        Tag.objects.using(where).create(pk=row.pk, name="blue")
        Stamp.objects.using(where).filter(pk=stamp.pk).update(**kept)
    report = compare(net)
    assert kinds(report) == [(TAG, "version")]
    assert ("deleted" in str(report.differences[0].here)) is (where == A)
    mended(net)
    assert not Tag.objects.using(where).filter(name="blue").exists()


def test_one_dot_that_is_a_deletion_here_and_a_row_there(net):
    """As when a copied database and its original went on under one name."""
    tag = Tag.objects.using(B).get(name="blue")
    with unseen(B):
        Stamp.objects.using(B).filter(model__label=TAG, pk_text=pk_text(B, tag)).update(deleted=True)
        Tag.objects.using(B).filter(pk=tag.pk)._raw_delete(B)
    assert kinds(compare(net)) == [(TAG, "content")]
    mended(net)
    assert not Tag.objects.using(A).filter(name="blue").exists()
    assert [lost["values"]["name"] for lost in describe(A)] == ["blue"]


def test_a_clock_that_is_behind(net):
    for using in (A, B):
        Airport.objects.using(using).filter(name="airport 1").update(elevation=50)
        tick()
    net.heal([("b", "a")])
    stamp = Stamp.objects.using(B).filter(model__label=AIRPORT, pk_text=str(airport(B).pk))
    assert stamp.get().clock
    stamp.update(clock=None)
    assert kinds(compare(net)) == [(AIRPORT, "clock")]
    mended(net)


def test_what_a_sync_will_bring_is_no_difference(net):
    Airport.objects.using(B).filter(name="airport 0").update(elevation=50)
    Tag.objects.using(A).create(name="of a")
    Tag.objects.using(B).create(name="of b")
    report = compare(net)  # nothing of it is stamped
    assert report.clean and report.models[AIRPORT].not_compared == report.models[TAG].not_compared == {"pending": 1}
    assert Capture.objects.using(B).count() == 2
    net.ok("a", "b", push=False)
    report = compare(net)
    assert report.clean and report.models[TAG].not_compared == {"due": 1} and report.models[AIRPORT].equal == 3
    mended(net)


def test_what_is_parked_is_not_compared(net):
    Country.objects.using(A).create(code="yy", name="of a")
    Country.objects.using(B).create(code="yy", name="of b")
    net.sync("b", "a")
    net.sync("b", "a")
    assert Parked.objects.using(B).exists()
    report = compare(net)
    assert report.clean and report.models["testapp.country"].not_compared["parked"]


def test_many_records_in_small_pages(net, settings, monkeypatch):
    monkeypatch.setattr("handleref_sync.core.ranges.FEW", 2)
    monkeypatch.setattr("handleref_sync.replication.survey.BATCH", 70)
    monkeypatch.setattr("handleref_sync.verify.comparing.MAX_RANGES", 5)
    Tag.objects.using(A).bulk_create(Tag(name=f"tag {n:04}") for n in range(500))
    net.heal([("b", "a")])
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 7}
    wrong = Tag.objects.using(B).filter(name__endswith="7").values_list("pk", flat=True)
    keys = sorted(map(str, wrong))
    with unseen(B):
        Tag.objects.using(B).filter(name__endswith="7").update(name="wrong")
    report = compare(net)
    assert sorted(difference.key for difference in report.differences) == keys and len(keys) == 50
    assert report.models[TAG].equal == 452
    mended(net)
    assert Conflict.objects.using(A).count() == 50


def test_only_what_the_two_pass_on_to_each_other_is_compared():
    net = Network("abc")
    Tag.objects.using(C).create(name="of c")
    net.ok("a", "c")
    Peer.objects.using(B).filter(name="a").update(relay=False)
    Tag.objects.using(A).create(name="of a")
    net.ok("b", "a")
    assert Tag.objects.using(B).count() == 1
    for here, there in (("b", "a"), ("a", "b")):
        report = compare(net, here, there)
        assert report.clean and report.models[TAG].compared == 1
    assert compare(net, "a", "b").models[TAG].not_compared == {"outside": 1}


def test_models_that_only_one_side_has(net, settings):
    from handleref_sync import registry

    with unseen(B):
        Tag.objects.using(B).filter(name="blue").update(name="wrong")
    transport = net.transport("b", "a")
    inner = transport.call

    def call(action, message):
        message = {**message, "models": [label for label in message["models"] if label != TAG]}
        answer = inner(action, message)
        if "hello" in answer:
            hello = answer["hello"]
            answer = {**answer, "hello": {**hello, "models": [m for m in hello["models"] if m != TAG]}}
        return answer

    transport.call = call
    report = compare(net, transport=transport)
    assert report.clean and TAG not in report.models and AIRPORT in report.models
    assert TAG in registry.replicated(B) and LocalNode.objects.using(B).exists()


@pytest.mark.parametrize("where", [A, B])
def test_children_and_their_parent_that_one_side_lacks(net, where):
    country = Country.objects.using(where).get()
    for row in (*Airport.objects.using(where).order_by("name"), country):
        forget(where, row)
    report = compare(net)
    assert len(report.differences) == 4
    mended(net)
    assert (
        Airport.objects.using(where).filter(country__code="xx").count() == 3
        and not Parked.objects.using(where).exists()
    )


def test_applications_that_go_on_writing_and_syncing_meanwhile(net):
    """What looks different for a moment is no difference."""
    transport = net.transport("b", "a")
    inner, turn = transport.call, iter(range(100))

    def call(action, message):
        number = next(turn)
        for using in (A, B):
            Airport.objects.using(using).filter(name="airport 1").update(elevation=1000 * number + (using == B))
            Tag.objects.using(using).create(name=f"{using} {number}")
        answer = inner(action, message)
        if number % 2:
            net.sync("a", "b")
        return answer

    transport.call = call
    report = compare(net, transport=transport)
    assert report.clean and next(turn) > 4, report.as_dict()
