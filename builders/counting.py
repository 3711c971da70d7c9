"""Counting: co-occurrence within a window, as a recommender and as the ground of factorisation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.sparse import csr_array

from ..core.behaviour import Codes, Offsets, Sequences
from ..core.errors import EmptyInput
from ..core.histories import Recent
from ..core.jit import kernel
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import FloatMatrix, VectorSet
from .options import Configured, check_choice, check_option, check_window, lineage_of

Direction = Literal["both", "forward"]
#: Pairs that are counted before they are summed up.
_CHUNK = 1 << 24


def count_pairs(
    sequences: Sequences, *, window: int | None, direction: Direction = "both"
) -> csr_array:
    """How often item j stands within ``window`` after (or around) item i; int64 (items, items).

    A pair of one item with itself is not counted. ``window=None`` is the whole sequence.
    """
    items = len(sequences.vocabulary)
    longest = int(np.diff(sequences.offsets).max(initial=0))
    reach = longest if window is None else window
    total = csr_array((items, items), dtype=np.int64)
    keys = np.empty(max(_CHUNK, longest), dtype=np.int64)
    at = 0
    while at < len(sequences.items):
        at, filled = _pairs(sequences.items, sequences.offsets, items, reach, at, keys)
        distinct, counts = np.unique(keys[:filled], return_counts=True)
        pairs = np.divmod(distinct, items)
        total = total + csr_array((counts, pairs), shape=(items, items))
    return total if direction == "forward" else csr_array(total + total.T)


@kernel
def _pairs(
    items: Codes, offsets: Offsets, count: int, window: int, first: int, keys: Any
) -> tuple[int, int]:
    """Fill ``keys`` from event ``first`` on; returns the event to go on with and the keys used."""
    filled = 0
    sequence = np.searchsorted(offsets, first, side="right") - 1
    for at in range(first, items.shape[0]):
        while offsets[sequence + 1] <= at:
            sequence += 1
        end = min(offsets[sequence + 1], at + window + 1)
        if filled + end - at > keys.shape[0]:
            return at, filled
        for other in range(at + 1, end):
            if items[at] != items[other]:
                keys[filled] = np.int64(items[at]) * count + items[other]
                filled += 1
    return items.shape[0], filled


class Popularity(Configured):
    """Recommends what is most frequent, to everyone. No vectors."""

    supports_vectors: ClassVar[bool] = False

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count."""
        self.counts_ = sequences.counts()
        return self

    def scores(self, histories: Sequences) -> FloatMatrix:
        """The counts, for every history; see :class:`~itemspace.evaluation.scoring.Scorer`."""
        line = self.counts_.astype(np.float32)
        line[self.counts_ == 0] = -np.inf
        return np.tile(line, (len(histories), 1))


class ItemKNN(Configured):
    """Items that stand near each other in sequences, by weighted co-occurrence counts. No vectors.

    The classical neighbourhood recommender (Deshpande & Karypis 2004), over windows of sequences.

    Parameters
    ----------
    window
        Distance within which two items count as a pair, at least 1; ``None``: the whole sequence.
    direction
        ``both``: a pair counts both ways; ``forward``: the later item for the earlier one.
    weighting
        ``count``: the number of pairs c(i, j); ``cosine``: c / √(n(i) n(j)); ``jaccard``:
        c / (n(i) + n(j) − c), with n(i) the pairs that i is in.
    shrinkage
        s ≥ 0 multiplies each weight by c / (c + s), against chance pairs of rare items.
    recent, decay
        How a history is weighed; see :class:`~itemspace.core.histories.Recent`.
    """

    supports_vectors: ClassVar[bool] = False

    def __init__(
        self,
        *,
        window: int | None = 5,
        direction: Direction = "both",
        weighting: Literal["count", "cosine", "jaccard"] = "count",
        shrinkage: float = 0.0,
        recent: int = 10,
        decay: float = 1.0,
    ) -> None:
        self.window = window
        self.direction = direction
        self.weighting = weighting
        self.shrinkage = shrinkage
        self.recent = recent
        self.decay = decay

    def fit(self, sequences: Sequences, *, progress: Progress | None = None) -> Self:  # noqa: ARG002
        """Count pairs and weigh them.

        Raises
        ------
        InvalidOption
            An option out of its range.
        """
        check_window(self)
        check_choice(self, "direction", ("both", "forward"))
        check_choice(self, "weighting", ("count", "cosine", "jaccard"))
        check_option(self, "shrinkage", float, lambda v: v >= 0, "a number of at least 0")
        Recent(self.recent, self.decay)
        counts = count_pairs(sequences, window=self.window, direction=self.direction)
        self.similarities_ = self._weigh(counts)
        return self

    def scores(self, histories: Sequences) -> FloatMatrix:
        """Weighted sums of the similarities; see :class:`~itemspace.evaluation.scoring.Scorer`."""
        offsets, codes, weights = Recent(self.recent, self.decay).weigh(histories)
        shape = (len(histories), self.similarities_.shape[0])
        scores = csr_array((weights, codes, offsets), shape=shape) @ self.similarities_
        dense: FloatMatrix = scores.toarray().astype(np.float32)
        return dense

    def _weigh(self, counts: csr_array) -> csr_array:
        pairs = counts.tocoo()
        values = pairs.data.astype(np.float64)
        total = np.asarray(counts.sum(axis=1), dtype=np.float64)
        into = np.asarray(counts.sum(axis=0), dtype=np.float64)
        rows, columns = pairs.coords
        weights = values.copy()
        if self.weighting == "cosine":
            weights = values / np.sqrt(total[rows] * into[columns])
        elif self.weighting == "jaccard":
            weights = values / (total[rows] + into[columns] - values)
        weights *= values / (values + self.shrinkage)
        return csr_array((weights, (rows, columns)), shape=counts.shape)


class PMIFactorization(Configured):
    """Vectors from counts: weighted, then factorised by a truncated eigendecomposition.

    Levy & Goldberg 2014: skip-gram with k negatives factorises PMI − log k implicitly; here it is
    done explicitly. Levy, Goldberg & Dagan 2015 for the options. Departure: the counts are
    symmetric, so instead of the SVD's U·Σᵖ it is the eigenvectors of the largest eigenvalues,
    U·Λᵖ; those of negative eigenvalues, which the SVD would mix in with the wrong sign, are 0.

    Parameters
    ----------
    dim
        Dimensions, at least 1; those beyond the number of items less one are 0.
    window
        As in :class:`ItemKNN`.
    weighting
        ``ppmi``: max(0, log(c(i, j) C / (n(i) n(j)ᵅ)) − log k), symmetrised; ``log``: log(1 + c);
        ``sqrt``: √c. With the last two, p = 0.5, enough dimensions and ``inner_product`` the
        products of vectors are the weights themselves, so that they rank as counts do.
    shift
        k ≥ 1, for ``ppmi``.
    smoothing
        α in (0, 1], against rare contexts, for ``ppmi`` (0.75 in word2vec).
    eigenvalue_weighting
        p ≥ 0: 1 is the textbook's, 0.5 symmetric, 0 keeps directions alone.
    metric
        ``cosine`` or ``inner_product``: how the vectors are to be compared.
    seed
        Of the solver's starting vector.
    """

    supports_vectors: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dim: int = 64,
        window: int | None = 5,
        weighting: Literal["ppmi", "log", "sqrt"] = "ppmi",
        shift: float = 1.0,
        smoothing: float = 0.75,
        eigenvalue_weighting: float = 0.5,
        metric: Literal["cosine", "inner_product"] = "cosine",
        seed: int = 1,
    ) -> None:
        self.dim = dim
        self.window = window
        self.weighting = weighting
        self.shift = shift
        self.smoothing = smoothing
        self.eigenvalue_weighting = eigenvalue_weighting
        self.metric = metric
        self.seed = seed

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
        counts = count_pairs(sequences, window=self.window)
        weights = self._weigh(counts) if counts.nnz else counts
        kept = np.flatnonzero(np.diff(weights.indptr))
        if not len(kept):
            raise EmptyInput("There are no pairs of items to learn from.", path="sequences")
        self.item_vectors_ = VectorSet(
            sequences.vocabulary[kept],
            self._factorise(weights[kept][:, kept]),
            Metric(self.metric),
            lineage_of("pmi", self, sequences),
        )
        return self

    def _check_options(self) -> None:
        check_option(self, "dim", int, lambda v: v >= 1, "a whole number of at least 1")
        check_window(self)
        check_choice(self, "weighting", ("ppmi", "log", "sqrt"))
        check_option(self, "shift", float, lambda v: v >= 1, "a number of at least 1")
        check_option(self, "smoothing", float, lambda v: 0 < v <= 1, "above 0 and at most 1")
        check_option(self, "eigenvalue_weighting", float, lambda v: v >= 0, "at least 0")
        check_choice(self, "metric", ("cosine", "inner_product"))
        check_option(self, "seed", int, lambda v: v >= 0, "a whole number of at least 0")

    def _weigh(self, counts: csr_array) -> csr_array:
        pairs = counts.tocoo()
        rows, columns = pairs.coords
        if self.weighting == "log":
            weights = np.log1p(pairs.data)
        elif self.weighting == "sqrt":
            weights = np.sqrt(pairs.data)
        else:
            total = np.asarray(counts.sum(axis=1), dtype=np.float64)
            context = total**self.smoothing
            expected = total[rows] * (context / context.sum())[columns]
            weights = np.maximum(np.log(pairs.data / expected) - np.log(self.shift), 0)
        found = csr_array((weights, (rows, columns)), shape=counts.shape)
        found = csr_array((found + found.T) / 2)
        found.eliminate_zeros()
        return found

    def _factorise(self, weights: csr_array) -> FloatMatrix:
        items = weights.shape[0]
        dim = min(self.dim, items - 1)
        start = np.random.default_rng(self.seed).standard_normal(items)
        if dim < items // 2:
            from scipy.sparse.linalg import eigsh

            sizes, vectors = eigsh(weights, k=dim, which="LA", v0=start)
        else:
            sizes, vectors = np.linalg.eigh(weights.toarray())
        order = np.argsort(-sizes)[:dim]
        vectors, sizes = vectors[:, order], np.maximum(sizes[order], 0)
        # The sign of an eigenvector is arbitrary: its largest entry is made positive.
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)])
        matrix = np.zeros((items, self.dim), dtype=np.float32)
        matrix[:, :dim] = vectors * np.where(sizes > 0, sizes**self.eigenvalue_weighting, 0)
        # An item that no kept eigenvector reaches: tiny, for zero has no direction.
        matrix[~matrix.any(axis=1), 0] = 1e-6
        return matrix
