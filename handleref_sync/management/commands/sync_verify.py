"""Compare this node with a peer, and mend what differs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from handleref_sync.capture import install
from handleref_sync.exceptions import ConfigurationError, NotInstalled
from handleref_sync.management.base import SyncCommand
from handleref_sync.management.progress import progress_bar
from handleref_sync.replication.hello import refuse_unfinished
from handleref_sync.replication.ledger import local_node
from handleref_sync.transport.client import HttpTransport
from handleref_sync.verify import VerifyReport, check, verify
from handleref_sync.verify.report import Kind

LISTED = 20
"""How many keys of one model are printed; all of them are in ``--json``."""
IN_WORDS = {
    Kind.CONTENT: "one version with two contents",
    Kind.VERSION: "another version",
    Kind.CLOCK: "the same version, with another clock",
    Kind.HERE: "only here",
    Kind.THERE: "only there",
}
WHY = {
    "due": "comes with the next sync",
    "pending": "being written",
    "vanished": "its row is gone there",
    "unreadable": "can't be read",
    "parked": "parked",
    "outside": "written by a third node",
}
UNSEEN = {
    "unstamped": "a row without a stamp",
    "vanished": "a stamp without its row",
    "undead": "a deleted row is there",
}


class Command(SyncCommand):
    help = "Compare this node with a peer record by record; without a peer, only look for what no trigger has seen."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("peer", nargs="?", metavar="PEER", help="whom to compare with")
        parser.add_argument("--repair", action="store_true", help="mend what differs, and synchronise")
        parser.add_argument("--json", action="store_true", help="print what was found as one JSON document")

    def run(self, using: str, options: dict[str, Any]) -> None:
        local, name, repair = local_node(using), options["peer"], options["repair"]
        refuse_unfinished(local)
        if missing := install.missing(using):
            raise NotInstalled(
                f"Writes to {', '.join(missing)} are not captured: triggers are missing.",
                hint="Run manage.py migrate, which installs them and notes what they have missed.",
            )
        report = check(using, repair=repair) if name is None else self._compare(using, name, options)
        if options["json"]:
            self.print_json(report.as_dict())
        else:
            self.stdout.write("\n".join([*in_words(report, local.name), advice(report, local.name, repair)]))
        if not report.clean:
            raise CommandError(f"{local.name} is not as it should be: differences remain.", returncode=1)

    def _compare(self, using: str, name: str, options: dict[str, Any]) -> VerifyReport:
        peer = self.paired(using, name)
        if not peer.url:
            raise ConfigurationError(
                f"{name} has no URL: it calls this node.",
                hint="Run sync_verify there; without a peer, it looks at this node alone.",
            )
        transport = HttpTransport(using, peer)
        try:
            with progress_bar(name, quiet=options["json"]) as progress:
                return verify(using, peer, transport, repair=options["repair"], progress=progress)
        finally:
            transport.close()


def in_words(report: VerifyReport, node: str) -> Iterator[str]:
    """A line for each model, then what is the matter, then what was done."""
    for label in sorted(report.models.keys() | report.unseen.keys() | report.unseen_there.keys()):
        yield f"{label}: {_counts(report, label)}"
    for label, found in sorted(report.unseen.items()):
        lines = [
            f"  {node}: {label}, {word}: primary key {pk}"
            for what, word in UNSEEN.items()
            for pk in vars(found)[what]
        ]
        yield from _bounded(lines)
    for label, counts in sorted(report.unseen_there.items()):
        said = [f"{word}: {count}" for word, count in zip(UNSEEN.values(), counts, strict=True) if count]
        yield f"  {report.peer}: {label}, {', '.join(said)}"
    for label, model in sorted(report.models.items()):
        yield from _bounded(
            [
                f"  {label} {d.key}: {IN_WORDS[d.kind]} ({d.here or 'nothing'} here, {d.there or 'nothing'} there)"
                for d in model.differences
            ]
        )
    done = {
        "noted as written": sum(report.noted.values()),
        "kept": report.kept,
        "fetched": report.fetched,
        "pushed": report.pushed,
        "conflicts": report.conflicts,
    }
    if any(done.values()):
        yield "Mended: " + ", ".join(f"{count} {what}" for what, count in done.items() if count)
    yield from report.notes
    if report.peer:
        yield f"{report.peer}: {report.requests} requests, {report.bytes} bytes, {report.seconds:.2f} s"


def _counts(report: VerifyReport, label: str) -> str:
    behind = len(report.unseen.get(label, ())) + sum(report.unseen_there.get(label, ()))
    unseen = f"behind the triggers' back {behind}"
    found = report.models.get(label)
    if found is None:
        return unseen
    counts = found.as_dict()
    why = ", ".join(f"{count} {WHY[what]}" for what, count in counts["not_compared"].items())
    return (
        f"compared {counts['compared']}, equal {counts['equal']}, differing {counts['differing']}, "
        f"only here {counts['only_here']}, only there {counts['only_there']}, {unseen}, "
        f"not compared {sum(found.not_compared.values())}" + (f" ({why})" if why else "")
    )


def _bounded(lines: list[str]) -> Iterator[str]:
    yield from lines[:LISTED]
    if len(lines) > LISTED:
        yield f"  … and {len(lines) - LISTED} more; --json lists them all"


def advice(report: VerifyReport, node: str, repair: bool) -> str:
    """The sentence that says what to do."""
    if report.clean:
        if report.noted and not report.peer:
            return "What no trigger saw is noted as written now: the next sync brings it to others."
        due = any(found.not_compared for found in report.models.values())
        more = " What was not compared is listed above; sync and run it again." if due else ""
        return (f"{node} and {report.peer} have the same." if report.peer else f"{node} is in order.") + more
    command = f"manage.py sync_verify {report.peer}".strip()
    parts = []
    if report.differences or report.unseen:
        parts.append(f"run it again: {command} --repair" if repair else f"run {command} --repair")
    if report.unseen_there:
        parts.append(f"run manage.py sync_verify --repair on {report.peer}")
    said = "Something is left. To mend it, " if repair else "To mend it, "
    return said + ", and ".join(parts) + "."
