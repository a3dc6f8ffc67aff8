"""What can happen in a history. A history is a list of steps, and prints as the Python that makes it again."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

FAULTS = {
    "drop-request": "the request never arrives",
    "drop-answer": "the server has done it, and the answer is lost",
    "cut-request": "the request arrives cut short",
    "cut-answer": "the answer arrives cut short, in the middle of a page",
    "duplicate": "the request arrives twice, and the first answer counts",
    "duplicate-late": "the request arrives twice, and the second answer counts",
    "delay": "some seconds pass until the answer is there",
}


class Step:
    """Prints as Python that makes it again, without what is at its default."""

    def __repr__(self) -> str:
        parts = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is MISSING:
                parts.append(repr(value))
            elif value != field.default:
                parts.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def step(cls: type) -> type:
    """A frozen dataclass with the form of `Step`."""
    return dataclass(frozen=True, repr=False)(cls)


@step
class Write(Step):
    """The application of `node` writes; what `kind` means is in `writes`, and what it writes to is by number."""

    node: str
    kind: str
    a: int = 0
    b: int = 0
    value: int = 0


@step
class At(Step):
    """`step` happens before the `n`-th call of a session; with `node`, at its `n`-th statement or soon after."""

    n: int
    step: Step
    node: str = ""


@step
class Crash(Step):
    """The process of `node` dies at its `statement`-th statement, before or `after` the database has it."""

    node: str
    statement: int
    after: bool = False


@step
class Sync(Step):
    """One round of `here` with `there`. `faults`: (number of the call, which of FAULTS)."""

    here: str
    there: str
    rows: int = 2000
    faults: tuple[tuple[int, str], ...] = ()
    meanwhile: tuple[At, ...] = ()
    crash: Crash | None = None
    eager: bool = False
    """Whether the next page is asked for while this one is applied, as over HTTP."""


@step
class Wait(Step):
    """Time passes."""

    seconds: int


@step
class Clock(Step):
    """From now on the clock of `node` is off by `offset` milliseconds and drifts by `drift` parts in a million."""

    node: str
    offset: int = 0
    drift: int = 0


@step
class Link(Step):
    """Two nodes can reach each other, or can't."""

    a: str
    b: str
    up: bool = True


@step
class Late(Step):
    """An old request of the history arrives once more: the `n`-th of those kept, counted from the last."""

    n: int


@step
class Backup(Step):
    """A copy of the database of `node` is put aside."""

    node: str


@step
class Restore(Step):
    """`node` goes on from its `n`-th backup; the first is how it was born.

    `told`: the operator says so at once. Otherwise it waits for a peer that knows more of it, if any.
    `elsewhere`: at another place than it was, so that it is refused until the operator says so.
    """

    node: str
    n: int
    told: bool = False
    elsewhere: bool = False


@step
class Move(Step):
    """The database of `node` is somewhere else now, and nobody has said so yet."""

    node: str


@step
class Copy(Step):
    """A copy of the database of `node`, or of its `n`-th backup, runs beside it. It is to become the node `name`."""

    node: str
    name: str
    n: int | None = None


@step
class Told(Step):
    """The operator says what happened to the database of `node`. One that was a copy is paired with `peer`."""

    node: str
    peer: str = ""


@step
class Gc(Step):
    """`node` drops the tombstones that are older than `keep` seconds and that all peers have.

    `late`: first it forgets the peers that lack one which is older than so many seconds.
    """

    node: str
    keep: int = 0
    late: int | None = None


@step
class Join(Step):
    """A node that comes late is set up."""

    node: str


@step
class Pair(Step):
    """Two nodes are paired, if they don't know each other or one has revoked the other."""

    a: str
    b: str


@step
class Forget(Step):
    """`node` forgets its peer. Unless it is for good, the two are paired anew at once."""

    node: str
    peer: str
    for_good: bool = False


@step
class Revoke(Step):
    """`node` believes nothing any more that its peer signs."""

    node: str
    peer: str


@step
class Rights(Step):
    """What `node` exchanges with its peer at all, and what of it that may not write. None: all models."""

    node: str
    peer: str
    only: tuple[str, ...] | None = None
    read_only: tuple[str, ...] = ()


@step
class Flags(Step):
    """What `node` lets its peer do."""

    node: str
    peer: str
    relay: bool = True
    can_pull: bool = True
    can_push: bool = True


@step
class WriteBack(Step):
    """The operator of `node` writes the `n`-th entry of its conflict log back, or dismisses it."""

    node: str
    n: int
    dismiss: bool = False


@step
class History(Step):
    """All of it. The nodes in `late` are not there until a Join; the network is healed in the `shape` at the end."""

    nodes: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    late: tuple[str, ...] = ()
    shape: str = "chain"

    def __repr__(self) -> str:
        lines = "".join(f"        {each!r},\n" for each in self.steps)
        rest = f"    late={self.late!r},\n" if self.late else ""
        return (
            f"History(\n    {self.nodes!r},\n    {self.links!r},\n    (\n{lines}    ),\n{rest}"
            f"    shape={self.shape!r},\n)"
        )


def name_of(number: int) -> str:
    """a, b, … z, then n26, n27, …"""
    return chr(97 + number) if number < 26 else f"n{number}"
