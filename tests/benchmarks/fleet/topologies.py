"""Who calls whom."""

from __future__ import annotations

import random

Calls = dict[int, list[int]]
"""By the number of a node, those that it calls: at each of its turns one of them, in turn."""


def star(nodes: int, rng: random.Random) -> Calls:
    """All call one hub."""
    return {n: [0] for n in range(1, nodes)}


def tree(nodes: int, rng: random.Random) -> Calls:
    """A hub, about as many hubs below it as each of those has edges."""
    hubs = max(1, round((nodes - 1) ** 0.5))
    return {n: [0] if n <= hubs else [1 + (n - hubs - 1) % hubs] for n in range(1, nodes)}


def chain(nodes: int, rng: random.Random) -> Calls:
    """Each calls the one before it."""
    return {n: [n - 1] for n in range(1, nodes)}


def mesh(nodes: int, rng: random.Random) -> Calls:
    """Each calls four others, drawn once; a ring among them, so that all are connected."""
    return {
        n: [(n + 1) % nodes, *rng.sample([m for m in range(nodes) if m != n], min(3, nodes - 1))]
        for n in range(nodes)
    }


TOPOLOGIES = {"star": star, "tree": tree, "chain": chain, "mesh": mesh}
