"""How patient a search must be: recall against patience, found for sample queries.

Where there are no others, rows stand for queries: each is searched for among all, itself left out,
and what is found is held against the true nearest. Queries from elsewhere than the rows may be
harder or easier.

Under the inner product rows are items and queries most often users, who lie elsewhere. There each
row stands also for a user: :func:`users_of` makes of it and another one what least squares makes of
a user of these two items, (XᵀX)⁻¹ (x + y), the vector that ALS gives (Hu, Koren & Volinsky 2008,
equation 4, all confidences alike). It follows the factors' own freedom: of rows XA instead of X,
with users UA⁻ᵀ instead of U, which have the same products, the same come out. Of both kinds, that
counts of which less is found. Asked for .95, the users of seven factorisations, by ALS and BPR,
found .96 to .998; where rows alone stood for them, .82 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.jit import kernel
from ..core.vectors import FloatMatrix, RowView

#: Queries of a kind; the standard error of a recall of .95 is then about .006.
SAMPLE, K = 256, 10
PATIENCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096)
_BLOCK = 1 << 15
#: Rows that XᵀX is estimated from, and what is added to its diagonal, as a share of the mean there.
_ROWS, _RIDGE = 1 << 16, 0.01
Mask = npt.NDArray[np.bool_]
RowMatrix = npt.NDArray[np.int64]
Curve = npt.NDArray[np.float64]
#: The rows found for queries at a patience, at least K + 1 for each.
Find = Callable[[FloatMatrix, int], RowMatrix]


class Cases(NamedTuple):
    """Queries with their answers."""

    queries: FloatMatrix
    """(q, d)."""
    chosen: RowMatrix
    """(q,): the row that each stands for, which no search for it shall find; -1: none."""
    truth: RowMatrix
    """(q, K): the true nearest, or -1 where there are fewer."""
    kinds: int
    """Of how many kinds they are: as many of each, one after the other."""


def cases_of(rows: RowView, held: Mask, metric: int, seed: int, given: FloatMatrix | None) -> Cases:
    """At most :data:`SAMPLE` of given queries, or else rows of those that are held, and users."""
    if given is not None:
        queries, kinds = np.ascontiguousarray(given[:SAMPLE], dtype=np.float32), 1
        chosen = np.full(len(queries), -1, dtype=np.int64)
    else:
        among = np.flatnonzero(held & (rows.norms > 0) if metric == 1 else held)
        drawn = np.random.default_rng(seed).choice(among, min(SAMPLE, len(among)), replace=False)
        chosen = np.sort(drawn)
        queries, kinds = rows.matrix[chosen], 1
        if metric == 1 and len(chosen):
            queries = np.concatenate([queries, users_of(rows, among, chosen, seed)])
            chosen, kinds = np.concatenate([chosen, chosen]), 2
    return Cases(queries, chosen, _nearest(rows, held, queries, chosen, metric), kinds)


def users_of(rows: RowView, among: RowMatrix, chosen: RowMatrix, seed: int) -> FloatMatrix:
    """A user for each of some rows, of that and another one of ``among``; (chosen, d), of length 1.

    ``among`` are the rows of a length above 0; XᵀX is of some of them.
    """
    some = rows.matrix[among[:: -(-len(among) // _ROWS)]].astype(np.float64)
    gram = some.T @ some
    gram[np.diag_indices(len(gram))] += _RIDGE * np.trace(gram) / len(gram)
    others = np.random.default_rng(seed).choice(among, len(chosen))
    sums = rows.matrix[chosen].astype(np.float64) + rows.matrix[others]
    users = np.linalg.solve(gram, sums.T).T
    users /= np.maximum(np.linalg.norm(users, axis=1, keepdims=True), 1e-300)
    return np.ascontiguousarray(users, dtype=np.float32)


def _nearest(
    rows: RowView, held: Mask, queries: FloatMatrix, chosen: RowMatrix, metric: int
) -> RowMatrix:
    """The :data:`K` nearest of queries among the rows that are held, but for ``chosen``; (q, K)."""
    matrix, norms = rows.matrix, rows.norms
    found = np.full((len(queries), K), -1, dtype=np.int64)
    scores = np.full((len(queries), K), -np.inf, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, len(matrix), _BLOCK):
            products = queries @ matrix[start : start + _BLOCK].T
            if metric == 0:
                products /= norms[start : start + _BLOCK]
            elif metric == 2:
                products = 2 * products - np.square(norms[start : start + _BLOCK])
            _update(products, held, start, chosen, found, scores)
    return found


@kernel
def _update(
    products: FloatMatrix,
    held: Mask,
    start: int,
    chosen: RowMatrix,
    found: RowMatrix,
    scores: FloatMatrix,
) -> None:
    for at in range(len(products)):
        line, rows, best = products[at], found[at], scores[at]
        for place in range(len(line)):
            row = start + place
            if line[place] > best[-1] and row != chosen[at] and held[row]:
                to = len(best) - 1
                while to > 0 and best[to - 1] < line[place]:
                    best[to], rows[to] = best[to - 1], rows[to - 1]
                    to -= 1
                best[to], rows[to] = line[place], row


def measure(find: Find, cases: Cases, target: float) -> Curve:
    """(patiences, 3): patience, recall and its standard error, up to the first recall that is
    above ``target`` by that."""
    curve = []
    for patience in PATIENCES:
        found, error = recall(find(cases.queries, patience), cases)
        curve.append((patience, found, error))
        if found - error >= target:
            break
    return np.array(curve)


def recall(found: RowMatrix, cases: Cases) -> tuple[float, float]:
    """The mean share of the true nearest that was found, and its standard error; of the kind of
    queries of which less was."""
    shares = []
    for line, itself, wanted in zip(found, cases.chosen, cases.truth, strict=True):
        others, there = line[line != itself][:K], wanted[wanted >= 0]
        shares.append(np.isin(there, others).mean() if len(there) else 1.0)
    if not shares:
        return 1.0, 0.0
    least = min(np.reshape(shares, (cases.kinds, -1)), key=np.mean)
    return float(np.mean(least)), float(np.std(least) / np.sqrt(len(least)))


def patience_for(curve: Curve, target: float) -> int:
    """The least patience whose recall, less its error, reaches a target.

    Between two measured ones it is found by its logarithm. Beyond the last measured one it doubles
    for each halving of what is missed.
    """
    patiences, recalls = curve[:, 0], np.maximum.accumulate(curve[:, 1] - curve[:, 2])
    at = int(np.searchsorted(recalls, target))
    if at == 0:
        return int(patiences[0])
    if at < len(curve):
        share = (target - recalls[at - 1]) / max(recalls[at] - recalls[at - 1], 1e-9)
        low, high = log(patiences[at - 1]), log(patiences[at])
        return int(np.ceil(exp(low + share * (high - low)) - 1e-9))
    missed = max(1 - recalls[-1], 1e-3) / max(1 - target, 1e-4)
    return int(np.ceil(patiences[-1] * max(1.0, missed)))
