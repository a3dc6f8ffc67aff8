"""A real HTTP server on loopback for node a (database "default"), called by node b (database "second")."""

import socket
import threading
from dataclasses import dataclass, field

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.urls import include, path

from handleref_sync.models import Peer
from handleref_sync.transport import auth, server
from handleref_sync.transport.client import HttpTransport
from tests import databases

urlpatterns = [path("sync/", include("handleref_sync.urls"))]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass

    def get_environ(self):
        return {**super().get_environ(), "tests.hang_up": lambda: self.connection.shutdown(socket.SHUT_RDWR)}

    def handle_one_request(self):
        super().handle_one_request()
        if self.server.get_app().hangs_up:
            self.close_connection = True


@dataclass
class Site:
    """The server; `around(environ, start_response, app)` may stand between it and the network."""

    url: str = ""
    around: object = None
    hangs_up: bool = False
    connections: int = 0
    requests: list = field(default_factory=list)

    def __call__(self, environ, start_response):
        self.requests.append(environ["PATH_INFO"])
        app = get_wsgi_application()
        return self.around(environ, start_response, app) if self.around else app(environ, start_response)

    def answer(self, status, headers, body=b"", times=10**6):
        """Let something else than the library answer the next `times` requests."""
        headers = [*headers, ("Content-Length", str(len(body)))]

        def around(environ, start_response, app):
            if len(self.requests) > times:
                return app(environ, start_response)
            environ["wsgi.input"].read()
            start_response(status, headers)
            return [body]

        self.around = around

    def tamper(self, change):
        """Let `change(headers, body)` alter each answer of the library."""

        def around(environ, start_response, app):
            kept = []
            body = b"".join(app(environ, lambda status, headers, _=None: kept.append((status, headers))))
            status, headers = kept[0]
            headers, body = change(dict(headers), body)
            start_response(status, list({**headers, "Content-Length": str(len(body))}.items()))
            return [body]

        self.around = around


@pytest.fixture
def site(settings):
    settings.ROOT_URLCONF = __name__
    made = Site()
    shared = {c.alias: c for c in connections.all() if c.vendor == "sqlite"}  # in memory: one connection for all
    for connection in shared.values():
        connection.inc_thread_sharing()

    class Server(ThreadedWSGIServer):
        def process_request(self, *args):
            made.connections += 1
            super().process_request(*args)

        def _close_connections(self):
            for alias in set(connections) - set(shared):
                connections[alias].close()

        def handle_error(self, *args):
            pass  # a client that went away

    httpd = Server(("127.0.0.1", 0), Quiet, connections_override=shared)
    httpd.set_app(made)
    made.url = f"http://127.0.0.1:{httpd.server_port}/sync"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    httpd.shutdown()
    httpd.server_close()
    thread.join()
    for connection in shared.values():
        connection.dec_thread_sharing()


@pytest.fixture
def nodes(transactional_db):
    """Node a in "default", node b in "second", not paired."""
    databases.node("default", "a")
    databases.node("second", "b")
    return auth.identity("default"), auth.identity("second")


@pytest.fixture
def paired(nodes, site):
    """The peer rows: b as a knows it, a as b knows it."""
    a, b = nodes
    known = Peer.objects.using("default").create(name="b", public_key=b.public_key)
    return known, Peer.objects.using("second").create(name="a", url=site.url, public_key=a.public_key)


@pytest.fixture
def responder(monkeypatch):
    """A responder that sends back what it got, or raises what the test puts there."""

    class Echo:
        raises = None
        answers = None
        calls: list = []  # noqa: RUF012

        def __init__(self, using, peer):
            self.using, self.peer = using, peer

        def handle(self, action, message):
            Echo.calls.append((self.using, self.peer.name, action, message))
            if Echo.raises:
                raise Echo.raises
            return Echo.answers or {"action": action, "echo": message}

    monkeypatch.setattr(server, "Responder", Echo)
    return Echo


@pytest.fixture
def slept():
    return []


@pytest.fixture
def client(paired, slept):
    """b's transport to a."""
    transport = HttpTransport("second", paired[1], sleep=slept.append)
    yield transport
    transport.close()
