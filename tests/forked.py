"""Python processes that start in a quarter of the time: forked from one that has imported Django and other packages.

Nothing of this project is imported before the fork, and no settings are read: what a process does with those is its
own. Where there is no fork with file descriptors to pass, they are started as ever.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

PRELOADED = """
django.apps django.conf.urls.static django.contrib.admin.utils django.contrib.admin.widgets
django.contrib.auth.hashers django.contrib.auth.password_validation django.contrib.messages.storage.fallback
django.contrib.sessions.backends.db django.contrib.staticfiles.finders django.contrib.staticfiles.storage
django.core.cache django.core.handlers.wsgi django.core.mail django.core.management.commands.check
django.core.management.commands.makemigrations django.core.management.commands.migrate
django.core.management.commands.runserver django.core.management.commands.shell django.core.paginator
django.core.serializers.json django.core.wsgi django.db.backends.postgresql.base django.db.backends.sqlite3.base
django.db.migrations.autodetector django.db.migrations.executor django.forms.models django.middleware.clickjacking
django.middleware.common django.middleware.csrf django.middleware.security django.template.backends.django
django.template.defaulttags django.template.loader_tags django.templatetags.i18n django.templatetags.static
django.test django.utils.translation.trans_real django.views.csrf django.views.debug django.views.generic
django.views.i18n cryptography.hazmat.primitives.asymmetric.ed25519 dj_database_url http_message_signatures msgpack
psycopg pymysql.cursors requests rich.progress rich.table sqlparse waitress whitenoise.middleware
"""
POSSIBLE = sys.platform == "linux"
LARGEST = 1 << 17
"""Bytes of what is said about one process."""


class Process:
    """As much of `subprocess.Popen` as the tests need, with texts."""

    def __init__(self, arguments: list[str], **options: Any) -> None:
        self.args = arguments
        self._done, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = [options.get(name) for name in ("stdin", "stdout", "stderr")]
        pipes = [self._pipe(one, number) for number, one in enumerate(asked)]
        self.stdin, self.stdout, self.stderr = (ours for _, ours in pipes)
        env = options.get("env")
        job = {
            "arguments": arguments[1:],
            "cwd": os.path.abspath(options.get("cwd") or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
        }
        given = [descriptor for descriptor, _ in pipes]
        _server().give(json.dumps(job).encode(), [theirs.fileno(), *given])
        theirs.close()
        for descriptor in given:
            os.close(descriptor)
        self.returncode: int | None = None
        self.pid = int(self._done.recv(64))

    @staticmethod
    def _pipe(asked: Any, number: int) -> tuple[int, Any]:
        """What becomes its standard stream of that number, and our end of it."""
        if asked == subprocess.PIPE:
            out, into = os.pipe()
            return (into, open(out)) if number else (out, open(into, "w"))
        if asked is None and number:
            return os.dup(number), None
        if asked in (None, subprocess.DEVNULL):
            return os.open(os.devnull, os.O_RDWR), None
        return os.dup(asked.fileno()), None

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._done], [], [], timeout)[0]:
            said = self._done.recv(64)
            self.returncode = int(said) if said else -signal.SIGKILL
            self._done.close()
        return self.returncode

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[Any, Any]:
        deadline = None if timeout is None else time.monotonic() + timeout
        read: dict[Any, str] = {}

        def drain(pipe: Any) -> None:
            read[pipe] = pipe.read()

        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        threads = [threading.Thread(target=drain, args=[pipe], daemon=True) for pipe in pipes]
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(input or "")
        for thread in threads:
            thread.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        for pipe in pipes:
            pipe.close()
        return read.get(self.stdout), read.get(self.stderr)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self.wait()


def start(arguments: list[str], **options: Any) -> Any:
    """`subprocess.Popen` of this Python, with -B and -W among its options, and -c, -m or a file."""
    if POSSIBLE:
        return Process(arguments, **options)
    return subprocess.Popen(arguments, text=True, **options)


def run(arguments: list[str], input: str = "", timeout: float = 120, **options: Any) -> Any:
    """`subprocess.run` with both outputs captured."""
    pipe = subprocess.PIPE
    process = start(arguments, stdin=pipe, stdout=pipe, stderr=pipe, **options)
    try:
        out, err = process.communicate(input, timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


class _Server:
    """The process from which others are forked; it ends with this one."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "PYTHON", "COV_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        atexit.register(self.end)

    def give(self, job: bytes, descriptors: list[int]) -> None:
        assert len(job) < LARGEST
        socket.send_fds(self.control, [job], descriptors)

    def end(self) -> None:
        self.control.close()
        self.process.wait()


_servers: list[_Server] = []


def _server() -> _Server:
    if not _servers:
        _servers.append(_Server())
    return _servers[0]


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each job until nobody can give one any more; returns the job, in the process that is to do it."""
    for module in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    children: dict[int, socket.socket] = {}
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([control, signals], [], [])
        if signals in ready:
            os.read(signals, 4096)
            _reap(children)
        if control in ready:
            job, given, _, _ = socket.recv_fds(control, LARGEST, 4)
            if not job:
                return None
            done = socket.socket(fileno=given[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, interrupted)
                for number, descriptor in enumerate(given[1:]):
                    os.dup2(descriptor, number)
                for one in (control, done, *children.values()):
                    one.detach()
                os.closerange(3, 1024)
                return dict(json.loads(job))
            done.send(str(pid).encode())
            for descriptor in given[1:]:
                os.close(descriptor)
            children[pid] = done


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with contextlib.suppress(OSError), children.pop(pid) as done:  # who asked may not be there any more
            done.send(str(os.waitstatus_to_exitcode(status)).encode())


def _do(job: dict[str, Any]) -> None:
    """What `python` does with these arguments."""
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["cwd"])
    kind, *arguments = job["arguments"]
    while kind in ("-B", "-W"):
        if kind == "-B":
            sys.dont_write_bytecode = True
        else:
            sys.warnoptions.append(arguments[0])
            warnings.simplefilter(arguments.pop(0))
        kind, *arguments = arguments
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if kind == "-c":
        code, *arguments = arguments
        sys.path.insert(0, "")
        sys.argv = ["-c", *arguments]
        exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__ | {"__file__": None})
    elif kind == "-m":
        module, *arguments = arguments
        sys.path.insert(0, os.getcwd())
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
        sys.argv = [kind, *arguments]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    _job = _serve(socket.socket(fileno=int(sys.argv[1])))
    if _job is not None:
        _do(_job)
