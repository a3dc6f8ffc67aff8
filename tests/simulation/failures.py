"""Every history that ever broke something, with what it was. The tests play them all."""

from __future__ import annotations

from tests.simulation.steps import At, Backup, Clock, Crash, Gc, History, Restore, Rights, Sync, Write

SEEDS: dict[int, str] = {
    731800892495: "of the simulator: a request from before a restore, delivered at the end, is answered anew",
    3: "a later side that a resolver took over a deletion was written again with the timestamp that it had",
}
"""Seeds, with what was wrong. A seed stands for another history once `generate` or `writes` is changed."""

LOST_ITS_RIGHT = (
    "what waited for a unique value, and then lost its right, was covered by the vector and not passed on"
)
JOINED = "what had been joined with a version by fields, went with a deletion that did not know it, unlogged"
HISTORIES: dict[str, History] = {
    "a product with the timestamp of what it was made of": History(
        ("a", "b", "c"),
        (("c", "b"), ("b", "a"), ("a", "c")),
        (
            Write("b", "basket", a=1, b=3, value=7),
            Sync(
                "a",
                "b",
                meanwhile=(
                    At(3, Write("b", "price amount", a=1, value=9)),
                    At(24, Write("b", "delete basket", a=1, value=1), node="a"),
                    At(5, Sync("b", "c", rows=3, crash=Crash("c", 11, after=True), eager=True)),
                ),
            ),
            Write("a", "basket words", b=1, value=11),
        ),
    ),
    JOINED: History(
        ("a", "b", "c"),
        (("c", "a"), ("c", "b")),
        (
            Clock("a", offset=-5000),
            *(Write("c", "report", value=10), Write("c", "report", a=1, b=1, value=11)),
            *(Sync("a", "c"), Sync("c", "b", rows=1, eager=True), Write("c", "report body", a=1, value=2)),
            *(Write("a", "report", b=5, value=10), Write("c", "report parent", a=2, value=11)),
            *(Sync("b", "c", rows=1, eager=True), Write("b", "report title", a=1, b=1, value=12)),
            Write("b", "report body", a=1, b=3, value=2),
            Sync(
                "c",
                "a",
                rows=1,
                meanwhile=(
                    At(5, Sync("b", "c", rows=1)),
                    At(79, Write("a", "report title", a=3), node="a"),
                    At(6, Write("a", "delete report", a=3, b=1, value=15)),
                ),
            ),
            *(Write("b", "report parent", a=5, value=16), Sync("c", "b", rows=1)),
            Write("b", "delete report", b=1, value=18),
        ),
    ),
    LOST_ITS_RIGHT: History(
        ("a", "b"),
        (("a", "b"),),
        (
            *(Write("b", "account", a=1, b=1, value=3), Write("a", "account", a=3, b=1, value=1), Sync("a", "b")),
            Rights("b", "a", read_only=("refapp.account.login", "refapp.account", "refapp.account.email")),
            *(Restore("a", 2), Sync("a", "b")),
        ),
    ),
    "a backup from before a deletion, where the last that was known of it was from before the push": History(
        ("b", "c"),
        (("b", "c"),),
        (
            *(Write("b", "tag for items", a=1, b=1, value=21), Sync("c", "b"), Backup("c")),
            *(Write("b", "delete tag of items", value=25), Sync("b", "c"), Gc("b", late=0), Restore("c", 3)),
        ),
    ),
}
"""Histories in their shortest form, by what was wrong."""
