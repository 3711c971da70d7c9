"""Vectors from counted pairs: weighted, then factorised by a truncated eigendecomposition."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ..core.behaviour import Sequences
from ..core.errors import EmptyInput
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import FloatMatrix, VectorSet
from .options import (
    Configured,
    OneOf,
    Real,
    SearchSpace,
    Whole,
    check_choice,
    check_half_life,
    check_option,
    check_window,
    lineage_of,
)
from .pairs import Distance, count_pairs, weigh_pairs


class _Factorization(Configured):
    """What the factorisations share: count, weigh, factorise.

    The weights W are symmetric, so instead of the SVD's U·Σᵖ it is U·Λᵖ with the eigenvectors of
    the largest eigenvalues; those of negative ones, which the SVD would mix in with the wrong
    sign, are 0.
    """

    supports_vectors: ClassVar[bool] = True
    name_: ClassVar[str]
    dim: int
    window: int | None
    distance: Distance
    half_life: float | None
    eigenvalue_weighting: float
    metric: str
    seed: int

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count and factorise. Items without a positive weight get no vector.

        Raises
        ------
        InvalidOption
            An option out of its range.
        EmptyInput
            There are no pairs with a positive weight.
        """
        self._check_options()
        counts = count_pairs(
            sequences,
            window=self.window,
            distance=self.distance,
            half_life=self.half_life,
        )
        weights = self._weigh(counts) if counts.nnz else counts
        weights.eliminate_zeros()
        kept = np.flatnonzero(np.diff(weights.indptr))
        if not len(kept):
            raise EmptyInput("There are no pairs of items to learn from.", path="sequences")
        self.item_vectors_ = VectorSet(
            sequences.vocabulary[kept],
            self._factorise(weights[kept][:, kept]),
            Metric(self.metric),
            lineage_of(self.name_, self, sequences),
        )
        return self

    @abstractmethod
    def _weigh(self, counts: csr_array) -> csr_array:
        """The counts as symmetric weights of at least 0."""

    def _check_options(self) -> None:
        check_option(self, "dim", int, lambda v: v >= 1, "a whole number of at least 1")
        check_window(self)
        check_half_life(self)
        check_choice(self, "distance", ("flat", "harmonic"))
        check_option(self, "eigenvalue_weighting", float, lambda v: v >= 0, "at least 0")
        check_choice(self, "metric", ("cosine", "inner_product"))
        check_option(self, "seed", int, lambda v: v >= 0, "a whole number of at least 0")

    def _factorise(self, weights: csr_array) -> FloatMatrix:
        items = weights.shape[0]
        dim = min(self.dim, items - 1)
        sizes, vectors = top_eigenpairs(weights, dim, self.seed)
        powers = np.zeros(dim)
        powers[sizes > 0] = sizes[sizes > 0] ** self.eigenvalue_weighting
        matrix = np.zeros((items, self.dim), dtype=np.float32)
        matrix[:, :dim] = vectors * powers
        # An item that no kept eigenvector reaches: tiny, for zero has no direction.
        matrix[~matrix.any(axis=1), 0] = 1e-6
        return matrix


class PMIFactorization(_Factorization):
    """Vectors from shifted positive pointwise mutual information.

    Levy & Goldberg 2014: skip-gram with k negatives factorises PMI − log k implicitly; here it is
    done explicitly. Levy, Goldberg & Dagan 2015 for the options. Departure: eigenvectors instead
    of singular vectors, for the symmetrised weights; those of negative eigenvalues are left out.

    Parameters
    ----------
    dim
        Dimensions, at least 1; those beyond the number of items less one are 0.
    window, distance, half_life
        As in :class:`.ItemKNN`.
    shift
        k ≥ 1 in max(0, log(c(i, j) C / (n(i) n(j)ᵅ)) − log k), with n(i) the pairs that i is in.
    smoothing
        α in (0, 1], against rare contexts (0.75 in word2vec).
    eigenvalue_weighting
        p ≥ 0: 1 is the textbook's, 0.5 symmetric, 0 keeps directions alone.
    metric
        ``cosine`` or ``inner_product``: how the vectors are to be compared.
    seed
        Of the solver's random start.
    """

    name_: ClassVar[str] = "pmi"
    search_space: ClassVar[SearchSpace] = {
        "window": Whole(1, 20, log=True),
        "distance": OneOf(("flat", "harmonic")),
        "shift": Real(1, 5, log=True),
        "smoothing": Real(0.3, 1),
        "eigenvalue_weighting": Real(0, 1),
        "metric": OneOf(("cosine", "inner_product")),
    }

    def __init__(
        self,
        *,
        dim: int = 64,
        window: int | None = 5,
        distance: Distance = "flat",
        half_life: float | None = None,
        shift: float = 1.0,
        smoothing: float = 0.75,
        eigenvalue_weighting: float = 0.5,
        metric: Literal["cosine", "inner_product"] = "cosine",
        seed: int = 1,
    ) -> None:
        self.dim = dim
        self.window = window
        self.distance = distance
        self.half_life = half_life
        self.shift = shift
        self.smoothing = smoothing
        self.eigenvalue_weighting = eigenvalue_weighting
        self.metric = metric
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_option(self, "shift", float, lambda v: v >= 1, "a number of at least 1")
        check_option(self, "smoothing", float, lambda v: 0 < v <= 1, "above 0 and at most 1")

    def _weigh(self, counts: csr_array) -> csr_array:
        pairs = counts.tocoo()
        rows, columns = pairs.coords
        total = np.asarray(counts.sum(axis=1), dtype=np.float64)
        context = total**self.smoothing
        expected = total[rows] * (context / context.sum())[columns]
        weights = np.maximum(np.log(pairs.data / expected) - np.log(self.shift), 0)
        found = csr_array((weights, (rows, columns)), shape=counts.shape)
        return csr_array((found + found.T) / 2)


class CountFactorization(_Factorization):
    """Vectors whose products are weighted counts: item-kNN, smoothed, as vectors.

    Factorises cᵍ / (n(i) n(j))ᵃ, with n(i) the pairs that item i is in: a = 0 ranks as plain
    counts do, a = ½ as their cosine. With few dimensions the factorisation fills in pairs that
    were never seen, which on sparse logs ranks better than the counts themselves (docs/figures.md).

    Parameters
    ----------
    dim
        Dimensions, at least 1; those beyond the number of items less one are 0.
    window, distance, half_life
        As in :class:`.ItemKNN`.
    exponent
        g in (0, 2]. Below 1 large counts outweigh less.
    normalisation
        a ≥ 0. The more, the less frequent items are favoured.
    eigenvalue_weighting
        p ≥ 0: with 0.5 and all dimensions the products are the weights; less favours the fine
        structure.
    metric
        ``inner_product`` or ``cosine``: how the vectors are to be compared.
    seed
        Of the solver's random start.
    """

    name_: ClassVar[str] = "counts"
    search_space: ClassVar[SearchSpace] = {
        "window": Whole(1, 20, log=True),
        "distance": OneOf(("flat", "harmonic")),
        "exponent": Real(0.3, 1),
        "normalisation": Real(0, 0.5),
        "eigenvalue_weighting": Real(0, 0.5),
        "metric": OneOf(("inner_product", "cosine")),
    }

    def __init__(
        self,
        *,
        dim: int = 128,
        window: int | None = 5,
        distance: Distance = "harmonic",
        half_life: float | None = None,
        exponent: float = 1.0,
        normalisation: float = 0.2,
        eigenvalue_weighting: float = 0.25,
        metric: Literal["inner_product", "cosine"] = "inner_product",
        seed: int = 1,
    ) -> None:
        self.dim = dim
        self.window = window
        self.distance = distance
        self.half_life = half_life
        self.exponent = exponent
        self.normalisation = normalisation
        self.eigenvalue_weighting = eigenvalue_weighting
        self.metric = metric
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        check_option(self, "exponent", float, lambda v: 0 < v <= 2, "above 0 and at most 2")
        check_option(self, "normalisation", float, lambda v: v >= 0, "a number of at least 0")

    def _weigh(self, counts: csr_array) -> csr_array:
        return weigh_pairs(counts, "power", self.exponent, self.normalisation)


def top_eigenpairs(
    weights: csr_array, count: int, seed: int
) -> tuple[npt.NDArray[np.float64], FloatMatrix]:
    """The largest eigenvalues of a symmetric matrix, falling, (count,), and vectors (n, count).

    By randomised subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4) in twice as
    many dimensions, for eigenvalues far below zero take part of them; exactly where that is most of
    the matrix. Four rounds tell eigenvalues apart to about a percent near the end of the list: on
    real counts, quality is that of the exact solution (docs/decisions/0006). The sign of a vector
    is arbitrary: its largest entry is made positive.
    """
    size = weights.shape[0]
    width = 2 * count + 16
    top = slice(None, -count - 1, -1)  # NumPy's eigenvalues rise
    if width > size // 2:
        sizes, vectors = np.linalg.eigh(weights.toarray().astype(np.float64))
        vectors = vectors[:, top].astype(np.float32)
    else:
        narrow = weights.astype(np.float32)
        start = np.random.default_rng(seed).standard_normal((size, width), dtype=np.float32)
        basis = np.linalg.qr(narrow @ start)[0]
        for _ in range(4):
            basis = np.linalg.qr(narrow @ basis)[0]
        inner = (basis.T @ (narrow @ basis)).astype(np.float64)
        sizes, turned = np.linalg.eigh((inner + inner.T) / 2)
        vectors = basis @ turned[:, top].astype(np.float32)
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.where(vectors[largest, np.arange(count)] < 0, -1, 1).astype(np.float32)
    return sizes[top], vectors
