"""For each rule of `rules`, a history that comes out well only because of it."""

from __future__ import annotations

from tests.simulation import failures
from tests.simulation.steps import (
    Backup,
    Clock,
    Copy,
    Crash,
    Flags,
    Gc,
    History,
    Join,
    Move,
    Pair,
    Restore,
    Rights,
    Step,
    Sync,
    Told,
    Wait,
    Write,
)

ALL_KNOW = (Write("a", "tag", value=1), Sync("b", "a"), Sync("c", "b"))
TWO_WRITE_IT = (*ALL_KNOW, Write("a", "tag name", value=5), Write("b", "tag name", value=6))
THREE_OF_A = tuple(Write("a", "tag", value=number) for number in (1, 2, 3))
ONE_ARRIVES = (*THREE_OF_A, Sync("b", "a", rows=1, faults=((3, "drop-request"),)))
RESTORED = (*ONE_ARRIVES, Restore("a", 0), Write("a", "tag", value=9), Sync("a", "b"))

READ_ONLY = Rights("a", "b", read_only=("testapp.tag",))
DAY = 86_400
LOST_ITS_RIGHT = failures.HISTORIES[failures.LOST_ITS_RIGHT]


def of(*steps: Step, nodes: str = "abc") -> History:
    """Nodes that all know each other."""
    names = tuple(nodes)
    links = tuple((one, other) for i, one in enumerate(names) for other in names[i + 1 :])
    return History(names, links, steps)


HISTORIES = {
    "whole clock": of(*TWO_WRITE_IT, Sync("c", "b"), Sync("a", "b")),
    "head": of(*ONE_ARRIVES, nodes="ab"),
    "whole exchange": of(
        Write("c", "tag", value=1),
        Sync("a", "c"),
        Write("a", "tag", value=2),
        Flags("b", "a", relay=False),
        Sync("b", "a"),
    ),
    "token": of(
        Write("a", "tag", value=1),
        Sync("b", "a"),
        Backup("a"),
        Write("a", "tag", value=2),
        Write("a", "tag", value=3),
        Sync("b", "a"),
        Restore("a", 1, told=True),
        Write("a", "tag", value=4),
        Sync("b", "a"),
        nodes="ab",
    ),
    "hello first": of(*RESTORED, nodes="ab"),
    "seen": of(*RESTORED, nodes="ab"),
    "met": of(*RESTORED, nodes="ab"),
    "log first": of(
        *ALL_KNOW,
        Backup("b"),
        Write("a", "tag name", value=5),
        Write("b", "tag name", value=6),
        Sync("b", "a", faults=((3, "drop-request"),)),
        Sync("c", "b", rows=1, faults=((3, "drop-request"),)),
        Restore("b", 1, told=True),
        Sync("a", "c"),
    ),
    "log": of(*TWO_WRITE_IT, Sync("a", "b")),
    "unite": of(*TWO_WRITE_IT, Sync("c", "b"), Sync("a", "b")),
    "causal time": of(
        Clock("a", 200_000),
        Write("a", "tag", value=1),
        Sync("b", "a"),
        Clock("a"),
        Write("a", "tag name", value=2),
        nodes="ab",
    ),
    "one transaction": of(
        *(
            step
            for statement in range(20, 80, 3)
            for step in (Write("a", "tag", value=statement), Sync("b", "a", crash=Crash("b", statement)))
        ),
        nodes="ab",
    ),
    "silence": of(Write("a", "tag", value=1), Write("b", "tag", value=2), nodes="ab"),
    "parked": of(Write("a", "label"), Write("b", "label"), Sync("a", "b"), nodes="ab"),
    "nothing to do": of(*ONE_ARRIVES, Restore("a", 0, told=True), nodes="ab"),
    "acknowledged": of(
        *(Write("a", "tag", value=1), Sync("b", "a"), Write("a", "delete tag")),
        *(Sync("a", "b", faults=((2, "drop-request"),)), Wait(2 * DAY), Gc("a", DAY)),
        nodes="ab",
    ),
    "buried": of(
        *(Write("a", "tag", value=1), Sync("b", "a"), Write("a", "delete tag"), Sync("c", "a")),
        *(Wait(2 * DAY), Gc("a", DAY, 0), Gc("c", DAY, 0)),
    ),
    "went back": of(
        *(Write("a", "tag", value=1), Sync("b", "a"), Backup("b"), Write("a", "delete tag"), Sync("b", "a")),
        *(Sync("b", "a"), Wait(2 * DAY), Gc("a", DAY), Restore("b", 1, told=True)),
        nodes="ab",
    ),
    "jump": of(
        *(Write("a", "tag", value=1), Sync("b", "a"), Write("a", "delete tag"), Sync("a", "c")),
        *(Wait(2 * DAY), Gc("a", DAY, 0), Gc("c", DAY, 0), Join("d"), Pair("a", "d"), Pair("b", "d"), Sync("d", "a")),
    ),
    "place": of(Write("a", "tag", value=1), Move("a"), Sync("b", "a"), nodes="ab"),
    "in the middle": of(Write("a", "tag", value=1), Copy("a", "copy"), nodes="ab"),
    "new node": of(
        *(Write("a", "tag", value=1), Sync("b", "a"), Copy("a", "copy"), Told("copy")),
        *(Write("a", "tag", value=2), Write("copy", "tag", value=3), Sync("b", "a"), Sync("copy", "b")),
        nodes="ab",
    ),
    "read only": of(*ALL_KNOW, READ_ONLY, Write("b", "tag name", value=5), Sync("b", "a")),
    "passed on": of(*ALL_KNOW, READ_ONLY, Write("b", "tag name", value=5), Sync("b", "a"), Sync("c", "a")),
    "covered": LOST_ITS_RIGHT,
    "new place": LOST_ITS_RIGHT,
    "joined": failures.HISTORIES[failures.JOINED],
    "cascade": of(
        Write("a", "owner"),
        Sync("b", "a"),
        Write("b", "cascaded"),
        Write("a", "delete owner"),
        Sync("b", "a"),
        nodes="ab",
    ),
}
