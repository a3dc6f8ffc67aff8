"""What may not be said in a comparison: refused with a reason, whoever says it."""

import os
import stat
import time

import pytest

from handleref_sync import exceptions
from handleref_sync.core import ranges
from handleref_sync.exceptions import ConfigurationError, CursorMismatch, MalformedBody, PeerRefused
from handleref_sync.models import Peer
from handleref_sync.replication import shelf, verifying
from handleref_sync.replication.hello import hello
from handleref_sync.replication.responder import Responder
from tests.nodes.behind import compare, unseen
from tests.nodes.network import ALIASES, Network, state
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
A, B, _ = ALIASES.values()
TAG = "testapp.tag"


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Network("ab")
    Tag.objects.using(A).bulk_create(Tag(name=str(number)) for number in range(300))
    made.ok("b", "a")
    return made


def ask(net, step, **more):
    """What b asks a, whatever it is."""
    message = {**hello(B, net.peer("b", "a")).to_message(), "step": step, **more}
    return Responder(A, net.peer("a", "b")).handle("verify", message)


@pytest.mark.parametrize(
    ("step", "more"),
    [
        (None, {}),
        ("nothing", {}),
        (["sums"], {}),
        ("sums", {"token": 7}),
        ("sums", {"token": "x" * 41}),
        ("sums", {"seconds": "long"}),
        ("sums", {"seconds": -1}),
        ("sums", {"seconds": float("nan")}),
        ("ranges", {}),
        ("ranges", {"ranges": {}, "token": 7}),
        ("items", {}),
        ("items", {"ranges": 7}),
        ("items", {"ranges": [7]}),
        ("items", {"ranges": [[TAG]]}),
        ("items", {"ranges": [[TAG, "a"]]}),
        ("items", {"ranges": [[TAG, [1]]]}),
        ("items", {"ranges": [[TAG, ["b", "a"]]]}),
        ("items", {"ranges": [[TAG, ["a", "ab"]]]}),
        ("items", {"ranges": [[TAG, ["x"]]]}),
        ("items", {"ranges": [[TAG, ["a" * 5]]]}),
        ("items", {"ranges": [[7, ["a"]]]}),
        ("items", {"ranges": [["auth.group", ["a"]]]}),
        ("items", {"ranges": [[TAG, ["a"]], [TAG, ["b"]]]}),
        ("items", {"ranges": [[TAG, ["a"]], ["testapp.item", ["b"]]]}),
        ("items", {"ranges": [[TAG, [f"{number:04x}" for number in range(4097)]]]}),
        ("items", {"ranges": [[TAG, ["a"]]], "after": -1}),
        ("items", {"ranges": [[TAG, ["a"]]], "after": "x"}),
        ("records", {}),
        ("records", {"records": [[TAG]]}),
        ("records", {"records": [[TAG, 7]]}),
        ("records", {"records": [[TAG, "k"]] * 20_001}),
        ("unseen", {"after": 7}),
    ],
)
def test_questions_that_make_no_sense(net, step, more):
    before = state(A)
    with pytest.raises(MalformedBody) as refused:
        ask(net, step, **more)
    assert refused.value.hint and "\n" not in refused.value.sentence() and state(A) == before


def test_a_range_that_can_not_be_split(net):
    token = ask(net, "sums")["token"]
    assert ask(net, "ranges", token=token, ranges=[[TAG, [""]]])["sums"]
    with pytest.raises(MalformedBody):
        ask(net, "ranges", token=token, ranges=[[TAG, ["0" * ranges.DEPTH]]])


def test_who_may_not_pull_may_not_compare(net):
    Peer.objects.using(A).update(can_pull=False)
    for step in ("sums", "ranges", "items", "records", "unseen", "end"):
        with pytest.raises(exceptions.NotPermitted):
            ask(net, step)
    with pytest.raises(PeerRefused) as refused:
        compare(net)
    assert refused.value.reason == "not-permitted"


def test_who_may_not_push_brings_no_records(net):
    Peer.objects.using(A).update(can_push=False)
    with pytest.raises(exceptions.NotPermitted):
        Responder(A, net.peer("a", "b")).handle("push", {"records": True})


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("sums", {"token": None}),
        ("sums", {"hello": None}),
        ("sums", {"models": {}}),
        ("sums", {"models": 7}),
        ("sums", {"models": {TAG: [1]}}),
        ("ranges", {"sums": None}),
        ("ranges", {"sums": []}),
        ("ranges", {"sums": [[]]}),
        ("ranges", {"sums": [[[1, b"x" * 16]]]}),
        ("ranges", {"sums": [[[-1, b"x" * 16] * 16]]}),
        ("ranges", {"sums": [[[1, b"x"] * 16]]}),
        ("ranges", {"sums": [[[1, "x" * 16] * 16]]}),
        ("items", {"items": None}),
        ("items", {"items": {"auth.group": []}}),
        ("items", {"items": {TAG: [[1, b"x"]]}}),
        ("items", {"items": {TAG: [["k", "x"]]}}),
        ("items", {"items": {TAG: [["k", b"x"]] * 20_001}}),
        ("items", {"after": "x"}),
        ("records", {"seen": None}),
        ("records", {"seen": []}),
        ("records", {"seen": [7]}),
        ("records", {"seen": [["strange", "a", 1, b"", b"", False]]}),
        ("records", {"seen": [["compared", "a", -1, b"", b"", False]]}),
        ("records", {"seen": [["compared", "a", 1, "", b"", False]]}),
        ("records", {"hello": 7}),
        ("unseen", {"found": None}),
        ("unseen", {"found": {TAG: [1]}}),
        ("unseen", {"found": {TAG: [1, 2, "x"]}}),
        ("unseen", {"found": {"auth.group": [1, 2, 3]}}),
        ("unseen", {"after": TAG}),
    ],
)
def test_answers_that_make_no_sense(net, step, change):
    with unseen(B):
        Tag.objects.using(B).filter(name="7").update(name="wrong")
    transport, asked = net.transport("b", "a"), []
    inner = transport.call

    def call(action, message):
        answer = inner(action, message)
        asked.append(message.get("step"))
        if message.get("step") != step or (change.get("models", None) is not None and answer["models"] is None):
            return answer
        return {**answer, **change}

    transport.call = call
    before = state(B)
    with pytest.raises(exceptions.ProtocolError):
        compare(net, transport=transport)
    assert asked[-1] == step and state(B) == before


def test_a_survey_that_is_lost_and_one_of_another(net):
    token = ask(net, "sums")["token"]
    with pytest.raises(CursorMismatch):
        ask(net, "ranges", token="another", ranges=[[TAG, [""]]])
    assert ask(net, "sums", token=token)["models"]
    ask(net, "end")
    with pytest.raises(CursorMismatch) as lost:
        ask(net, "ranges", token=token, ranges=[[TAG, [""]]])
    assert "several hosts" in lost.value.hint


def test_surveys_are_kept_for_this_user_alone_and_not_for_ever(net, tmp_path):
    for _ in range(3):
        token = ask(net, "sums")["token"]
    (folder,) = tmp_path.iterdir()
    (kept,) = folder.iterdir()  # one for each peer
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_bytes(b"rubbish")
    with pytest.raises(CursorMismatch):
        ask(net, "sums", token=token)
    old = folder / "of-another"
    old.write_bytes(b"")
    os.utime(old, (time.time() - 2 * shelf.OLD,) * 2)
    ask(net, "sums")
    assert not old.exists()
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="not its own"):
        ask(net, "sums")
    folder.chmod(0o700)


def test_a_survey_is_made_in_steps(net, monkeypatch):
    monkeypatch.setattr("handleref_sync.replication.survey.BATCH", 100)
    first = ask(net, "sums", seconds=0)
    assert first["models"] is None and first["done"] < first["of"]
    second = ask(net, "sums", token=first["token"], seconds=0)
    assert second["done"] > first["done"]
    whole = ask(net, "sums", token=first["token"])
    assert verifying.roots(whole, frozenset(whole["models"]))[TAG].sum.items == 300
    assert compare(net).clean
