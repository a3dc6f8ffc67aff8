"""From a seed to a history."""

from __future__ import annotations

import random

from tests.simulation import kinds  # noqa: F401 - they register themselves
from tests.simulation.steps import (
    FAULTS,
    At,
    Backup,
    Clock,
    Crash,
    Flags,
    Forget,
    History,
    Join,
    Late,
    Link,
    Pair,
    Restore,
    Step,
    Sync,
    Wait,
    Write,
    WriteBack,
    name_of,
)
from tests.simulation.writes import THEMES

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
        themes = rnd.sample(sorted(THEMES), rnd.choice((1, 1, 2, 3)))
        self.kinds = [name for theme in themes for name in THEMES[theme]]
        self.rows = rnd.choice((1, 2, 3, 5, 2000))
        self.troubles = rnd.choice((0.0, 0.1, 0.4))
        late = tuple(name for name in self.names[1:] if rnd.random() < 0.1)
        length = rnd.randint(5, 15) if many else rnd.randint(8, 40)
        steps: list[Step] = [self.clock(name) for name in self.names if rnd.random() < 0.15]
        if rnd.random() < 0.7:
            steps += self.begin()
        steps += [self.step() for _ in range(length)]
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
            "restore": Restore(node, rnd.randint(0, 5), told=rnd.random() < 0.3),
            "pair": Pair(node, other),
            "forget": Forget(here, there),
            "flags": Flags(here, there, *(rnd.random() < 0.7 for _ in range(3))),
            "write back": WriteBack(node, rnd.randint(0, 9), dismiss=rnd.random() < 0.3),
        }
        weights = (3, 2, 3, 3, 4, 5, 1, 1, 4, 2)
        return choices[rnd.choices(list(choices), weights)[0]]

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
