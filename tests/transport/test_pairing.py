"""Pairing over HTTP on loopback: a token is carried by hand, and never travels."""

import base64
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from handleref_sync import exceptions, wire
from handleref_sync.models import Invite, LocalNode, Nonce, Peer
from handleref_sync.transport import auth, pairing, server
from handleref_sync.transport.caller import Caller
from handleref_sync.transport.client import HttpTransport
from handleref_sync.transport.pairing import Token, invite, join

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])


@pytest.fixture
def token(nodes, site, settings):
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "URL": "https://a.example/sync"}
    return invite("default", "b")


def rename(name):
    LocalNode.objects.using("second").update(name=name)


def new_key():
    key = Ed25519PrivateKey.generate()
    LocalNode.objects.using("second").update(private_key=key.private_bytes_raw())
    return key


def peers(using):
    return {p.name: (p.url, bytes(p.public_key)) for p in Peer.objects.using(using)}


class TestJoin:
    def test_both_know_each_other_then(self, nodes, site, token, responder):
        a, b = nodes
        peer = join("second", site.url + "/", token)
        assert (peer.name, peer.url, peer._state.db) == ("a", site.url, "second")
        assert peers("second") == {"a": (site.url, a.public_key)}
        assert peers("default") == {"b": ("https://a.example/sync", b.public_key)}  # one process has one URL
        assert HttpTransport("second", peer).call("hello", {"n": 1})["echo"] == {"n": 1}

    def test_the_secret_is_neither_sent_nor_kept(self, site, token, monkeypatch):
        seen = []
        opened = server.opened
        monkeypatch.setattr(server, "opened", lambda *args: seen.append(opened(*args)) or seen[-1])
        join("second", site.url, token)
        secret = Token.parse(token).secret
        kept = Invite.objects.using("default").get()
        for text in (repr(seen), kept.token_hash):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text
            assert base64.urlsafe_b64encode(secret).decode()[:20] not in text
        assert kept.token_hash not in repr(seen)
        assert Token.parse(token).key not in seen[0].values()
        assert kept.used_at is not None

    def test_a_peer_is_made_anew_by_a_new_invite(self, nodes, site, token):
        join("second", site.url, token)
        new_key()
        second = invite("default", "b")
        join("second", site.url, second)
        assert peers("default")["b"][1] == auth.identity("second").public_key != nodes[1].public_key

    def test_blanks_and_line_ends_in_a_token_do_not_matter(self, site, token):
        assert join("second", site.url, f"  {token[:30]}\n {token[30:]}\n").name == "a"


class TestOnce:
    def test_again_with_the_same_key(self, site, token):
        first = join("second", site.url, token)
        used = Invite.objects.using("default").get().used_at
        Peer.objects.using("second").all().delete()  # as if the answer had been lost
        assert join("second", site.url, token).name == first.name
        assert Invite.objects.using("default").get().used_at == used

    def test_an_answer_that_is_lost_on_the_way(self, site, token):
        def lose(environ, start_response, app):
            app(environ, lambda *args: None)
            site.around = None
            start_response("502 Bad", [("Content-Type", "text/html"), ("Content-Length", "0")])
            return []

        site.around = lose
        assert join("second", site.url, token, sleep=lambda s: None).name == "a"
        assert len(site.requests) == 2

    def test_again_with_another_key(self, nodes, site, token):
        join("second", site.url, token)
        new_key()
        with pytest.raises(exceptions.PairingError, match="has been used"):
            join("second", site.url, token)
        assert peers("default")["b"][1] == nodes[1].public_key

    def test_again_when_the_peer_has_been_removed(self, site, token):
        join("second", site.url, token)
        Peer.objects.using("default").all().delete()
        with pytest.raises(exceptions.PairingError, match="has been used"):
            join("second", site.url, token)
        assert peers("default") == {}

    def test_the_same_bytes_again(self, nodes, site, token, monkeypatch):
        monkeypatch.setattr(pairing.auth, "sign_request", keep := Keep(auth.sign_request))
        join("second", site.url, token)
        Peer.objects.using("default").update(url="https://changed.example")
        keep.again = True
        with pytest.raises(exceptions.PeerRefused) as caught:
            keep.replay(site.url)
        assert caught.value.reason == "replayed"
        assert peers("default")["b"][0] == "https://changed.example"

    def test_expired(self, nodes, site, token, settings):
        late = invite("default", "b", ttl=0)
        with pytest.raises(exceptions.PairingError, match="has expired") as caught:
            join("second", site.url, late)
        assert "sync_invite" in caught.value.hint
        assert peers("default") == peers("second") == {}

    def test_expired_after_it_was_used(self, site, token):
        join("second", site.url, token)
        Invite.objects.using("default").update(expires=timezone.now())
        with pytest.raises(exceptions.PairingError, match="has expired"):
            join("second", site.url, token)

    def test_two_with_one_token_at_the_same_time(self, nodes, site, token, monkeypatch):
        """The loser has passed all checks when the winner marks the invite."""
        check = auth.check_nonce

        def meanwhile(result):
            Invite.objects.using("default").update(used_at=timezone.now())
            check(result)

        monkeypatch.setattr(auth, "check_nonce", meanwhile)
        with pytest.raises(exceptions.PairingError, match="has been used"):
            join("second", site.url, token)
        assert peers("default") == {}


class Keep:
    """Keeps the last request that was signed."""

    def __init__(self, sign):
        self.sign = sign

    def __call__(self, me, request, body, recipient):
        self.sign(me, request, body, recipient)
        self.headers, self.body = dict(request.headers), body

    def replay(self, url):
        with Caller("a", url).post("pair", self.body, "gzip", lambda r: r.headers.update(self.headers)) as answer:
            raise pairing.refused("a", answer.head, answer.read(65536), signed=True)


class TestWrong:
    def refusal(self, site, token, match, kind=exceptions.PairingError):
        with pytest.raises(kind, match=match) as caught:
            join("second", site.url, token, sleep=lambda s: None)
        assert peers("default") == peers("second") == {}
        assert Nonce.objects.using("default").exclude(peer_name=pairing.NOBODY).count() == 0
        return caught.value

    @pytest.mark.parametrize("text", ["", "A", "hello", "ä", "AQ==", "=", "A" * 54, "A" * 10_000])
    def test_garbled_token(self, site, token, text):
        self.refusal(site, text, "not a whole token")
        assert site.requests == []

    def test_each_single_mistake_in_a_token_is_noticed_here(self, site, token):
        for place in range(len(token)):
            near = chr(ord(token[place]) ^ 1)  # in the last place only a bit that base64 doesn't use
            others = [
                token[:place] + other + token[place + 1 :] for other in ("A", "_", near) if other != token[place]
            ]
            for text in (*others, token[:place]):
                with pytest.raises(exceptions.PairingError, match="not a whole token"):
                    Token.parse(text)

    def test_wrong_secret(self, site, token):
        real = Token.parse(token)
        self.refusal(site, str(Token(real.invite, b"\x00" * 16, real.fingerprint)), "did not print this token")
        assert Invite.objects.using("default").get().used_at is None

    def test_invite_that_does_not_exist(self, site, token):
        real = Token.parse(token)
        for number in (real.invite + 1, 2**63 - 1):
            self.refusal(site, str(Token(number, real.secret, real.fingerprint)), "did not print this token")
        self.refusal(site, str(Token(0, real.secret, real.fingerprint)), "no invite", exceptions.PeerRefused)

    def test_many_wrong_tokens_are_not_even_looked_at(self, site, token, monkeypatch):
        monkeypatch.setattr(pairing, "WRONG_TRIES", 3)
        real = Token.parse(token)
        for _ in range(3):
            self.refusal(site, str(Token(real.invite, b"\x00" * 16, real.fingerprint)), "did not print this token")
        self.refusal(site, token, "Too many wrong tokens came to a just now")
        Nonce.objects.using("default").update(created=timezone.now() - timedelta(minutes=2))
        join("second", site.url, token)

    def test_wrong_name(self, site, token):
        rename("c")
        error = self.refusal(site, token, "made for b, not for c")
        assert "sync_invite c on a" in error.hint
        assert Invite.objects.using("default").get().used_at is None

    def test_same_name(self, site, token):
        rename("a")
        error = self.refusal(site, token, "Both nodes bear the ID 'a'", exceptions.PeerRefused)
        assert error.reason == "same-node"

    def test_the_inviter_has_another_key_than_the_token_says(self, site, token):
        LocalNode.objects.using("default").update(private_key=Ed25519PrivateKey.generate().private_bytes_raw())
        self.refusal(site, token, "signed for", exceptions.PeerRefused)

    def test_somebody_in_between_has_another_key(self, nodes, site, token, monkeypatch):
        """Even one who can answer with a true proof."""
        false = auth.Identity("a", Ed25519PrivateKey.generate())
        monkeypatch.setattr(server.auth, "identity", lambda using: false if using == "default" else nodes[1])
        monkeypatch.setattr(auth, "check_recipient", lambda *args: None)
        with pytest.raises(exceptions.PairingError, match="not the one in the token"):
            join("second", site.url, token)
        assert peers("second") == {}

    def test_the_answer_is_signed_by_another_key(self, nodes, site, token, monkeypatch):
        sign = auth.sign_response
        false = auth.Identity("a", Ed25519PrivateKey.generate())
        monkeypatch.setattr(auth, "sign_response", lambda me, *rest: sign(false, *rest))
        with pytest.raises(exceptions.PairingError, match="not signed by the node"):
            join("second", site.url, token)
        assert peers("second") == {}

    def test_the_answer_proves_nothing(self, nodes, site, token, monkeypatch):
        accept = pairing.accept
        monkeypatch.setattr(pairing, "accept", lambda *args: {**accept(*args), "proof": b"\x00" * 32})
        with pytest.raises(exceptions.PairingError, match="does not know the token"):
            join("second", site.url, token)
        assert peers("second") == {}

    @pytest.mark.parametrize("field", ["name", "url", "public_key", "nonce", "protocol"])
    def test_each_field_is_proved(self, nodes, site, token, monkeypatch, field):
        """Somebody in between who signs with a key of its own cannot change a thing."""
        change = {"name": "c", "url": "https://evil.example", "nonce": b"", "protocol": 1, "public_key": b""}
        key = Ed25519PrivateKey.generate()
        evil = auth.Identity("c" if field == "name" else "b", key)
        ticket = Token.parse(token)
        fields = {
            "invite": ticket.invite,
            "name": "b",
            "public_key": nodes[1].public_key,
            "url": "",
            "protocol": 2 if field == "protocol" else 1,
            "nonce": b"n",
        }
        proof = pairing._proof(ticket.key, "join", fields)
        body = wire.compress(
            wire.pack({**fields, field: change[field], "public_key": evil.public_key, "proof": proof})
        )
        sign = lambda r: auth.sign_request(evil, r, body, ticket.fingerprint.hex())  # noqa: E731
        with Caller("a", site.url).post("pair", body, "gzip", sign) as answer:
            error = pairing.refused("a", answer.head, answer.read(65536), signed=True)
        assert (error.reason, "did not print" in str(error)) == ("pairing", True)
        assert peers("default") == {}

    @pytest.mark.parametrize(
        "change",
        [
            {"name": None},
            {"name": "B B"},
            {"name": "b\n"},
            {"url": "javascript:x"},
            {"url": "http://" + "x" * 500},
            {"url": "http://a\x00b"},
            {"url": "b.example/sync/"},
            {"public_key": "text"},
            {"nonce": 1},
            {"invite": True},
            {"invite": -1},
            {"invite": 2**70},
            {"proof": None},
        ],
    )
    def test_fields_of_the_wrong_kind(self, nodes, site, token, change):
        ticket = Token.parse(token)
        good = {"invite": 1, "name": "b", "public_key": nodes[1].public_key, "url": "", "protocol": 1, "nonce": b"n"}
        body = wire.compress(wire.pack({**good, "proof": b"p", **change}))
        sign = lambda r: auth.sign_request(nodes[1], r, body, ticket.fingerprint.hex())  # noqa: E731
        with Caller("a", site.url).post("pair", body, "gzip", sign) as answer:
            assert answer.head.status_code == 400
            assert pairing.refused("a", answer.head, answer.read(65536), signed=True).reason == "malformed"

    def test_another_protocol(self, site, token, monkeypatch):
        accept = pairing.accept

        def newer(*args):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pairing, "PROTOCOL", 2)
                return accept(*args)

        monkeypatch.setattr(pairing, "accept", newer)
        assert self.refusal(site, token, "speaks protocol 1", exceptions.PeerRefused).status == 426

    def test_a_clock_that_is_wrong(self, site, token, monkeypatch):
        sign, now = auth.sign_request, auth.now

        def early(*args):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(auth, "now", lambda: now() - 301)
                sign(*args)

        monkeypatch.setattr(auth, "sign_request", early)
        assert self.refusal(site, token, "clocks are too far apart", exceptions.PeerRefused).reason == "clock-skew"

    def test_a_page_for_people(self, site, token):
        site.answer("200 OK", [("Content-Type", "text/html")], b"<html>")
        self.refusal(site, token, "not handleref_sync", exceptions.PeerUnreachable)


class TestInvite:
    def test_a_name_that_is_none(self, token):
        for name in ("", "B", "b b", "b\n", "x" * 61):
            with pytest.raises(exceptions.ConfigurationError, match="not a node ID"):
                invite("default", name)

    def test_our_own_name(self, token):
        with pytest.raises(exceptions.ConfigurationError, match="a is this node itself"):
            invite("default", "a")

    def test_a_url_that_is_none(self, token):
        for url in ("foo", "127.0.0.1:8000/sync/", "ftp://a.example/"):
            with pytest.raises(exceptions.ConfigurationError, match="not a URL"):
                invite("default", "b", url=url)

    def test_without_a_url(self, nodes):
        with pytest.raises(exceptions.ConfigurationError, match="no URL"):
            invite("default", "b")
        assert Token.parse(invite("default", "b", url="https://a.example")).invite

    def test_a_token_is_short_and_goes_through_a_shell(self, token):
        assert len(token) <= 60
        assert token.startswith("A")  # never a dash, which a command would take for an option
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    def test_tokens_with_any_number_come_back(self):
        for number in (1, 127, 128, 255, 256, 65535, 2**31, 2**63 - 1):
            made = Token(number, b"s" * 16, b"f" * 16)
            assert Token.parse(str(made)) == made
            assert "s" not in repr(made)

    def test_old_invites_are_dropped(self, token):
        Invite.objects.using("default").update(expires=timezone.now() - pairing.KEPT)
        invite("default", "c")
        assert [i.peer_name for i in Invite.objects.using("default")] == ["c"]
