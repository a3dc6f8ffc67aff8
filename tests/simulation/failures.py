"""Every history that ever broke something, with what it was. The tests play them all."""

from __future__ import annotations

from tests.simulation.steps import At, Crash, History, Sync, Write

SEEDS: dict[int, str] = {
    3: "a later side that a resolver took over a deletion was written again with the timestamp that it had",
}
"""Seeds, with what was wrong. A seed stands for another history once `generate` or `writes` is changed."""

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
}
"""Histories in their shortest form, by what was wrong."""
