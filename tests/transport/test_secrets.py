"""No secret in a log, an error or a repr; each is compared in constant time; and what is on every answer."""

import ast
import base64
import inspect
import logging
import traceback
from pathlib import Path

import pytest
import requests
from django.urls import get_resolver

from handleref_sync import exceptions, transport, wire
from handleref_sync.models import Invite, LocalNode, Peer
from handleref_sync.transport import auth, pairing, server
from handleref_sync.transport.client import HttpTransport

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])


def forms(secret):
    """A secret as it might stand in a text."""
    return {
        str(secret)[2:-1],
        secret.hex(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
    }


def failing(action):
    """The error that `action` raises, with all that it came from, as a traceback shows it."""
    with pytest.raises(exceptions.SyncError) as caught:
        action()
    error = caught.value
    return "\n".join([repr(error), str(error.__dict__), "".join(traceback.format_exception(error))])


def test_pairing_and_its_failures_tell_no_secret(nodes, site, settings, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "URL": site.url}
    text = pairing.invite("default", "b")
    other = pairing.invite("default", "c")
    token = pairing.Token.parse(text)
    said = [
        failing(lambda: pairing.join("second", site.url, text[:-1] + ("A" if text[-1] != "A" else "B"))),
        failing(lambda: pairing.join("second", site.url, other)),
        failing(lambda: pairing.join("second", site.url.replace("/sync", "/nothing"), text)),
    ]
    known = pairing.join("second", site.url, text)
    LocalNode.objects.using("second").update(private_key=auth.Ed25519PrivateKey.generate().private_bytes_raw())
    said.append(failing(lambda: pairing.join("second", site.url, text)))  # used, and by another key
    transport = HttpTransport("second", known, sleep=lambda seconds: None)
    said.append(failing(lambda: transport.call("hello", {})))
    transport.close()
    objects = [
        token,
        *nodes,
        transport,
        transport.__dict__,
        known,
        *Invite.objects.using("default").all(),
        *Peer.objects.using("default").all(),
        *LocalNode.objects.using("default").all(),
    ]
    said += [f"{thing!r} {thing}" for thing in objects if not isinstance(thing, pairing.Token)]
    said += [repr(token), caplog.text, *map(str, capsys.readouterr())]
    everything = "\n".join(said)
    secrets = {text, other, *forms(token.secret), *forms(token.key), *forms(pairing.Token.parse(other).secret)}
    for identity in nodes:
        secrets |= forms(identity.private_key.private_bytes_raw())
    assert "pairing" in everything or "token" in everything  # something was said at all
    assert [secret for secret in secrets if secret in everything] == []


SECRET = {"proof", "secret", "fingerprint", "token_hash", "private_key", "public_key", "key", "check", "meant"}
"""Names of what is secret, or is compared with what somebody unknown has sent to prove something."""


def test_secrets_are_compared_in_constant_time():
    found = []
    for path in Path(inspect.getfile(transport)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                names = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
                names |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                if names & SECRET:
                    found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []


def test_only_the_signed_views_are_exempt_from_csrf():
    exempt = set()

    def look(patterns):
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                look(pattern.url_patterns)
            elif getattr(pattern.callback, "csrf_exempt", False):
                exempt.add(pattern.callback)

    look(get_resolver("tests.adminapp.urls").url_patterns)
    assert exempt == set()
    look(get_resolver("handleref_sync.urls").url_patterns)
    assert exempt == {server.exchange, server.pair}


@pytest.mark.parametrize("action", ["hello", "pair"])
def test_no_cache_keeps_an_answer_and_no_browser_runs_it(site, nodes, action):
    headers = {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": "gzip"}
    url = f"{site.url}/v1/{action}/"
    refused = requests.post(url, data=wire.compress(wire.pack({})), headers=headers, timeout=10)
    for answer in (refused, requests.get(url, timeout=10)):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_what_a_peer_says_is_one_line_of_the_log(site, nodes, monkeypatch, caplog):
    def fail(*args):
        raise exceptions.MalformedBody("One.\nERROR Two \x1b[31m", hint="Three.")

    monkeypatch.setattr(auth, "authenticate", fail)
    headers = {"Content-Type": auth.CONTENT_TYPE, "Content-Encoding": "gzip"}
    requests.post(f"{site.url}/v1/hello/", data=b"", headers=headers, timeout=10)
    (record,) = [record for record in caplog.records if record.name == "handleref_sync.transport"]
    assert "\n" not in record.getMessage() and "\x1b" not in record.getMessage()
