"""Where the peers come from: the package indexes, by their ordinary clients, into a folder that stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

MORANGO = ("morango==0.8.15", "Django==3.2.25", "setuptools<81", "waitress")
POUCHDB = ("pouchdb@9", "express-pouchdb@4", "express@4")
PYTHONS = ("3.9", "3.8", "3.10")
"""On which Django 3.2 runs."""


class Unavailable(Exception):
    """Why a peer can't be measured here."""


def _home() -> Path:
    """`BENCH_PEERS`, or a folder among the user's caches."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("BENCH_PEERS") or Path(cache) / "handleref-bench")


def morango() -> Path:
    """A Python that has Morango."""
    venv = _home() / "morango"
    python = venv / "bin" / "python"
    if not (venv / ".installed").exists():
        shutil.rmtree(venv, ignore_errors=True)
        _run([str(_python()), "-m", "venv", str(venv)], "a virtual environment for Morango")
        _run([str(python), "-m", "pip", "install", "--quiet", *MORANGO], "Morango")
        (venv / ".installed").touch()
    return python


def _python() -> Path:
    """An interpreter that is old enough: on the path, or where pyenv keeps those that it has."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in PYTHONS:
        found = [Path(name) for name in (shutil.which(f"python{version}"),) if name]
        for python in (*found, *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)):
            check = "import sys, venv, sqlite3; print('%d.%d' % sys.version_info[:2])"
            asked = subprocess.run([python, "-c", check], capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.strip() == version:
                return python
    raise Unavailable(f"Morango needs one of Python {', '.join(PYTHONS)}, and there is none here")


def pouchdb() -> Path:
    """A folder whose node_modules have PouchDB and express-pouchdb."""
    folder = _home() / "pouchdb"
    if not (shutil.which("node") and shutil.which("npm")):
        raise Unavailable("PouchDB needs node and npm, and they are not here")
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}')
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *POUCHDB], "PouchDB")
        (folder / ".installed").touch()
    return folder


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Unavailable(f"{what} can't be installed: {last}")
