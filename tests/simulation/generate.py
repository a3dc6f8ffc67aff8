"""From a seed to a history."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.simulation import kinds  # noqa: F401 - they register themselves
from tests.simulation.steps import (
    FAULTS,
    At,
    Backup,
    Clock,
    Copy,
    Crash,
    Flags,
    Forget,
    Gc,
    History,
    Join,
    Late,
    Link,
    Move,
    Pair,
    Restore,
    Revoke,
    Rights,
    Step,
    Sync,
    Told,
    Wait,
    Write,
    WriteBack,
    name_of,
)
from tests.simulation.writes import FIELDS, MODELS, THEMES

SHAPES = ("star", "chain", "ring", "mesh", "random")
DAY = 86_400_000
NUMBERS = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5)
"""By which rows are picked: mostly the same few."""
LIES = (-3_600_000, 3_600_000, -20_000 * DAY, 27_000 * DAY, 400_000, -200_000, 200_000, 30_000)
"""Milliseconds by which a wall clock is wrong: an hour, 1970, 2099, and what is still within the limit."""


def generate(seed: int, nodes: int | None = None) -> History:
    """The history of `seed`: always the same one. `nodes`: so many of them."""
    return _Generator(random.Random(seed)).history(nodes)


def links(shape: str, names: tuple[str, ...], rnd: random.Random) -> tuple[tuple[str, str], ...]:
    """Who knows whom, in a topology of that shape."""
    order = rnd.sample(names, len(names))
    chain = [(order[i], order[i + 1]) for i in range(len(order) - 1)]
    if shape == "star":
        pairs = [(order[0], name) for name in order[1:]]
    elif shape == "chain":
        pairs = chain
    elif shape == "ring":
        pairs = [*chain, (order[-1], order[0])] if len(order) > 2 else chain
    else:
        every = [(one, other) for i, one in enumerate(order) for other in order[i + 1 :]]
        most = len(every) if shape == "mesh" else rnd.randint(0, len(every) // 2)
        pairs = list(dict.fromkeys([*chain, *rnd.sample(every, min(most, 3 * len(order)))]))
    return tuple(pairs)


class _Generator:
    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.value = 0

    def history(self, count: int | None) -> History:
        rnd = self.rnd
        many = rnd.random() < 0.01
        few = rnd.choices(range(2, 9), (10, 16, 9, 3, 1, 1, 1))[0]
        count = count or (rnd.randint(9, 50) if many else few)
        self.names = tuple(name_of(number) for number in range(count))
        self.pairs = links(rnd.choice(SHAPES), self.names, rnd)
        self.themes = rnd.sample(sorted(THEMES), rnd.choice((1, 1, 2, 3)))
        self.kinds = [name for theme in self.themes for name in THEMES[theme]]
        self.rows = rnd.choice((1, 2, 3, 5, 2000))
        self.troubles = rnd.choice((0.0, 0.1, 0.4))
        late = tuple(name for name in self.names[1:] if rnd.random() < 0.1)
        length = rnd.randint(5, 15) if many else rnd.randint(8, 40)
        steps: list[Step] = [self.clock(name) for name in self.names if rnd.random() < 0.15]
        if rnd.random() < 0.7:
            steps += self.begin()
        self.copies: list[str] = []
        steps += [self.step() for _ in range(length)]
        for _ in range(rnd.choice((0, 0, 0, 1, 1, 2))):
            at = rnd.randint(0, len(steps))
            steps[at:at] = self.away()
        for name in late:
            steps.insert(rnd.randint(0, len(steps)), Join(name))
        return History(self.names, self.pairs, tuple(steps), late, rnd.choice(SHAPES))

    def begin(self) -> list[Step]:
        """A few rows that all know, so that what follows is about the same ones."""
        first = self.pairs[0][0]
        makers = [kind for kind in self.kinds if " " not in kind or kind.startswith(("owner for", "tag for"))]
        rows: list[Step] = []
        for kind in makers:
            self.value += 1
            rows += [Write(first, kind, number, number, self.value * 10 + number) for number in range(2)]
        return [*rows, *(Sync(there, here) for here, there in self.pairs)]

    def step(self) -> Step:
        rnd = self.rnd
        act = rnd.random()
        if act < 0.6:
            return self.write(rnd.choice(self.names))
        if act < 0.85:
            return self.sync(0)
        return self.event()

    def event(self) -> Step:
        """What happens less often."""
        rnd = self.rnd
        node, other = rnd.sample(self.names, 2)
        pair = rnd.choice(self.pairs)
        here, there = rnd.sample(pair, 2)
        choices: dict[str, Step] = {
            "wait": Wait(rnd.choice((1, 60, 700))),
            "clock": self.clock(node),
            "link": Link(*pair, up=rnd.random() < 0.5),
            "late": Late(rnd.choice((0, rnd.randint(0, 10), rnd.randint(0, 300)))),
            "backup": Backup(node),
            "restore": Restore(node, rnd.randint(0, 5), rnd.random() < 0.3, elsewhere=rnd.random() < 0.2),
            "pair": Pair(node, other),
            "forget": Forget(here, there, for_good=rnd.random() < 0.3),
            "revoke": Revoke(here, there),
            "rights": self.rights(here, there),
            "gc": Gc(node, *self.ages()),
            "move": Move(node),
            "told": Told(rnd.choice((node, *self.copies)), other),
            "flags": Flags(here, there, *(rnd.random() < 0.7 for _ in range(3))),
            "write back": WriteBack(node, rnd.randint(0, 9), dismiss=rnd.random() < 0.3),
        }
        weights = (3, 2, 3, 3, 4, 5, 2, 1, 1, 4, 3, 1, 2, 4, 2)
        chosen = rnd.choices([*choices, "copy"], [*weights, 2])[0]
        return self.copy(node) if chosen == "copy" else choices[chosen]

    def rights(self, here: str, there: str) -> Rights:
        """A few models that are exchanged, or that the peer may not write, or fields of such."""
        rnd = self.rnd
        labels = sorted({label for theme in self.themes for label in MODELS[theme]})
        only = read_only = ()
        if rnd.random() < 0.4:
            only = tuple(rnd.sample(labels, rnd.randint(1, len(labels))))
        if rnd.random() < 0.7:
            names = labels + [f"{label}.{field}" for label in labels for field in FIELDS.get(label, ())]
            read_only = tuple(rnd.sample(names, rnd.randint(1, min(3, len(names)))))
        return Rights(here, there, only or None, read_only)

    def ages(self) -> tuple[int, int | None]:
        """What is kept of tombstones, and when a peer is late: seconds."""
        return self.rnd.choice((0, 60, 86_400)), self.rnd.choice((None, None, 0, 86_400))

    def copy(self, node: str) -> Copy:
        self.copies.append(f"copy{len(self.copies)}")
        return Copy(node, self.copies[-1], None if self.rnd.random() < 0.5 else self.rnd.randint(0, 5))

    def away(self) -> list[Step]:
        """One is away, or goes back to a backup, while others delete and drop the tombstones; then it is back."""
        rnd = self.rnd
        gone = rnd.choice(self.names)
        others = [name for name in self.names if name != gone]
        pairs = [pair for pair in self.pairs if gone not in pair]
        deletes = [kind for kind in self.kinds if "delete" in kind] or self.kinds
        steps: list[Step] = [Backup(gone)]
        for _ in range(rnd.randint(1, 4)):
            steps.append(replace(self.write(rnd.choice(others)), kind=rnd.choice(deletes)))
        back = rnd.random() < 0.3
        rounds = [*pairs, *reversed(pairs)]
        steps += [Sync(*pair) for pair in ([*self.pairs, *reversed(self.pairs)] if back else rounds)]
        steps.append(Wait(rnd.choice((0, 700, 100_000))))
        keep, late = self.ages()
        steps += [Gc(name, keep, late) for name in others if rnd.random() < 0.8]
        steps += [self.write(rnd.choice((gone, rnd.choice(others)))) for _ in range(rnd.randint(0, 4))]
        steps.append(Restore(gone, rnd.randint(0, 5), rnd.random() < 0.5) if back else Pair(gone, rnd.choice(others)))
        return steps + [self.sync(0) for _ in range(rnd.randint(0, 3))]

    def write(self, node: str) -> Write:
        rnd = self.rnd
        self.value += 1
        value = self.value if rnd.random() < 0.75 else rnd.randint(0, 2)
        return Write(node, rnd.choice(self.kinds), rnd.choice(NUMBERS), rnd.choice(NUMBERS), value)

    def clock(self, node: str) -> Clock:
        rnd = self.rnd
        offset = rnd.choice(LIES) if rnd.random() < 0.3 else rnd.choice((0, 0, 0, -40, 40, 2_000, -5_000))
        return Clock(node, offset, rnd.choice((0, 0, 300, -300)))

    def sync(self, depth: int) -> Sync:
        rnd = self.rnd
        here, there = rnd.sample(rnd.choice(self.pairs), 2)
        faults = meanwhile = ()
        crash = None
        if rnd.random() < self.troubles:
            faults = tuple((rnd.randint(1, 6), rnd.choice(sorted(FAULTS))) for _ in range(rnd.randint(1, 2)))
        if rnd.random() < self.troubles:
            crash = Crash(rnd.choice((here, there)), rnd.randint(1, rnd.choice((15, 60, 250))), rnd.random() < 0.5)
        if depth < 2 and rnd.random() < 0.35:
            meanwhile = tuple(self.at(here, there, depth) for _ in range(rnd.randint(1, 3)))
        return Sync(here, there, self.rows, faults, meanwhile, crash, eager=rnd.random() < 0.5)

    def at(self, here: str, there: str, depth: int) -> At:
        rnd = self.rnd
        node = rnd.choice(("", here, there))
        number = rnd.randint(1, 100) if node else rnd.randint(1, 6)
        act = rnd.random()
        if act < 0.65:
            return At(number, self.write(rnd.choice((here, there))), node)
        return At(number, self.sync(depth + 1) if act < 0.95 else Late(rnd.randint(0, 20)), node)
