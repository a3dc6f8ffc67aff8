"""Where the time of a session goes: timers around the functions at which one stage ends and the next one begins.

The time of a stage is that of its functions without that of other stages inside them, so that the stages add up.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

STAGES = {
    "stamp": ("replication.stamping:stamp",),
    "read": ("replication.feed:read_page",),
    "encode": ("replication.page:to_message", "wire:pack", "wire:pack_message"),
    "compress": ("wire:compress",),
    "sign and verify": ("transport.auth:_sign", "transport.auth:_verify", "transport.auth:verify_body"),
    "send, and wait for the answer": ("requests:Session.post", "transport.caller:Answer.read"),
    "decompress": ("wire:decompress",),
    "decode": ("wire:unpack", "wire:unpack_around", "replication.page:from_message"),
    "decide": ("replication.plan:Planner.plan",),
    "write rows": ("replication.writing:Writer.write", "replication.arrivals:write"),
    "write stamps": ("replication.applier:Applier._stamp", "replication.arrivals:_stamp"),
    "commit, and the rest of applying": ("replication.applier:apply_page",),
    "the rest": ("session:sync", "replication.responder:Responder.handle"),
}
_spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
_lock = threading.Lock()
_own = threading.local()


def profile_stages() -> dict[str, Any]:
    """Begin to measure. Raises LookupError where the product has no such function any more."""
    for stage, places in STAGES.items():
        for place in places:
            _wrap(stage, place)
    return {}


def stages() -> dict[str, Any]:
    """Seconds by the clock, and of CPU, of each stage since it was last asked."""
    with _lock:
        found = {stage: list(_spent.get(stage, (0.0, 0.0))) for stage in STAGES}
        _spent.clear()
    return {"stages": found}


def _wrap(stage: str, place: str) -> None:
    name, _, path = place.partition(":")
    module = importlib.import_module(name if name == "requests" else f"handleref_sync.{name}")
    *owners, last = path.split(".")
    owner = functools.reduce(getattr, owners, module) if hasattr(module, owners[0] if owners else last) else None
    original = getattr(owner, last, None)
    if original is None:
        raise LookupError(f"{place} is not there any more: which function is it that does the stage {stage!r} now?")
    timed = _timed(stage, original)
    setattr(owner, last, timed)
    if not owners:  # also under the names by which other modules have imported it
        for other in [m for n, m in sys.modules.items() if n.startswith(("handleref_sync", "tests.benchmarks"))]:
            for key, value in list(vars(other).items()):
                if value is original:
                    setattr(other, key, timed)


def _timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        inner = getattr(_own, "inner", None)
        _own.inner = [0.0, 0.0]
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            with _lock:
                _spent[stage][0] += wall - _own.inner[0]
                _spent[stage][1] += cpu - _own.inner[1]
            _own.inner = inner
            if inner is not None:
                inner[0] += wall
                inner[1] += cpu

    return timed
