"""HTTP on loopback: what goes through, and everything that must not."""

import contextlib
import dataclasses
import gzip
import os
import random
import socket
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from handleref_sync import exceptions, wire
from handleref_sync.models import LocalNode, Nonce, Peer
from handleref_sync.transport import auth, server
from handleref_sync.transport.caller import SLOWEST
from handleref_sync.transport.client import HttpTransport
from handleref_sync.transport.memory import MemoryTransport

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])

MESSAGE = {"rows": [[1, "é", Decimal("1.50"), datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC), b"\x00"]] * 50}


@pytest.fixture
def limits(settings):
    """Change settings of the library."""

    def change(**values):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, **{k.upper(): v for k, v in values.items()}}

    return change


def held_back(retrying, held):
    """`retrying`, whose result comes only when `held` is set."""

    def late(caller, once):
        result = retrying(caller, once)
        assert held.wait(10)
        return result

    return late


def signed(me, url, body, recipient="a", **headers):
    """Headers of a genuine request of `me`."""
    request = auth.Request("POST", url, {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": "gzip", **headers})
    auth.sign_request(me, request, body, recipient)
    return request.headers


def post(site, me, body=None, action="hello", sent=None, **kwargs):
    """A request by hand: `sent` goes out in the place of the `body` that is signed."""
    url = f"{site.url}/v1/{action}/"
    body = wire.compress(wire.pack(MESSAGE)) if body is None else body
    headers = signed(me, url, body, **kwargs)
    return requests.post(url, data=body if sent is None else sent, headers=headers, timeout=10)


def error_of(response):
    error = wire.unpack_message(response.content)  # requests has decompressed it
    assert set(error) == {"reason", "message", "hint"}
    return error


def is_signed(response):
    return "Signature" in response.headers


class TestExchange:
    @pytest.mark.parametrize("action", ["hello", "pull", "push"])
    def test_a_message_and_its_answer_arrive_as_they_were_sent(self, client, responder, action):
        assert client.call(action, MESSAGE) == {"action": action, "echo": MESSAGE}
        assert responder.calls[-1] == ("default", "b", action, MESSAGE)
        assert 0 < client.bytes_sent < 1000
        assert 0 < client.bytes_received < 1000

    def test_one_connection_serves_many_calls(self, client, site, responder):
        for number in range(5):
            assert client.call("pull", {"n": number})["echo"] == {"n": number}
        assert site.connections == 1

    def test_a_call_in_two_halves(self, client, responder):
        pending = client.begin("pull", {"n": 1})
        assert pending() == {"action": "pull", "echo": {"n": 1}}

    def test_a_call_in_two_halves_has_gone_out_when_it_is_begun(self, client, responder, monkeypatch):
        held = threading.Event()
        monkeypatch.setattr(type(client._caller), "retrying", held_back(type(client._caller).retrying, held))
        pending = client.begin("pull", {"n": 1})
        assert client._caller.sent.is_set()
        held.set()
        assert pending()["echo"] == {"n": 1}

    def test_a_call_in_two_halves_raises_where_its_answer_is_asked_for(self, client, responder):
        responder.raises = exceptions.SyncInProgress("Busy.", hint="Wait.")
        pending = client.begin("pull", {})
        with pytest.raises(exceptions.PeerRefused, match="Busy"):
            pending()

    def test_the_slash_at_the_end_may_be_missing(self, site, nodes, paired, responder):
        url = f"{site.url}/v1/hello"
        body = wire.compress(wire.pack({}))
        assert requests.post(url, data=body, headers=signed(nodes[1], url, body), timeout=10).status_code == 200

    def test_an_error_of_the_responder_comes_through_whole_and_signed(self, client, responder):
        responder.raises = exceptions.CursorMismatch("The page does not fit.", hint="Say hello again.")
        with pytest.raises(exceptions.PeerRefused) as caught:
            client.call("push", {})
        error = caught.value
        assert (str(error), error.hint, error.reason, error.status) == (
            "The page does not fit.",
            "Say hello again.",
            "cursor",
            409,
        )

    def test_an_unexpected_error_gives_nothing_away(self, client, responder, caplog, slept):
        responder.raises = RuntimeError("password=hunter2")
        with pytest.raises(exceptions.PeerRefused) as caught:
            client.call("hello", {})
        assert (caught.value.reason, caught.value.status) == ("internal", 500)
        assert "hunter2" not in caught.value.sentence()
        assert "hunter2" in caplog.text
        assert slept == []

    def test_a_signed_503_is_an_answer_and_not_tried_again(self, client, responder, slept):
        responder.raises = exceptions.NotInstalled("The triggers are missing.")
        with pytest.raises(exceptions.PeerRefused) as caught:
            client.call("hello", {})
        assert caught.value.reason == "not-installed"
        assert "not signed" not in str(caught.value)
        assert slept == []

    def test_memory_transport_shows_the_same(self, responder):
        def fail(action, message):
            raise exceptions.NotPermitted("No.", hint="Ask.")

        transport = MemoryTransport(lambda action, message: {"echo": message})
        assert transport.call("pull", MESSAGE) == {"echo": MESSAGE}
        assert transport.bytes_sent > 0 < transport.bytes_received
        transport.close()
        with pytest.raises(exceptions.PeerRefused) as caught:
            MemoryTransport(fail).call("pull", {})
        error = caught.value
        assert (str(error), error.hint, error.reason, error.status) == ("No.", "Ask.", "not-permitted", 403)


class TestWhoAsks:
    def test_unknown_peer(self, client, responder):
        Peer.objects.using("default").all().delete()
        with pytest.raises(exceptions.PeerRefused, match="a does not know a node 'b'") as caught:
            client.call("hello", {})
        assert caught.value.reason == "unknown-peer"
        assert "not signed" in str(caught.value)
        assert "sync_invite b" in caught.value.hint
        assert responder.calls == []

    def test_bad_signature(self, site, paired, responder):
        stranger = auth.Identity("b", Ed25519PrivateKey.generate())
        response = post(site, stranger)
        assert response.status_code == 401
        error = error_of(response)
        assert (error["reason"], error["message"]) == (
            "bad-signature",
            "a has another key for b; is there a second database with this ID?",
        )
        assert "sync_invite b on a" in error["hint"]
        assert not is_signed(response)
        assert Nonce.objects.using("default").count() == 0

    def test_same_node(self, client, responder):
        LocalNode.objects.using("second").update(name="a")
        with pytest.raises(exceptions.PeerRefused, match="Both nodes bear the ID 'a'") as caught:
            HttpTransport("second", client.peer, sleep=lambda s: None).call("hello", {})
        assert (caught.value.reason, caught.value.status) == ("same-node", 409)

    def test_signed_for_another_node(self, site, nodes, paired):
        response = post(site, nodes[1], recipient="c")
        assert error_of(response)["message"] == "The request was signed for 'c', but this is 'a'."

    def test_without_any_signature(self, site, nodes, paired):
        headers = {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": "gzip"}
        response = requests.post(f"{site.url}/v1/hello/", data=b"x", headers=headers, timeout=10)
        assert (response.status_code, error_of(response)["reason"]) == (401, "bad-signature")

    @pytest.mark.parametrize("header", ["Signature", "Signature-Input", "Content-Digest", "Sync-Recipient"])
    def test_garbage_in_the_headers(self, site, nodes, paired, header):
        url, body = f"{site.url}/v1/hello/", wire.compress(wire.pack({}))
        headers = {**signed(nodes[1], url, body), header: "((;\x80\xff=?0"}
        response = requests.post(url, data=body, headers=headers, timeout=10)
        assert (response.status_code, error_of(response)["reason"]) == (401, "bad-signature")

    @pytest.mark.parametrize("header", ["Content-Type", "Content-Encoding"])
    def test_a_signed_header_that_is_changed(self, site, nodes, paired, header):
        url, body = f"{site.url}/v1/hello/", wire.compress(wire.pack({}))
        headers = signed(nodes[1], url, body)
        headers[header] = headers[header].upper()
        response = requests.post(url, data=body, headers=headers, timeout=10)
        assert (response.status_code, error_of(response)["reason"]) == (401, "bad-signature")

    def test_played_to_another_action(self, site, nodes, paired):
        body = wire.compress(wire.pack({}))
        headers = signed(nodes[1], f"{site.url}/v1/pull/", body)
        response = requests.post(f"{site.url}/v1/push/", data=body, headers=headers, timeout=10)
        assert (response.status_code, error_of(response)["reason"]) == (401, "bad-signature")

    def test_the_same_bytes_again(self, site, nodes, paired, responder):
        url, body = f"{site.url}/v1/hello/", wire.compress(wire.pack({}))
        headers = signed(nodes[1], url, body)
        first, second = (requests.post(url, data=body, headers=headers, timeout=10) for _ in range(2))
        assert (first.status_code, second.status_code) == (200, 401)
        assert error_of(second)["reason"] == "replayed"
        assert is_signed(second)

    @pytest.mark.parametrize("seconds", [-301, 330])
    def test_clocks_apart(self, client, responder, monkeypatch, seconds):
        sign, now = auth.sign_request, auth.now

        def early(*args):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(auth, "now", lambda: now() + seconds)
                sign(*args)

        monkeypatch.setattr(auth, "sign_request", early)
        with pytest.raises(exceptions.PeerRefused, match=r"UTC on b, .* UTC on a \(limit 300 s\)") as caught:
            client.call("hello", {})
        assert caught.value.reason == "clock-skew"
        assert "not signed" not in str(caught.value)

    def test_old_nonces_are_forgotten(self, client, responder, monkeypatch):
        Nonce.objects.using("default").create(peer_name="b", nonce="old")
        Nonce.objects.using("default").update(created=datetime(2020, 1, 1, tzinfo=UTC))
        monkeypatch.setattr(server, "_forgot", {})
        client.call("hello", {})
        assert not Nonce.objects.using("default").filter(nonce="old").exists()
        assert Nonce.objects.using("default").count() == 1


class TestWhatArrives:
    def test_a_changed_body(self, site, nodes, paired):
        body = wire.compress(wire.pack(MESSAGE))
        response = post(site, nodes[1], body, sent=body[:-1] + bytes([body[-1] ^ 1]))
        assert (response.status_code, error_of(response)["reason"]) == (401, "bad-signature")
        assert is_signed(response)

    def test_a_body_over_the_limit(self, site, nodes, paired, limits):
        limits(max_body=1024)
        response = post(site, nodes[1], b"x" * 1025)
        assert (response.status_code, error_of(response)["reason"]) == (413, "too-large")

    def test_our_own_message_over_the_limit(self, client, site, limits):
        limits(max_body=1024)
        with pytest.raises(exceptions.TooLarge, match="over the limit of 1024"):
            client.call("push", {"noise": random.Random(0).randbytes(2000)})
        assert site.requests == []

    def test_an_answer_over_the_limit(self, client, responder, site, limits):
        site.tamper(lambda headers, body: (headers, body + b"x" * 2000))
        limits(max_body=1024)
        with pytest.raises(exceptions.TooLarge, match="over the limit of 1024"):
            client.call("pull", {})
        assert client.bytes_received <= 1024

    def test_an_answer_over_the_limit_that_does_not_say_its_length(self, client, responder, site, limits):
        def around(environ, start_response, app):
            def start(status, headers, _=None):
                start_response(status, [h for h in headers if h[0] != "Content-Length"])

            return [*app(environ, start), *[b"x" * 65536] * 100]

        site.around = around
        limits(max_body=100_000)
        with pytest.raises(exceptions.TooLarge):
            client.call("pull", {})
        assert client.bytes_received < 300_000

    def test_a_bomb(self, site, nodes, paired, limits):
        limits(max_plain=1_000_000)
        response = post(site, nodes[1], gzip.compress(b"\x00" * 50_000_000))
        assert (response.status_code, error_of(response)["reason"]) == (413, "too-large")
        assert is_signed(response)

    def test_a_bomb_as_the_answer(self, client, responder, limits):
        limits(max_plain=1024)
        responder.answers = {"zeros": b"\x00" * 1024}
        with pytest.raises(exceptions.TooLarge, match="after decompression"):
            client.call("pull", {})

    @pytest.mark.parametrize("encoding", ["zstd", "br", "identity"])
    def test_an_encoding_we_do_not_know_or_that_is_not_true(self, site, nodes, paired, encoding):
        response = post(site, nodes[1], **{"Content-Encoding": encoding})
        assert (response.status_code, error_of(response)["reason"]) == (400, "malformed")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no gzip",
            wire.compress(wire.pack(MESSAGE))[:-9],
            wire.compress(b""),
            wire.compress(b"\xc1"),
            wire.compress(wire.pack(MESSAGE)[:-1]),
            wire.compress(wire.pack([1])),
            wire.compress(wire.pack({}) + b"\x00"),
            wire.compress(wire.pack({})) + b"behind",
        ],
    )
    def test_a_garbled_body(self, site, nodes, paired, body):
        response = post(site, nodes[1], body)
        assert (response.status_code, error_of(response)["reason"]) == (400, "malformed")
        assert is_signed(response)

    def test_a_body_that_is_cut(self, site, nodes, paired):
        body = wire.compress(wire.pack(MESSAGE))
        headers = {**signed(nodes[1], f"{site.url}/v1/hello/", body), "Content-Length": str(len(body))}
        host, port = site.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            lines = [f"POST /sync/v1/hello/ HTTP/1.1\r\nHost: {host}", *(f"{k}: {v}" for k, v in headers.items())]
            raw.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body[:20])
            raw.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert b" 400 " in head.splitlines()[0]
        assert wire.unpack(gzip.decompress(rest))["message"] == "The body is cut short."

    def test_another_content_type(self, site, nodes, paired):
        response = post(site, nodes[1], **{"Content-Type": "application/json"})
        assert (response.status_code, error_of(response)["reason"]) == (400, "protocol")

    def test_no_length(self, site, nodes, paired):
        response = post(site, nodes[1], sent=iter([b"abc"]))
        assert (response.status_code, error_of(response)["reason"]) == (400, "protocol")

    @pytest.mark.parametrize("action", ["hello", "pull", "push", "pair"])
    def test_get_is_not_allowed(self, site, nodes, action):
        response = requests.get(f"{site.url}/v1/{action}/", timeout=10)
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")
        assert "handleref_sync" in response.text

    def test_neither_login_nor_csrf_nor_a_transaction_stands_before_it(self):
        for view in (server.exchange, server.pair):
            assert view.csrf_exempt
            assert view.login_required is False
            assert {"default", "second"} <= view._non_atomic_requests


class TestWhoAnswers:
    def test_a_changed_answer(self, client, responder, site):
        site.tamper(lambda headers, body: (headers, body[:-1] + bytes([body[-1] ^ 1])))
        with pytest.raises(exceptions.BadSignature, match="not the one that was signed"):
            client.call("pull", {})

    def test_an_answer_of_another_request(self, client, responder, site):
        kept = []

        def first_again(headers, body):
            kept.append((headers, body))
            return kept[0]

        site.tamper(first_again)
        client.call("pull", {"page": 1})
        with pytest.raises(exceptions.BadSignature):
            client.call("pull", {"page": 2})

    def test_a_changed_status(self, client, responder, site):
        responder.raises = exceptions.NotPermitted("No.")

        def around(environ, start_response, app):
            return app(environ, lambda status, headers, _=None: start_response("200 OK", headers))

        site.around = around
        with pytest.raises(exceptions.BadSignature):
            client.call("pull", {})

    def test_an_answer_of_another_key(self, client, responder, slept):
        client.peer.public_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        with pytest.raises(exceptions.BadSignature):
            client.call("pull", {})
        assert slept == []

    def test_an_answer_of_another_node(self, client, responder, nodes, monkeypatch):
        sign = auth.sign_response
        monkeypatch.setattr(auth, "sign_response", lambda me, *rest: sign(dataclasses.replace(me, name="x"), *rest))
        with pytest.raises(exceptions.BadSignature, match="signed by 'x', not by 'a'"):
            client.call("pull", {})

    def test_an_answer_without_a_signature(self, client, responder, site):
        site.tamper(lambda headers, body: ({k: v for k, v in headers.items() if "Signature" not in k}, body))
        with pytest.raises(exceptions.BadSignature, match="not signed"):
            client.call("pull", {})

    def test_an_error_without_a_signature_is_only_text(self, client, site):
        error = {"reason": "dot-reused", "message": "Do \x1b[31mthis.", "hint": "Now."}
        body = gzip.compress(wire.pack(error))
        site.answer("409 Conflict", [("Content-Type", auth.CONTENT_TYPE), ("Content-Encoding", "gzip")], body)
        with pytest.raises(exceptions.PeerRefused) as caught:
            client.call("pull", {})
        assert caught.value.reason == "refused"
        assert str(caught.value) == "Do  [31mthis. (This answer is not signed.)"

    def test_an_answer_that_is_cut(self, client, responder, site, slept):
        def around(environ, start_response, app):
            yield b"".join(app(environ, start_response))[:-3]

        site.hangs_up = True
        site.around = around
        with pytest.raises(exceptions.PeerUnreachable, match="the connection broke"):
            client.call("pull", {})
        assert len(slept) == 3

    @pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops"])
    def test_a_page_for_people(self, client, site, slept, status):
        site.answer(status, [("Content-Type", "text/html; charset=utf-8")], b"<html>Welcome</html>")
        with pytest.raises(exceptions.PeerUnreachable) as caught:
            client.call("hello", {})
        assert f"leads to something that is not handleref_sync (HTTP {status[:3]}, text/html)" in str(caught.value)
        assert slept == []

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
    def test_a_redirect(self, client, site, slept, status):
        site.answer(status, [("Location", "https://elsewhere.example/sync/v1/hello/")])
        with pytest.raises(
            exceptions.PeerUnreachable, match=r"redirects to https://elsewhere\.example/sync/v1/hello/"
        ):
            client.call("hello", {})
        assert (len(site.requests), slept) == (1, [])


class TestRetries:
    def test_a_server_that_comes_back(self, client, responder, site, slept):
        site.answer("503 Busy", [("Content-Type", "text/html")], b"<html>", times=2)
        assert client.call("hello", {})["echo"] == {}
        assert len(site.requests) == 3
        assert [0.25 <= slept[0] <= 0.5, 0.5 <= slept[1] <= 1, len(slept)] == [True, True, 2]

    @pytest.mark.parametrize("status", ["502 Bad", "503 Busy", "504 Late"])
    def test_one_that_does_not(self, client, site, slept, limits, status):
        limits(retries=2)
        site.answer(status, [("Content-Type", "text/html")], b"<html>")
        with pytest.raises(exceptions.PeerUnreachable, match=f"answers HTTP {status[:3]}"):
            client.call("hello", {})
        assert (len(site.requests), len(slept)) == (3, 2)

    def test_an_unsigned_503_of_our_own(self, client, site, slept):
        body = gzip.compress(wire.pack({"reason": "not-installed", "message": "Not yet.", "hint": ""}))
        site.answer("503 Busy", [("Content-Type", auth.CONTENT_TYPE), ("Content-Encoding", "gzip")], body)
        with pytest.raises(exceptions.PeerRefused, match="Not yet") as caught:
            client.call("hello", {})
        assert (caught.value.reason, len(slept)) == ("not-installed", 3)

    def test_each_try_has_a_nonce_of_its_own(self, client, responder, site):
        def around(environ, start_response, app):
            app(environ, lambda *args: None)
            start_response("504 Late", [("Content-Type", "text/html"), ("Content-Length", "0")])
            return []

        site.around = around
        with pytest.raises(exceptions.PeerUnreachable):
            client.call("push", {"n": 1})
        assert Nonce.objects.using("default").count() == 4

    def test_nothing_listens(self, paired, slept):
        with contextlib.closing(socket.socket()) as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}/sync"
            transport = HttpTransport("second", Peer(name="a", url=url, public_key=b""), sleep=slept.append)
            with pytest.raises(exceptions.PeerUnreachable) as caught:
                transport.call("hello", {})
        assert str(caught.value) == f"a cannot be reached at {url}: nothing listens there."
        assert caught.value.hint.startswith("Check that it runs")
        assert len(slept) == 3
        assert transport.bytes_sent == 0

    def test_no_answer_in_time(self, client, site, slept, limits):
        limits(timeout=0.05, retries=1)

        def around(environ, start_response, app):
            time.sleep(0.2)
            start_response("200 OK", [("Content-Length", "0")])
            return []

        site.around = around
        with pytest.raises(exceptions.PeerUnreachable, match=r"no answer within 0\.05 s"):
            client.call("hello", {})
        assert len(slept) == 1

    def test_what_is_sent_has_time_to_cross_a_slow_link(self, client, site, responder, slept, limits):
        """It lies in the buffers of this machine while the wait for the answer has begun."""
        limits(timeout=0.05, retries=0)

        def around(environ, start_response, app):
            time.sleep(0.3)
            return app(environ, start_response)

        site.around = around
        with pytest.raises(exceptions.PeerUnreachable):
            client.call("hello", {})
        client.call("hello", {"noise": os.urandom(SLOWEST)})

    def test_a_stale_connection_is_replaced(self, client, site, responder, slept):
        client.call("hello", {})

        def hang_up(environ, start_response, app):
            site.around = None
            environ["tests.hang_up"]()
            start_response("200 OK", [("Content-Length", "0")])
            return []

        site.around = hang_up
        assert client.call("hello", {"n": 2})["echo"] == {"n": 2}
        assert (site.connections, len(slept)) == (2, 1)

    @pytest.mark.parametrize("url", ["ftp://a.example", "nothing", "http://", "127.0.0.1:8000/sync", "http://[/"])
    def test_a_url_that_is_none(self, nodes, slept, url):
        with pytest.raises(exceptions.PeerUnreachable, match="not a URL of http or https") as caught:
            HttpTransport("second", Peer(name="a", url=url), sleep=slept.append).call("hello", {})
        assert "Set the URL of a to" in caught.value.hint
        assert slept == []

    def test_a_host_that_the_project_does_not_allow(self, client, site, settings):
        settings.ALLOWED_HOSTS, settings.DEBUG = ["a.example"], False
        settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
        with pytest.raises(exceptions.PeerUnreachable, match=r"\(HTTP 400, text/html\)") as caught:
            client.call("hello", {})
        assert "add '127.0.0.1' to its ALLOWED_HOSTS" in caught.value.hint

    def test_a_passive_peer(self, nodes):
        with pytest.raises(exceptions.PeerUnreachable, match="has no URL"):
            HttpTransport("second", Peer(name="a")).call("hello", {})

    def test_an_unknown_host(self, nodes, slept, limits, monkeypatch):
        limits(retries=0)

        def no_such_host(*args, **kwargs):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
        with pytest.raises(exceptions.PeerUnreachable, match="no such host is known"):
            HttpTransport("second", Peer(name="a", url="http://a.invalid")).call("hello", {})
