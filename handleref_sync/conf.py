"""The ``HANDLEREF_SYNC`` setting, as one documented dataclass that is read lazily."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from handleref_sync.exceptions import ConfigurationError

NODE_ID = re.compile(r"^[a-z0-9][a-z0-9-]{0,59}$")


OPTIONS = {"identity", "exclude", "resolver", "renamed", "on_unique"}
"""What may be said of a single model."""


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: type(value) is int and value >= least, f"a whole number, {least} or more"


def is_url(value: Any) -> bool:
    """Whether it is a URL to which ``v1/hello/`` can be added: http or https, a host, and a path at most."""
    if not (isinstance(value, str) and re.fullmatch("[!-~]{1,500}", value)):
        return False
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not set("?#") & set(value)
        )
    except ValueError:  # a port that is none
        return False


URLS = "an http or https URL without ? or #, such as https://hq.example/sync/"


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e9


_TEXT: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, str), "a text")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "node": _TEXT,
    "url": (lambda value: value == "" or is_url(value), URLS),
    "database": _TEXT,
    "page_rows": _whole(1),
    "max_rows": _whole(1),
    "max_body": _whole(1),
    "max_plain": _whole(1),
    "retries": _whole(0),
    "invite_ttl": _whole(1),
    "max_parked": _whole(1),
    "check_place": (lambda value: isinstance(value, bool), "True or False"),
    "high_water_mark": (lambda value: isinstance(value, (str, os.PathLike)), "a path"),
    "timeout": (_seconds, "seconds, more than 0"),
    "parked_alert": (_seconds, "seconds, more than 0"),
    "max_clock_skew": (_seconds, "seconds, more than 0"),
}


@dataclass(frozen=True)
class Settings:
    """What ``HANDLEREF_SYNC`` may hold; the keys are these names in upper case."""

    node: str = ""
    """This node's ID: a short slug, unique in the network."""
    url: str = ""
    """Where other nodes reach this one, up to and with the prefix of its urls. Empty: it only calls others."""
    models: tuple[str, ...] = ()
    """Labels of replicated models that aren't HandleRefModels."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options by label, when MODELS is a dict: what ``class HandleRef`` would say."""
    database: str = "default"
    """The database alias that is this node."""
    max_clock_skew: float = 300.0
    """Seconds that two wall clocks may differ."""
    page_rows: int = 2000
    """Records in a page."""
    max_rows: int = 20_000
    """Records in a page that is accepted."""
    max_body: int = 64 * 1024 * 1024
    """Bytes of a message on the wire."""
    max_plain: int = 256 * 1024 * 1024
    """Bytes of a message after decompression."""
    timeout: float = 60.0
    """Seconds that a peer may take to answer."""
    max_parked: int = 100_000
    """Changes of one peer that may be parked here."""
    check_place: bool = True
    """Whether to refuse to sync a database that is not where it was; off where its place changes at each start."""
    high_water_mark: str = ""
    """Path of a file outside of the database that keeps how far it was. Empty: there is none."""
    parked_alert: float = 7 * 86400.0
    """Seconds that a change may be parked before sync_status raises it."""
    retries: int = 3
    """How often a request is tried again when the connection fails."""
    invite_ttl: int = 86400
    """Seconds that an invite token lives."""


def load(raw: object) -> Settings:
    """Settings from the dict `raw`. Raises ConfigurationError for an unknown key or a wrong type."""
    if not isinstance(raw, Mapping):
        raise ConfigurationError("HANDLEREF_SYNC is not a dict.", hint='Write HANDLEREF_SYNC = {"NODE": "hq"}.')
    known = {f.name.upper(): f for f in fields(Settings) if f.name != "options"}
    unknown = sorted(set(map(str, raw)) - set(known))
    if unknown:
        raise ConfigurationError(
            f"HANDLEREF_SYNC has an unknown key: {', '.join(unknown)}.", hint=f"Known are {', '.join(sorted(known))}."
        )
    values: dict[str, Any] = {key.lower(): value for key, value in raw.items()}
    models = values.get("models", ())
    if isinstance(models, str) or not isinstance(models, (list, tuple, set, Mapping)):
        raise ConfigurationError("HANDLEREF_SYNC['MODELS'] is not a list.", hint='Write ["auth.User"].')
    if isinstance(models, Mapping):
        values["options"] = {str(label).lower(): _options(str(label), options) for label, options in models.items()}
    values["models"] = tuple(str(label).lower() for label in models)
    for key, value in values.items():
        check = _KINDS.get(key)
        if check is not None and not check[0](value):
            raise ConfigurationError(f"HANDLEREF_SYNC['{key.upper()}'] is {value!r}.", hint=f"It takes {check[1]}.")
    node = values.get("node", "")
    if node and not NODE_ID.fullmatch(node):
        raise ConfigurationError(
            f"HANDLEREF_SYNC['NODE'] is {node!r}.", hint="A node ID has lower-case letters, digits and dashes."
        )
    return Settings(**values)


def _options(label: str, options: object) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"HANDLEREF_SYNC['MODELS'][{label!r}] is {options!r}.",
            hint='It takes a dict, such as {"identity": "pk"}.',
        )
    unknown = sorted(set(map(str, options)) - OPTIONS)
    if unknown:
        raise ConfigurationError(
            f"HANDLEREF_SYNC['MODELS'][{label!r}] has an unknown option: {', '.join(unknown)}.",
            hint=f"Known are {', '.join(sorted(OPTIONS))}.",
        )
    if isinstance(options.get("exclude", ()), str):
        raise ConfigurationError(
            f"HANDLEREF_SYNC['MODELS'][{label!r}]['exclude'] is a text.", hint="It takes a list of field names."
        )
    return dict(options)


class _Lazy:
    """Reads the setting when it is first asked for something, and again after override_settings."""

    def __init__(self) -> None:
        self._loaded: Settings | None = None
        setting_changed.connect(self._reset)

    def _reset(self, *, setting: str, **kwargs: object) -> None:
        if setting == "HANDLEREF_SYNC":
            self._loaded = None

    @property
    def current(self) -> Settings:
        """The settings as one object: the same one until they change."""
        if self._loaded is None:
            self._loaded = load(getattr(django_settings, "HANDLEREF_SYNC", {}))
        return self._loaded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


settings = _Lazy()
