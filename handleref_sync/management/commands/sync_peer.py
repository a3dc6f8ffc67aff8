"""Synchronise with peers."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from handleref_sync.capture import install, schema
from handleref_sync.exceptions import ConfigurationError, NotInstalled, SyncError
from handleref_sync.management.base import SyncCommand
from handleref_sync.management.progress import progress_bar
from handleref_sync.models import Peer
from handleref_sync.session import Report, sync
from handleref_sync.transport.client import HttpTransport


class Command(SyncCommand):
    help = "Pull from and push to the named peers; without names, to every peer that has a URL."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="peers (default: all that have a URL)")
        parser.add_argument("--pull", action="store_true", help="pull only")
        parser.add_argument("--push", action="store_true", help="push only")
        parser.add_argument("--dry-run", action="store_true", help="say what would move, and move nothing")
        parser.add_argument("--json", action="store_true", help="print a JSON list of reports")

    def run(self, using: str, options: dict[str, Any]) -> None:
        schema.refuse_lacking(using)
        missing = install.missing(using)
        if missing:
            raise NotInstalled(
                f"Writes to {', '.join(missing)} are not captured: triggers are missing.",
                hint="Run manage.py migrate, which installs them.",
            )
        peers = self._peers(using, options["names"])
        both = options["pull"] == options["push"]
        reports = []
        for peer in peers:
            with progress_bar(peer.name, quiet=options["json"]) as progress:
                reports.append(
                    self._sync(
                        using,
                        peer,
                        pull=both or options["pull"],
                        push=both or options["push"],
                        dry_run=options["dry_run"],
                        progress=progress,
                    )
                )
            if not options["json"]:
                self.stdout.write(line(reports[-1], options["dry_run"]))
        if options["json"]:
            self.print_json([report.as_dict() for report in reports])
        failed = [report.peer for report in reports if report.error]
        if failed:
            raise CommandError(f"{len(failed)} of {len(reports)} failed: {', '.join(failed)}.", returncode=1)

    def _peers(self, using: str, names: list[str]) -> list[Peer]:
        peers = {peer.name: peer for peer in Peer.objects.using(using).order_by("name")}
        unknown = sorted(set(names) - set(peers))
        if unknown:
            raise ConfigurationError(
                f"There is no peer {', '.join(unknown)}.",
                hint=f"Known are {', '.join(peers) or 'none'}; see sync_join.",
            )
        passive = sorted(name for name in names if not peers[name].url)
        if passive:
            raise ConfigurationError(
                f"{', '.join(passive)} has no URL: it calls this node.", hint="Run sync_peer there instead."
            )
        peers = {name: peer for name, peer in peers.items() if names or not peer.revoked}
        chosen = [peers[name] for name in names] or [peer for peer in peers.values() if peer.url]
        if not chosen and peers:
            raise ConfigurationError(
                f"There is no peer to call: {', '.join(peers)} {'has' if len(peers) == 1 else 'have'} no URL, "
                f"and {'calls' if len(peers) == 1 else 'call'} this node.",
                hint="Run sync_peer there instead.",
            )
        if not chosen:
            raise ConfigurationError("There is no peer to call.", hint="Pair with one: sync_invite, then sync_join.")
        return chosen

    def _sync(self, using: str, peer: Peer, **options: Any) -> Report:
        transport = HttpTransport(using, peer)
        try:
            return sync(using, peer, transport, **options)
        except SyncError as error:  # a lease that another process holds
            return Report(peer.name, error=error.sentence(), reason=error.reason)
        finally:
            transport.close()


def line(report: Report, dry_run: bool) -> str:
    """What one round did, as one line."""
    notes = "".join(f"; {note}" for note in report.notes)
    if report.error:
        return f"{report.peer}: failed: {report.error}{notes}"
    if dry_run:
        return f"{report.peer}: would pull about {report.to_pull} and push about {report.to_push}{notes}"
    unsettled = "" if report.settled else ", unsettled"
    return (
        f"{report.peer}: pulled {report.pulled}, pushed {report.pushed}, conflicts {report.conflicts}, "
        f"parked {report.parked}{unsettled}, {report.bytes} bytes, {report.seconds:.2f} s{notes}"
    )
