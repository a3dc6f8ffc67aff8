"""The old import path: every ``django_handleref…`` is the module of the same place here, and not a copy of it.

With copies there would be two HandleRefModels, and ``isinstance`` and ``issubclass`` would fail at random.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

OLD, NEW = "django_handleref", "handleref_sync"


class _Alias(Loader):
    """Hands out the module that is there already."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It has run under its own name. The import system has just given it the alias's spec; a module whose spec
        # and package differ can't do relative imports or be reloaded.
        module.__spec__ = self.spec


class AliasFinder(MetaPathFinder):
    """Comes before all other finders, so that the real package can't answer for a part of the names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != OLD and not fullname.startswith(f"{OLD}."):
            return None
        name = NEW + fullname[len(OLD) :]
        if importlib.util.find_spec(name) is None:
            # Not None: another finder would look in our own folders, or in those of the real package.
            raise ModuleNotFoundError(f"No module named {fullname!r}: there is no {name!r}", name=fullname)
        return ModuleSpec(fullname, _Alias(name), origin=f"alias of {name}")


def install() -> None:
    """Answer for the old names from now on. Calling it again changes nothing."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())


def real_package() -> str | None:
    """The file of the real django-handleref, if it could be imported were it not for us; None if it is not there."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(OLD, None) if find and not isinstance(finder, AliasFinder) else None
        if spec is not None and spec.origin is not None:  # a mere folder of that name has no origin
            return str(spec.origin)
    return None
