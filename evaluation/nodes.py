"""Node classification: how well vectors tell the labels of nodes, by the protocol of DeepWalk.

Perozzi et al. 2014, as in the scoring that its authors published (phanein/deepwalk, scoring.py).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import EmptyInput, InvalidOption, InvalidVectors, MissingExtra
from ..core.vectors import FloatMatrix, VectorSet, as_array, check_matrix, unit_rows
from .measures import Figures

Labels = npt.NDArray[np.bool_]
"""(n, classes): which labels each node has."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class NodeScores:
    """F1 of the labels that were predicted, per share of labelled nodes and shuffle."""

    nodes: int
    """How many nodes have labels."""
    classes: int
    shares: tuple[float, ...]
    micro: Figures
    """(shares, shuffles) float64, in [0, 1]."""
    macro: Figures
    """(shares, shuffles) float64, in [0, 1]."""

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Column names, and a row per share: means over the shuffles, and their deviations.

        The deviation is the root of the mean squared one (``numpy.std``).
        """
        columns = ["labelled", "micro-F1", "macro-F1", "micro std", "macro std"]
        rows = []
        for share, *figures in zip(self.shares, self.micro, self.macro, strict=True):
            means = [f"{values.mean():.4f}" for values in figures]
            rows.append([f"{share:.0%}", *means, *(f"{values.std():.4f}" for values in figures)])
        return columns, rows

    def to_dict(self) -> dict[str, Any]:
        """Every figure, for JSON."""
        return {
            "nodes": self.nodes,
            "classes": self.classes,
            "shares": list(self.shares),
            "micro_f1": self.micro.tolist(),
            "macro_f1": self.macro.tolist(),
        }


def node_classification(
    vectors: FloatMatrix | VectorSet,
    labels: Any,
    *,
    shares: tuple[float, ...] = SHARES,
    shuffles: int = 10,
    seed: int = 1,
    normalise: bool = False,
) -> NodeScores:
    """Learn the labels of some nodes from their vectors, and predict those of the others.

    One logistic regression per class (liblinear, C = 1), and for each test node as many labels as
    it has, the most probable ones (:func:`top_labels`). Deterministic from the seed; all shares
    of a shuffle divide the same order, and more shuffles begin with the same ones.

    A class without a node in the training part has probability 0, and one with all of them 1.

    Parameters
    ----------
    vectors
        (n, d), a row per node; those of a ``VectorSet`` in its own order.
    labels
        (n, classes) of true and false (or 1 and 0), a NumPy array or a SciPy sparse one. Nodes
        without labels are left out.
    shares
        Shares of the labelled nodes to learn from, each in (0, 1), rounded down to whole nodes.
    shuffles
        How often the nodes are divided anew, at least 1.
    normalise
        Whether the vectors are taken at length 1.

    Raises
    ------
    EmptyInput
        Fewer than two nodes have labels.
    InvalidOption, InvalidVectors
        A share that leaves nothing to learn from is an invalid option.
    MissingExtra
        Without scikit-learn.
    """
    _load_regression()
    matrix = vectors.matrix if isinstance(vectors, VectorSet) else check_matrix(vectors)
    truth = _check_labels(labels)
    if len(matrix) != len(truth):
        raise InvalidVectors(
            f"Expected a row of labels per vector; received {len(truth)} for {len(matrix)}."
        )
    if isinstance(shuffles, bool) or not isinstance(shuffles, int) or shuffles < 1:
        raise InvalidOption(
            f"shuffles is a whole number of at least 1; received {shuffles!r}.",
            option="shuffles",
            received=shuffles,
        )
    labelled = truth.any(axis=1)
    truth = truth[labelled]
    if len(truth) < 2:
        raise EmptyInput(f"{len(truth)} nodes have labels; at least 2 must.", path="labels")
    if not shares or not all(0 < share < 1 and int(share * len(truth)) for share in shares):
        raise InvalidOption(
            f"shares are between 0 and 1, and at least one of {len(truth)} labelled nodes each; "
            f"received {shares!r}.",
            option="shares",
            received=shares,
        )
    features = (unit_rows(matrix) if normalise else matrix)[labelled].astype(np.float64)
    found = np.empty((2, len(shares), shuffles))
    for shuffle in range(shuffles):
        order = np.random.default_rng([seed, shuffle]).permutation(len(truth))
        for at, share in enumerate(shares):
            known, asked = np.split(order, [int(share * len(truth))])
            scores = _score_classes(features[known], truth[known], features[asked])
            predicted = top_labels(scores, truth[asked].sum(axis=1))
            found[:, at, shuffle] = f1_scores(truth[asked], predicted)
    return NodeScores(len(truth), truth.shape[1], tuple(shares), *found)


def top_labels(scores: Figures, counts: npt.NDArray[np.int64]) -> Labels:
    """The ``counts[i]`` classes of the highest ``scores[i]``; of equal ones, the first classes."""
    order = np.argsort(-scores, axis=1, kind="stable")
    chosen = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order, np.arange(scores.shape[1]) < counts[:, None], axis=1)
    return chosen


def f1_scores(truth: Labels, predicted: Labels) -> tuple[float, float]:
    """Micro- and macro-F1, as scikit-learn's ``f1_score`` with ``zero_division=0``.

    The macro mean is over all classes: one that no node has, and that is predicted for none,
    counts as 0. Rare classes that are absent from the test part so lower it.
    """
    hits = (truth & predicted).sum(axis=0)
    named = truth.sum(axis=0) + predicted.sum(axis=0)
    return float(_f1(hits.sum(), named.sum())), float(_f1(hits, named).mean())


def _f1(hits: npt.NDArray[np.int64], named: npt.NDArray[np.int64]) -> Figures:
    share: Figures = 2 * hits / np.maximum(named, 1)
    return share


def _score_classes(features: Figures, truth: Labels, asked: Figures) -> Figures:
    """The log-odds of each class for each row of ``asked``, which order as the probabilities do.

    Liblinear runs without the GIL: classes are learned in threads, each by itself, so that the
    number of threads changes nothing.
    """
    regression = _load_regression()

    def learn(known: Labels) -> tuple[Figures, float]:
        if known.all() or not known.any():
            return np.zeros(features.shape[1]), np.inf if known.all() else -np.inf
        model = regression(solver="liblinear", C=1.0).fit(features, known)
        return model.coef_[0], float(model.intercept_[0])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        weights, biases = zip(*pool.map(learn, truth.T), strict=True)
    scores: Figures = asked @ np.stack(weights, axis=1) + np.array(biases)
    return scores


def _load_regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Node classification needs scikit-learn; pip install 'itemspace[evaluation]'.",
            extra="evaluation",
        ) from error
    return LogisticRegression


def _check_labels(labels: Any) -> Labels:
    """``labels`` as a dense boolean array of two dimensions, or :class:`InvalidOption`."""
    from scipy.sparse import issparse

    array = labels.toarray() if issparse(labels) else as_array(labels, "labels")
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InvalidOption(
            f"labels are an array (n, classes) of true and false, or of 1 and 0; received shape "
            f"{array.shape} of {array.dtype}.",
            option="labels",
            received=array.shape,
        )
    found: Labels = array.astype(np.bool_)
    return found
