"""What a peer may not say: each gets its own error with what to do, and nothing is changed."""

import pytest

from handleref_sync import exceptions
from handleref_sync.models import Peer
from handleref_sync.replication.hello import hello
from handleref_sync.replication.page import from_message, to_message
from handleref_sync.replication.responder import Responder
from tests.nodes.network import ALIASES, Network, state
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, _ = ALIASES.values()


@pytest.fixture
def net():
    made = Network("ab")
    Tag.objects.using(A).create(name="t")
    made.ok("b", "a")
    return made


@pytest.fixture
def said(net):
    """What b would say to a."""
    return hello(B, net.peer("b", "a")).to_message()


def refused(net, action, message):
    before = state(A)
    with pytest.raises(exceptions.SyncError) as caught:
        Responder(A, net.peer("a", "b")).handle(action, message)
    assert state(A) == before
    assert caught.value.hint and "\n" not in caught.value.sentence()
    return caught.value


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"protocols": [99]}, exceptions.VersionMismatch),
        ({"protocols": None}, exceptions.VersionMismatch),
        ({"node": "a"}, exceptions.SameNode),
        ({"node": "c"}, exceptions.UnknownPeer),
        ({"clock": 0}, exceptions.ClockSkew),
        ({"clock": 10**18}, exceptions.ClockSkew),
        ({"clock": "noon"}, exceptions.MalformedBody),
        ({"vector": [1]}, exceptions.MalformedBody),
        ({"vector": {"a": -1}}, exceptions.MalformedBody),
        ({"cursor": 7}, exceptions.MalformedBody),
        ({"seen": {"a": "x"}}, exceptions.MalformedBody),
        ({"models": None}, exceptions.MalformedBody),
    ],
)
def test_a_hello_that_is_wrong(net, said, change, error):
    for action in ("hello", "pull"):
        assert type(refused(net, action, {**said, **change})) is error


def test_an_unknown_action(net, said):
    assert refused(net, "drop", said).reason == "malformed"


def page_of(net):
    """A page as b would push it."""
    from handleref_sync.core.version_vector import VersionVector
    from handleref_sync.replication import cursors, feed

    Tag.objects.using(B).create(name="of b")
    mine = hello(B, net.peer("b", "a"))
    scope = cursors.Scope(mine.models)
    return {**to_message(feed.read_page(B, net.peer("b", "a"), (0, ""), VersionVector(), scope)), "after": [0, ""]}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"hello": None}, exceptions.MalformedBody),
        ({"rows": [[0]]}, exceptions.MalformedBody),
        ({"rows": [[99, "k", 0, 1, None, 0, []]]}, exceptions.MalformedBody),
        ({"rows": [[0, "k", 0, 0, None, 0, None]]}, exceptions.MalformedBody),
        ({"rows": [[0, "k", 0, 5, [[0, 4]], 0, None]]}, exceptions.MalformedBody),
        ({"rows": [[0, "k", 0, 5, None, -1, None]]}, exceptions.MalformedBody),
        ({"rows": [[0, "k", 0, 5, None, 0, [1, 2, 3, 4, 5, 6, 7, 8, 9]]]}, exceptions.MalformedBody),
        ({"rows": [[0, 7, 0, 5, None, 0, None]]}, exceptions.MalformedBody),
        ({"nodes": [1]}, exceptions.MalformedBody),
        ({"cursor": None}, exceptions.MalformedBody),
        ({"after": [3, "elsewhere"]}, exceptions.CursorMismatch),
    ],
)
def test_a_pushed_page_that_is_wrong(net, said, change, error):
    assert type(refused(net, "push", {**page_of(net), "hello": said, **change})) is error


def test_a_page_with_too_many_rows_in_either_direction(net, said, settings):
    message = page_of(net)
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MAX_ROWS": 1}
    assert type(refused(net, "push", {**message, "hello": said})) is exceptions.TooLarge
    with pytest.raises(exceptions.TooLarge):
        from_message(message, 1)


def test_writes_that_claim_to_be_ours_prove_a_restore(net, said):
    message = page_of(net)
    message["nodes"] = ["a"]
    message["rows"] = [[0, "k", 0, 10**6, None, 0, None]]
    assert type(refused(net, "push", {**message, "hello": said})) is exceptions.DotReused


def test_a_peer_that_answers_garbage_is_a_sentence_in_the_report(net):
    Tag.objects.using(A).create(name="more")
    for action, answer in (("hello", {}), ("pull", {"rows": 1}), ("pull", {"protocols": [1]})):
        transport = net.transport("b", "a")
        inner = transport.call
        transport.call = lambda a, m, inner=inner, action=action, answer=answer: (
            answer if a == action else inner(a, m)
        )
        report = net.sync("b", "a", transport=transport)
        assert report.error and report.reason in ("malformed", "protocol-version")
        assert Peer.objects.using(B).get(name="a").last_error == report.error
    assert net.ok("b", "a").pulled == 1
