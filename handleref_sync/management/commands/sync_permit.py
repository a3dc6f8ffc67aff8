"""What a peer may do here."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.apps import apps
from django.db import transaction

from handleref_sync import registry
from handleref_sync.exceptions import ConfigurationError
from handleref_sync.management.base import SyncCommand
from handleref_sync.models import Peer
from handleref_sync.replication import lives
from handleref_sync.replication.ledger import local_node
from handleref_sync.replication.rights import default_read_only

FLAGS = {"pull": "can_pull", "push": "can_push", "relay": "relay"}


class Command(SyncCommand):
    help = "Show or set what a peer may do here: read, write, pass on; which models, and which fields not."

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the peer")
        flag = BooleanOptionalAction
        parser.add_argument("--pull", action=flag, help="it may read our changes")
        parser.add_argument(
            "--push", action=flag, help="it may bring us changes; without, it is a mirror of this node"
        )
        parser.add_argument(
            "--relay", action=flag, help="it may pass on what others wrote, and is believed whose it is"
        )
        models = parser.add_mutually_exclusive_group()
        models.add_argument("--models", nargs="+", metavar="APP.MODEL", help="exchange only these with it")
        models.add_argument("--all-models", action="store_true", help="exchange all that both replicate")
        fields = parser.add_mutually_exclusive_group()
        fields.add_argument(
            "--read-only", nargs="+", metavar="APP.MODEL[.FIELD]", help="what it may not write, and nothing else"
        )
        fields.add_argument(
            "--read-only-default", action="store_true", help="it may not write users' rights, passwords"
        )
        fields.add_argument("--writes-everything", action="store_true", help="it may write users' rights as well")
        parser.add_argument("--url", help="where it is reached; '' makes it passive")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def run(self, using: str, options: dict[str, Any]) -> None:
        local_node(using)
        values = {FLAGS[key]: options[key] for key in FLAGS if options[key] is not None}
        known = registry.replicated(using)
        if options["models"]:
            values["only_models"] = [_model(label, known) for label in options["models"]]
        if options["all_models"]:
            values["only_models"] = None
        if options["read_only"]:
            values["read_only"] = [_entry(name, known) for name in options["read_only"]]
        if options["read_only_default"]:
            values["read_only"] = None
        if options["writes_everything"]:
            values["read_only"] = []
        if options["url"] is not None:
            values["url"] = options["url"]
        with transaction.atomic(using=using):
            rows = Peer.objects.using(using).filter(name=options["name"])
            if not rows.exists():
                raise lives.no_peer(using, options["name"])
            if values:
                rows.update(**values)
        peer = rows.get()
        found = {
            "name": peer.name,
            "url": peer.url,
            **{key: getattr(peer, field) for key, field in FLAGS.items()},
            "models": peer.only_models,
            "read_only": default_read_only() if peer.read_only is None else peer.read_only,
            "revoked": peer.revoked,
        }
        if options["json"]:
            self.print_json(found)
            return
        for key, value in found.items():
            self.stdout.write(f"{key.replace('_', ' ')}: {in_words(key, value)}")


def in_words(key: str, value: Any) -> str:
    """A value of the list, for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return str(value) if value else {"models": "all", "url": "none, it is passive", "revoked": "no"}.get(key, "-")


def _model(label: str, known: Any) -> str:
    label = label.lower()
    if label not in known:
        raise ConfigurationError(f"{label} is not replicated here.", hint=f"These are: {', '.join(sorted(known))}.")
    return label


def _entry(name: str, known: Any) -> str:
    """A label, or a label with a field's name; both have to be there."""
    label, _, field = name.lower().rpartition(".") if name.count(".") > 1 else (name.lower(), "", "")
    _model(label, known)
    model = apps.get_model(label)
    if field and field not in {f.name.lower() for f in model._meta.local_concrete_fields}:
        names = ", ".join(sorted(f.name for f in model._meta.local_concrete_fields))
        raise ConfigurationError(f"{label} has no field {field}.", hint=f"It has: {names}.")
    return name.lower()
