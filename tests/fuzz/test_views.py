"""The views, as a paired but hostile peer and as a stranger see them: never an error of ours, and nothing written."""

import base64
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client
from django.urls import include, path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handleref_sync import wire
from handleref_sync.models import Invite, Peer
from handleref_sync.transport import auth, pairing
from tests.fuzz import nodes
from tests.fuzz.mutation import NASTY, mutate
from tests.fuzz.test_decoder import PAIR

pytestmark = pytest.mark.django_db(transaction=True, databases=[nodes.A, nodes.B])
urlpatterns = [path("sync/", include("handleref_sync.urls"))]
bounded = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
chance = st.randoms(use_true_random=False)
HEADERS = ("Signature", "Signature-Input", "Content-Digest", "Sync-Recipient", "Content-Type", "Content-Encoding")
GARBAGE = (
    "",
    "?1",
    "sync=()",
    "sync=:AAAA:",
    "sync=:" + "A" * 86 + "==:",
    "((;",
    "a" * 9000,
    "\xff\x00",
    'sync=("@method")',
)


@pytest.fixture
def views(ready, settings):
    settings.ROOT_URLCONF = __name__
    return ready


def me():
    return auth.identity(nodes.B)


def post(action, headers, body):
    """The answer of the view, after all that has to hold whatever was asked."""
    before = nodes.state()
    extra = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    kind = extra.pop("HTTP_CONTENT_TYPE", "")
    answer = Client(raise_request_exception=True).generic("POST", f"/sync/v1/{action}/", body, kind, **extra)
    said = wire.unpack_message(wire.decompress(answer.content, answer["Content-Encoding"], 10**7))
    if answer.status_code != 200:
        assert answer.status_code in nodes.REFUSALS, said
        assert set(said) == {"reason", "message", "hint"} and said["reason"] not in ("internal", "error")
        assert nodes.state() == before
    assert answer["X-Content-Type-Options"] == "nosniff" and answer["Cache-Control"] == "no-store"
    return answer, said


def signed(action, body, identity=None, recipient="a", encoding="gzip", **headers):
    head = {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": encoding, **headers}
    request = auth.Request("POST", f"http://node/sync/v1/{action}/", head)
    auth.sign_request(identity or me(), request, body, recipient)
    return request.headers


def say(action, message):
    body = wire.compress(wire.pack(message))
    return post(action, signed(action, body), body)


def goes_on(ready, random):
    """A good request, now and then: it is answered."""
    if random.random() > 0.3:
        return
    with nodes.undone():
        assert say("hello", ready["hello"])[0].status_code == 200


@pytest.mark.parametrize("action", nodes.ACTIONS)
@bounded
@given(random=chance, times=st.integers(1, 3))
def test_a_signed_message_that_is_spoilt(views, action, random, times):
    with nodes.undone():
        say(action, mutate(random, views[action], times))
    goes_on(views, random)


@bounded
@given(random=chance, data=st.binary(max_size=50))
def test_a_signed_body_that_is_none(views, random, data):
    body = bytearray(wire.compress(wire.pack(views["push"])))
    for _ in range(random.randint(0, 3)):
        body[random.randrange(len(body))] = random.randrange(256)
    bodies = (data, bytes(body), wire.compress(data), wire.compress(wire.pack(random.choice(NASTY))))
    for made in bodies:
        with nodes.undone():
            action = random.choice(nodes.ACTIONS)
            post(action, signed(action, made, encoding=random.choice(("gzip", "gzip", "zstd", "br", "GZIP"))), made)
    goes_on(views, random)


@bounded
@given(random=chance)
def test_a_head_that_is_spoilt(views, random):
    body = wire.compress(wire.pack(views["hello"]))
    headers = signed("hello", body)
    name = random.choice(HEADERS)
    kind = random.choice(("garbage", "delete", "double", "swap", "cut", "flip"))
    value = headers[name]
    if kind == "delete":
        del headers[name]
    elif kind == "double":  # as a server joins a header that comes twice
        headers[name] = f"{value},{random.choice((value, *GARBAGE))}"
    elif kind == "swap":
        headers[name] = headers[random.choice(HEADERS)]
    elif kind == "cut":
        headers[name] = value[: random.randrange(len(value))]
    elif kind == "flip":
        place = random.randrange(len(value))
        headers[name] = value[:place] + chr(random.randrange(1, 256)) + value[place + 1 :]
    else:
        headers[name] = random.choice(GARBAGE)
    with nodes.undone():
        answer, _ = post("hello", headers, body)
        assert answer.status_code in (200, 400, 401)
    goes_on(views, random)


@pytest.mark.parametrize(
    "digest", ["x", "sha-256=:AAAA:", "sha-256=1", "md5=:AAAA:", "sha-256=:AAAA:, sha-512=:AAAA:"]
)
def test_a_digest_that_is_signed_and_none(views, digest):
    body = wire.compress(wire.pack(views["hello"]))
    covered = " ".join(f'"{name}"' for name in auth.REQUEST_COVERS)
    parameters = f'({covered});created={int(auth.now())};keyid="b";alg="ed25519";nonce="n";tag="handleref-sync"'
    lines = {
        "@method": "POST",
        "@path": "/sync/v1/hello/",
        "content-type": auth.CONTENT_TYPE,
        "content-encoding": "gzip",
        "content-digest": digest,
        "sync-recipient": "a",
        "@signature-params": parameters,
    }
    proof = me().private_key.sign("\n".join(f'"{name}": {value}' for name, value in lines.items()).encode())
    headers = {
        "Content-Type": auth.CONTENT_TYPE,
        "Content-Encoding": "gzip",
        "Content-Digest": digest,
        "Sync-Recipient": "a",
        "Signature-Input": f"sync={parameters}",
        "Signature": f"sync=:{base64.b64encode(proof).decode()}:",
    }
    answer, said = post("hello", headers, body)
    assert (answer.status_code, said["reason"]) == (401, "bad-signature")


@bounded
@given(random=chance, times=st.integers(0, 3))
def test_a_stranger_who_wants_to_be_paired(views, random, times):
    key = Ed25519PrivateKey.generate()
    fields = {**PAIR, "public_key": key.public_key().public_bytes_raw()}
    message = mutate(random, fields, times)
    body = wire.compress(wire.pack(message))
    before = list(Peer.objects.using(nodes.A).values())
    headers = signed("pair", body, auth.Identity("b", key), "00" * 16)
    answer, said = post("pair", headers, body)
    assert answer.status_code in (400, 401, 403, 413, 426) and said["reason"] != "internal"
    assert list(Peer.objects.using(nodes.A).values()) == before


@bounded
@given(random=chance, times=st.integers(1, 2))
def test_the_holder_of_a_token_who_lies(views, random, times):
    with nodes.undone():
        token = pairing.Token.parse(pairing.invite(nodes.A, "z", url="https://a.example/sync"))
        key = Ed25519PrivateKey.generate()
        fields = {
            "invite": token.invite,
            "name": "z",
            "public_key": key.public_key().public_bytes_raw(),
            "url": "",
            "protocol": 1,
            "nonce": secrets.token_bytes(16),
        }
        fields = mutate(random, fields, times)
        body = wire.compress(wire.pack({**fields, "proof": pairing._proof(token.key, "join", fields)}))
        headers = signed("pair", body, auth.Identity("z", key), token.fingerprint.hex())
        answer, _ = post("pair", headers, body)
        used = Invite.objects.using(nodes.A).exclude(used_at=None).exists()
        assert used == (answer.status_code == 200)


def test_a_protocol_that_cannot_be_written_out(views):
    key = Ed25519PrivateKey.generate()
    message = {**PAIR, "public_key": key.public_key().public_bytes_raw(), "protocol": 10**5000}
    body = wire.compress(wire.pack(message))
    answer, said = post("pair", signed("pair", body, auth.Identity("b", key), "00" * 16), body)
    assert (answer.status_code, said["reason"]) == (426, "protocol-version")
