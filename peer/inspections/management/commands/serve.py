"""Serves the node with waitress, which is pure Python and runs wherever the node does."""

import signal
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from waitress.server import create_server


class Command(BaseCommand):
    help = "Serve this node over HTTP until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
        parser.add_argument("--threads", type=int, default=4, help="requests answered at once (default: 4)")

    def handle(self, *args: Any, host: str, port: int, threads: int, **options: Any) -> None:
        from node.wsgi import application

        try:
            server = create_server(application, host=host, port=port, threads=threads, ident=None)
        except (OSError, ValueError, OverflowError) as error:
            raise CommandError(f"Can't listen on {host} port {port}: {error}") from error
        # A name with several addresses gets several sockets, and with port 0 each its own port; any of them will do.
        listening = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
        address, real_port = listening[0]
        try:
            # Before the line is printed: whoever reads it may stop us at once.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            name = f"[{address}]" if ":" in address else address
            self.stdout.write(f"{settings.HANDLEREF_SYNC['NODE']} serves http://{name}:{real_port}/")
            self.stdout.flush()
            server.run()  # returns after `stop`, when the threads have ended (waitress gives them 5 s)
        finally:
            server.close()


def stop(number: int, frame: FrameType | None) -> None:
    """Being told to stop is no failure: status 0."""
    raise SystemExit(0)
