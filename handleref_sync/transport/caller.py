"""One pooled connection to a URL: bounded retries, timeouts, and sentences for what goes wrong.

Who is there, and whether it is to be believed, is not known here.
"""

from __future__ import annotations

import io
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from handleref_sync import wire
from handleref_sync.conf import URLS, is_url, settings
from handleref_sync.core.printable import printable
from handleref_sync.exceptions import PeerUnreachable, SyncError, TooLarge
from handleref_sync.transport import auth

CONNECT_TIMEOUT = 10.0
"""Seconds in which a connection has to stand."""
CHUNK = 64 * 1024
SLOWEST = 4000
"""Bytes a second that a link is taken to carry at least. What we send lies in the buffers of this machine while it
crosses, so the wait for an answer begins long before the peer has the question."""
BACKOFF, LONGEST = 0.5, 30.0
"""Seconds before the first retry, doubled each time, and the most that they become; half of it is chance."""
TRANSIENT = frozenset({502, 503, 504})

T = TypeVar("T")
_own = threading.local()


class _NoTraceback(logging.Filter):
    """Drops what urllib3 logs, traceback and all, of garbled headers in answers to us: our own error says it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (getattr(_own, "calling", False) and record.exc_info)


logging.getLogger("urllib3.connection").addFilter(_NoTraceback())


class Transient(Exception):
    """What is worth another try; `error` is raised when there are no more."""

    def __init__(self, error: SyncError) -> None:
        super().__init__(error.message)
        self.error = error


class Answer:
    """A response whose body isn't read yet."""

    def __init__(self, caller: Caller, response: requests.Response, request: auth.Request) -> None:
        self._caller, self._response, self.name = caller, response, caller.name
        self.head = auth.Response(response.status_code, response.headers, request)

    def read(self, limit: int) -> bytes:
        """The body as it travelled. Raises TooLarge over `limit` bytes, and Transient if the connection breaks."""
        announced = self.head.headers.get("Content-Length", "")
        body = bytearray()
        try:
            while max(len(body), int(announced[:20]) if announced.isdecimal() else 0) <= limit:
                # decode_content=False: to decompress is our part, with a limit of its own.
                part = self._response.raw.read(CHUNK, decode_content=False)
                if not part:
                    return bytes(body)
                body += part
                self._caller.bytes_received += len(part)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Transient(self._caller.unreachable(_why(error))) from error
        raise TooLarge(
            f"The answer of {self.name} is over the limit of {limit} bytes.",
            hint="Lower PAGE_ROWS on its side, or raise MAX_BODY on this one.",
        )


class _Outgoing(io.BytesIO):
    """A body on its way; `sent` is called when the last of it is handed over to the connection."""

    def __init__(self, body: bytes, sent: Callable[[], object]) -> None:
        super().__init__(body)
        self._sent = sent

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        if not part:
            self._sent()
        return part


class Caller:
    """A pooled connection to one URL: retries, timeouts and sentences, but no notion of who is there."""

    def __init__(
        self,
        name: str,
        url: str,
        sleep: Callable[[float], object] = time.sleep,
        *,
        again: str = "sync again: it goes on where it stopped",
    ) -> None:
        self.name, self.url, self._again = name, url.rstrip("/"), again
        self.bytes_sent = self.bytes_received = 0
        self.sent = threading.Event()
        """Set when a request has gone out."""
        self._sleep = sleep
        self._session = requests.Session()

    def retrying(self, once: Callable[[], T]) -> T:
        """The result of `once`, which is called again (``RETRIES`` times at most) while it raises Transient."""
        for attempt in range(settings.retries + 1):
            try:
                return once()
            except Transient as failure:
                if attempt >= settings.retries:
                    raise failure.error from failure.__cause__
                self._sleep(min(LONGEST, BACKOFF * 2**attempt) * (0.5 + random.random() / 2))
        raise AssertionError("RETRIES is negative")

    @contextmanager
    def post(self, action: str, body: bytes, encoding: str, sign: Callable[[auth.Request], None]) -> Iterator[Answer]:
        """POST once; `sign` adds the signature to the headers. Raises Transient, or PeerUnreachable for good."""
        if len(body) > settings.max_body:
            raise TooLarge(
                f"A message for {self.name} has {len(body)} bytes, over the limit of {settings.max_body}.",
                hint="Lower PAGE_ROWS, or raise MAX_BODY on both sides.",
            )
        if not is_url(self.url):
            raise PeerUnreachable(
                f"{subject(self.name)} cannot be reached at {self.url!r}: that is not a URL of http or https.",
                hint=f"Set the URL of {self.name} to {URLS}.",
            )
        headers = {
            "Content-Type": auth.CONTENT_TYPE,
            "Content-Encoding": encoding,
            "Accept": auth.CONTENT_TYPE,
            "Accept-Encoding": ", ".join(wire.encodings()),
        }
        try:
            url = str(requests.Request("POST", f"{self.url}/v1/{action}/").prepare().url)
            request = auth.Request("POST", url, headers)
            sign(request)
            _own.calling = True
            response = self._session.post(
                url,
                data=_Outgoing(body, self.sent.set),
                headers=headers,
                timeout=(CONNECT_TIMEOUT, settings.timeout + len(body) / SLOWEST),
                stream=True,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise self.unreachable(_why(error)) from error
        except requests.exceptions.RequestException as error:
            if isinstance(error, ValueError):  # what `requests` raises for a URL that is none
                raise self.unreachable("that is not a URL") from error
            raise Transient(self.unreachable(_why(error))) from error
        finally:
            _own.calling = False
        self.bytes_sent += len(body)
        try:
            self._check_kind(response)
            yield Answer(self, response, request)
        finally:
            response.close()  # after a whole body this only gives the connection back

    def unreachable(self, why: str) -> PeerUnreachable:
        """One sentence, without the innards of the HTTP library."""
        return PeerUnreachable(
            f"{subject(self.name)} cannot be reached at {self.url}: {why}.",
            hint=f"Check that it runs, and that this is its URL; then {self._again}.",
        )

    def close(self) -> None:
        """Close the pool."""
        self._session.close()

    def _check_kind(self, response: requests.Response) -> None:
        status, kind = response.status_code, response.headers.get("Content-Type", "").partition(";")[0].strip()
        if 300 <= status < 400:
            there = printable(response.headers.get("Location", "nowhere"), 200)
            raise PeerUnreachable(
                f"{self.url} redirects to {there}, and a signed request is not passed on.",
                hint=f"Set the URL of {self.name} to where it ends.",
            )
        if kind.lower() == auth.CONTENT_TYPE:
            return
        if status in TRANSIENT:
            raise Transient(self.unreachable(f"what stands before it answers HTTP {status}"))
        if status == 400:  # Django's own page: its middleware looks at the host before any view does
            host = urlsplit(self.url).hostname
            raise PeerUnreachable(
                f"What stands at {self.url} takes the request for a bad one"
                f" (HTTP 400, {printable(kind, 60) or 'no content type'}).",
                hint=f"If it is the project of {self.name}, add {host!r} to its ALLOWED_HOSTS.",
            )
        raise PeerUnreachable(
            f"{self.url} leads to something that is not handleref_sync"
            f" (HTTP {status}, {printable(kind, 60) or 'no content type'}).",
            hint=f"Set the URL of {self.name} to where its project includes handleref_sync.urls.",
        )


def subject(name: str) -> str:
    """`name` at the beginning of a sentence. A node ID stays as it is; it has no blank."""
    return name[:1].upper() + name[1:] if " " in name else name


def _why(error: BaseException | None) -> str:
    """What went wrong, from the exceptions that lie in each other."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    for kind, why in (
        (urllib3.exceptions.NameResolutionError, "no such host is known"),
        (ConnectionRefusedError, "nothing listens there"),
        ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), "its TLS certificate is not accepted"),
        ((requests.exceptions.ProxyError, urllib3.exceptions.ProxyError), "the proxy in between refuses"),
        (urllib3.exceptions.NewConnectionError, "no connection can be made"),
        (urllib3.exceptions.ConnectTimeoutError, f"no connection within {CONNECT_TIMEOUT:g} s"),
        ((requests.exceptions.Timeout, urllib3.exceptions.TimeoutError), f"no answer within {settings.timeout:g} s"),
    ):
        if any(isinstance(each, kind) for each in chain):
            return why
    return "the connection broke"
