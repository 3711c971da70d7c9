"""How patient a search must be: recall against patience, found for a sample of the rows.

Rows stand for queries: each is searched for among all, itself left out, and what is found is held
against the true nearest. Queries from elsewhere than the rows may be harder or easier.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np
import numpy.typing as npt

from ..core.jit import kernel
from ..core.vectors import FloatMatrix, RowView

#: Rows that stand for queries; the standard error of a recall of .95 is then about .006.
SAMPLE, K = 256, 10
PATIENCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096)
_BLOCK = 1 << 15
Mask = npt.NDArray[np.bool_]
RowMatrix = npt.NDArray[np.int64]
Curve = npt.NDArray[np.float64]


def sample_rows(held: Mask, seed: int) -> RowMatrix:
    """Some of the rows that are held, which stand for queries."""
    rows = np.flatnonzero(held)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(rows, min(SAMPLE, len(rows)), replace=False))


def nearest(rows: RowView, held: Mask, chosen: RowMatrix, metric: int) -> RowMatrix:
    """The :data:`K` nearest of some rows among all others that are held, (chosen, K)."""
    matrix, norms = rows.matrix, rows.norms
    queries = matrix[chosen]
    found = np.full((len(chosen), K), -1, dtype=np.int64)
    scores = np.full((len(chosen), K), -np.inf, dtype=np.float32)
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


def measure(
    find: Callable[[int], RowMatrix], chosen: RowMatrix, truth: RowMatrix, target: float
) -> Curve:
    """(patiences, 3): patience, recall and its standard error, up to the first recall that is
    above ``target`` by that.

    ``find`` gives the rows found for the chosen ones at a patience, at least K + 1 for each.
    """
    curve = []
    for patience in PATIENCES:
        found, error = recall(find(patience), chosen, truth)
        curve.append((patience, found, error))
        if found - error >= target:
            break
    return np.array(curve)


def recall(found: RowMatrix, chosen: RowMatrix, truth: RowMatrix) -> tuple[float, float]:
    """The mean share of the true nearest that was found, and its standard error."""
    shares = []
    for line, itself, wanted in zip(found, chosen, truth, strict=True):
        others, there = line[line != itself][:K], wanted[wanted >= 0]
        shares.append(np.isin(there, others).mean() if len(there) else 1.0)
    if not shares:
        return 1.0, 0.0
    return float(np.mean(shares)), float(np.std(shares) / np.sqrt(len(shares)))


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
