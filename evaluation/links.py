"""Link prediction: hide links of a graph, then tell them from pairs that are not linked.

A pair scores by the product of its nodes' vectors; the measures see only the order of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import DimensionMismatch, EmptyInput, InvalidOption, InvalidVectors
from ..core.vectors import FloatMatrix, VectorSet, as_array, check_matrix, unit_rows
from .measures import Estimate, Figures

Pairs = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]

#: Resamplings behind an interval.
ROUNDS = 200
#: Pairs that are scored together.
BLOCK = 16_384


@dataclass(frozen=True, eq=False)
class LinkSplit:
    """Learn from :attr:`train`; then score the :attr:`positives` above the :attr:`negatives`.

    Each is (m, 2) int64: a pair of node rows, at least 0, per line.
    """

    train: Pairs
    positives: Pairs
    """Links that are hidden from training; at least one."""
    negatives: Pairs
    """Pairs that are not linked; at least one."""

    def __post_init__(self) -> None:
        for name in ("train", "positives", "negatives"):
            pairs = _check_pairs(getattr(self, name), name)
            if not len(pairs) and name != "train":
                raise EmptyInput(f"The split has no {name}.", path=name)
            object.__setattr__(self, name, pairs)


@dataclass(frozen=True)
class LinkScores:
    """How well scores tell links from pairs that are not linked."""

    auc: Estimate
    average_precision: Estimate
    """Near the share of links among the pairs where scores are chance: 0.5 for half and half."""


def hide_links(
    links: Any,
    nodes: int,
    *,
    share: float = 1 / 3,
    seed: int = 1,
    directed: bool = False,
    keep_connected: bool = False,
) -> LinkSplit:
    """Hide a random share of the links, and draw as many pairs that are not linked.

    The default is the protocol of EGES (Wang et al. 2018); ``share=0.5, keep_connected=True`` that
    of node2vec (Grover & Leskovec 2016). Negatives are drawn uniformly and without
    repetition, in dense graphs too. Deterministic from the seed.

    Parameters
    ----------
    links
        (m, 2) rows of nodes. Self-loops are dropped; a link that comes again counts once.
    nodes
        How many nodes there are, n; rows are in [0, n).
    share
        The share of the links to hide, in (0, 1), in whole links; at least one stays.
    directed
        Whether (i, j) and (j, i) are two links. If not, all pairs come back with i < j.
    keep_connected
        Whether the links that stay connect all that the links connected (weakly, if directed):
        those of a random spanning forest are never hidden.

    Raises
    ------
    EmptyInput
        No link can be hidden.
    InvalidOption
        An option out of its range; a row outside of the nodes; more to hide than the spanning
        forest spares, or than there are unlinked pairs.
    """
    if not 0 < share < 1:
        raise _invalid("share", "between 0 and 1", share)
    if isinstance(nodes, bool) or not isinstance(nodes, int | np.integer) or nodes < 1:
        raise _invalid("nodes", "a whole number of at least 1", nodes)
    rng = np.random.default_rng(seed)
    numbering = _Numbering(int(nodes), directed)
    pairs = _check_pairs(links, "links", int(nodes))
    linked = np.unique(numbering.numbers(pairs[pairs[:, 0] != pairs[:, 1]]))
    forest = _spanning_forest(linked, numbering, rng) if keep_connected else linked[:0]
    loose = np.setdiff1d(linked, forest, assume_unique=True)
    count = min(round(share * len(linked)), len(linked) - 1)
    if count < 1 or not len(loose):
        raise EmptyInput(
            f"Nothing to hide: {share:.4g} of {len(linked)} links, {len(loose)} of which may go.",
            path="links",
        )
    free = numbering.total - len(linked)
    if count > min(len(loose), free):
        raise InvalidOption(
            f"Cannot hide {count} of {len(linked)} links: {len(loose)} may go, and {free} pairs "
            "are not linked; hide a smaller share.",
            option="share",
            received=share,
        )
    hidden = np.sort(rng.choice(loose, count, replace=False))
    drawn = np.sort(rng.choice(free, count, replace=False))
    # The k-th unlinked number stands above k others, and above every linked one that stands above
    # at most k of them.
    unlinked = drawn + np.searchsorted(linked - np.arange(len(linked)), drawn, side="right")
    train = np.setdiff1d(linked, hidden, assume_unique=True)
    return LinkSplit(*map(numbering.pairs, (train, hidden, unlinked)))


def link_prediction(
    vectors: FloatMatrix | VectorSet,
    split: LinkSplit,
    *,
    outputs: FloatMatrix | VectorSet | None = None,
    operator: Literal["inner_product", "cosine"] = "inner_product",
    seed: int = 1,
) -> LinkScores:
    """Score the pairs of a split, (i, j) by x_i · y_j, with 95 % bootstrap intervals.

    Parameters
    ----------
    vectors
        x, a row per node; those of a ``VectorSet`` in its own order.
    outputs
        y, such as the output vectors of a skip-gram model; x where left out.
    operator
        ``cosine`` takes every row at length 1; a zero row stays zero.
    seed
        Of the intervals, for which positives and negatives are resampled separately.

    Raises
    ------
    InvalidVectors
        A matrix has fewer rows than the split has nodes, or the two differ in dimension.
    InvalidOption
        An unknown operator.
    """
    if operator not in ("inner_product", "cosine"):
        raise _invalid("operator", "inner_product or cosine", operator)
    everything = (split.train, split.positives, split.negatives)
    nodes = 1 + max(int(pairs.max(initial=-1)) for pairs in everything)
    x = _matrix(vectors, "vectors", nodes, operator == "cosine")
    y = x if outputs is None else _matrix(outputs, "outputs", nodes, operator == "cosine")
    if x.shape[1] != y.shape[1]:
        raise DimensionMismatch(
            f"Expected outputs of {x.shape[1]} dimensions, as the vectors; received {y.shape[1]}.",
            expected=x.shape[1],
            received=y.shape[1],
        )
    found, missed = _places(_scores(x, y, split.positives), _scores(x, y, split.negatives))
    value = _measures(found, missed)
    rng = np.random.default_rng(seed)
    resampled = [
        _measures(rng.choice(found, len(found)), rng.choice(missed, len(missed)))
        for _ in range(ROUNDS)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return LinkScores(*map(Estimate, value, low.tolist(), high.tolist()))


def auc(positives: Any, negatives: Any) -> float:
    """The area under the ROC curve: how often a positive outscores a negative, ties one half.

    The Mann–Whitney statistic, counted in whole numbers, in O(n log n).

    Parameters
    ----------
    positives, negatives
        Scores, float64, higher is better. Infinity is a score; NaN is not.

    Raises
    ------
    EmptyInput, InvalidOption
    """
    return _measures(*_places(positives, negatives))[0]


def average_precision(positives: Any, negatives: Any) -> float:
    """The sum of (R_n − R_{n−1}) P_n over the distinct scores; equal scores are one threshold.

    As scikit-learn's ``average_precision_score``. Arguments and errors are those of :func:`auc`.
    """
    return _measures(*_places(positives, negatives))[1]


def _places(positives: Any, negatives: Any) -> tuple[Counts, Counts]:
    """The place of each score among the distinct ones, from the lowest."""
    both = [_check_scores(positives, "positives"), _check_scores(negatives, "negatives")]
    _, places = np.unique(np.concatenate(both), return_inverse=True)
    return places[: len(both[0])], places[len(both[0]) :]


def _measures(found: Counts, missed: Counts) -> tuple[float, float]:
    """AUC and average precision from the places of the positives and of the negatives."""
    size = 1 + max(int(found.max()), int(missed.max()))
    hits, misses = np.bincount(found, minlength=size), np.bincount(missed, minlength=size)
    halves = int(hits @ (2 * np.cumsum(misses) - misses))
    above, passed = np.cumsum(hits[::-1]), np.cumsum((hits + misses)[::-1])
    precision = above / np.maximum(passed, 1)
    return halves / (2 * len(found) * len(missed)), float(hits[::-1] @ precision / len(found))


class _Numbering:
    """Every pair of two nodes as a number in [0, total): a set of links is a set of numbers.

    Undirected, i < j, the pair is j (j − 1) / 2 + i; directed, i (n − 1) + j, less 1 where j > i.
    """

    def __init__(self, nodes: int, directed: bool) -> None:
        rows = np.arange(nodes + 1)
        self.nodes, self._directed = nodes, directed
        self._starts = rows * (nodes - 1) if directed else rows * (rows - 1) // 2
        self.total = int(self._starts[-1])

    def numbers(self, pairs: Pairs) -> Counts:
        """The number of each pair."""
        row, other = pairs.T if self._directed else (pairs.max(axis=1), pairs.min(axis=1))
        numbers: Counts = self._starts[row] + other - (other > row)
        return numbers

    def pairs(self, numbers: Counts) -> Pairs:
        """The pair of each number."""
        row = np.searchsorted(self._starts, numbers, side="right") - 1
        other = numbers - self._starts[row]
        both = (row, other + (other >= row)) if self._directed else (other, row)
        return np.stack(both, axis=1)


def _spanning_forest(linked: Counts, numbering: _Numbering, rng: np.random.Generator) -> Counts:
    """The links of a random spanning forest: the smallest under random weights."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    ends, weights = numbering.pairs(linked).T, 1.0 + rng.permutation(len(linked))
    graph = coo_array((weights, (ends[0], ends[1])), shape=(numbering.nodes, numbering.nodes))
    kept = minimum_spanning_tree(graph).nonzero()
    return numbering.numbers(np.stack(kept, axis=1).astype(np.int64))


def _invalid(option: str, expected: str, received: Any) -> InvalidOption:
    message = f"{option} is {expected}; received {received!r}."
    return InvalidOption(message, option=option, received=received)


def _check_pairs(values: Any, what: str, nodes: int = np.iinfo(np.int64).max) -> Pairs:
    pairs = as_array(values, what)
    if not pairs.size:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise _invalid(what, "an array of whole numbers (m, 2)", f"{pairs.dtype} {pairs.shape}")
    low, high = int(pairs.min()), int(pairs.max())
    if low < 0 or high >= nodes:
        raise _invalid(what, f"made of rows in [0, {nodes})", low if low < 0 else high)
    return pairs.astype(np.int64)


def _check_scores(values: Any, what: str) -> Figures:
    scores = as_array(values, what)
    if not scores.size:
        raise EmptyInput(f"There are no {what} to compare.", path=what)
    if scores.ndim != 1 or scores.dtype.kind not in "fiu" or np.isnan(scores).any():
        raise _invalid(what, "an array of numbers (n,), none NaN", f"{scores.dtype} {scores.shape}")
    return scores.astype(np.float64)


def _matrix(vectors: FloatMatrix | VectorSet, what: str, nodes: int, unit: bool) -> FloatMatrix:
    matrix = vectors.matrix if isinstance(vectors, VectorSet) else check_matrix(vectors, what)
    if len(matrix) < nodes:
        raise InvalidVectors(
            f"Expected {what} of the split's {nodes} nodes; received {len(matrix)} rows."
        )
    return unit_rows(matrix) if unit else matrix


def _scores(x: FloatMatrix, y: FloatMatrix, pairs: Pairs) -> Figures:
    scores = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        source, target = pairs[start : start + BLOCK].T
        products = np.einsum("ij,ij->i", x[source], y[target], dtype=np.float64)
        scores[start : start + BLOCK] = products
    return scores
