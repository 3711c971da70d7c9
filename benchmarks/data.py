"""Generated data for the benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
from itemspace import Ids, Sequences
from itemspace.core.vectors import FloatMatrix, unit_rows


def clustered(count: int, dim: int, queries: int, seed: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
    """Unit vectors in clusters within clusters, of sizes by a power law, as items have them.

    200 groups of 25 clusters; a cluster's share falls as rank^-0.8. Queries are further draws.
    """
    rng = np.random.default_rng(seed)
    groups = rng.standard_normal((200, 1, dim))
    centres = (groups + 0.7 * rng.standard_normal((200, 25, dim))).reshape(-1, dim)
    shares = np.arange(1, len(centres) + 1) ** -0.8
    shares = rng.permutation(shares / shares.sum())

    def draw(size: int) -> FloatMatrix:
        rows = np.empty((size, dim), dtype=np.float32)
        for start in range(0, size, 1 << 17):
            block = rows[start : start + (1 << 17)]
            chosen = rng.choice(len(centres), len(block), p=shares)
            block[:] = centres[chosen] + 0.5 * rng.standard_normal((len(block), dim))
        return unit_rows(rows)

    return draw(count), draw(queries)


def uniform(count: int, dim: int, queries: int, seed: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
    """Unit vectors without any structure: the hardest case."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.standard_normal((count + queries, dim)).astype(np.float32))
    return rows[:count], rows[count:]


def behaviour(count: int, users: int, events: int = 30, seed: int = 0) -> Sequences:
    """What users did with ``count`` items, if they are like those of a shop.

    2,000 clusters of items in 100 groups; a cluster's share falls as rank^-0.7, an item's appeal as
    (rank + count/500)^-0.75: a hundredth of the items then has a seventh of the events, as in the
    logs of Diginetica, Beauty and MovieLens. A user has four interests, clusters with weights by
    Dirichlet(0.7), and at least five events: seven of ten with an item of an interest, two with one
    of its group, one with any.
    """
    rng = np.random.default_rng(seed)
    groups, clusters = 100, 2000
    share = rng.permutation(np.arange(1, clusters + 1) ** -0.7)
    share /= share.sum()
    home = rng.choice(clusters, count, p=0.5 * share + 0.5 / clusters)
    appeal = rng.permutation((np.arange(count) + count / 500) ** -0.75)

    def draw(places: Any, chosen: Any, many: int) -> Any:
        """For each of some places an item that is there, by its appeal."""
        order = np.argsort(places, kind="stable")
        total = np.concatenate([[0], np.cumsum(appeal[order])])
        ends = np.searchsorted(places[order], np.arange(many + 1))
        low, high = total[ends[chosen]], total[ends[chosen + 1]]
        found = np.searchsorted(total, low + rng.random(len(chosen)) * (high - low), "right") - 1
        return order[np.minimum(found, count - 1)]

    lengths = 5 + rng.poisson(events - 5, users)
    user = np.repeat(np.arange(users), lengths)
    interests = rng.choice(clusters, (users, 4), p=share)
    borders = np.cumsum(rng.dirichlet([0.7] * 4, users), axis=1)[user]
    which = np.minimum((rng.random((len(user), 1)) > borders).sum(axis=1), 3)
    interest = interests[user, which]
    items, kind = draw(home, interest, clusters), rng.random(len(user))
    near, any_ = kind > 0.7, kind > 0.9
    items[near] = draw(home * groups // clusters, interest[near] * groups // clusters, groups)
    items[any_] = draw(np.zeros(count, dtype=int), np.zeros(any_.sum(), dtype=int), 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(Ids(np.arange(count)), items.astype(np.int32), offsets)
