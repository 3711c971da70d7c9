"""NetMF: DeepWalk's implicit matrix in closed form, factorised.

Qiu, Dong, Ma, Li, Wang & Tang, "Network Embedding as Matrix Factorization: Unifying DeepWalk,
LINE, PTE, and node2vec" (WSDM 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array

from ..core.behaviour import Sequences
from ..core.errors import UnsupportedError
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import FloatMatrix, VectorSet
from .graph import ItemGraph
from .graph_builder import GraphBuilder
from .options import OneOf, Real, SearchSpace, Whole, check_option, lineage_of
from .randomised import check_dim, finish_rows, randomised_svd, undirected_matrix

#: Connected nodes at most: the matrix has n² float32, 3.6 GB of these.
LIMIT = 30_000
_BLOCK = 1024
_ROUNDS, _DEGREE = 5, 8

#: Gives rows of vol(G) / T · Σ_{r=1..T} (D⁻¹A)ʳ D⁻¹, (rows, n) float32.
_Walks = Callable[[slice], FloatMatrix]


class NetMF(GraphBuilder):
    """Item vectors U Σᵖ from the singular vectors of NetMF's matrix (equation 9, algorithms 3, 4).

    The matrix is M = log max(1, vol(G) / (b T) · Σ_{r=1..T} (D⁻¹A)ʳ D⁻¹), what DeepWalk with
    window T and b negatives factorises implicitly, with infinitely many walks. No walks are
    sampled, and nothing is trained.

    It takes n² memory for n connected nodes: 4 n² bytes, and as much time as a few products with
    that matrix. Beyond 30,000 nodes it refuses; :class:`.ProNE` and DeepWalk go on from there.

    NetMF is of undirected graphs. The edges of a directed one are taken both ways, as sequences
    are: order says little of what belongs together, and walks do not end in dangling nodes.

    Parameters
    ----------
    dim
        Dimensions of the vectors, at least 1 and at most the number of connected nodes.
    window
        T: the steps of a walk that count as context, at least 1.
    negatives
        b, above 0: M holds log max(1, x / b). The more, the fewer pairs are left.
    rank
        h: the normalised adjacency is replaced by its h largest eigenpairs (algorithm 4), at
        least 1; from the number of nodes on, and with ``None``, it is exact (algorithm 3). It is
        more than a short cut: leaving the small eigenvalues out denoises, and on BlogCatalog's
        groups ranks about 200 are better than exact. Where the very neighbours matter, as with
        Wikipedia's parts of speech, ``rank=None`` together with ``window=1`` is better.
    eigenvalue_weighting
        p ≥ 0 of Σᵖ; 0.5 is the paper's.
    normalise
        Whether vectors have length 1. The longer ones are of nodes with many edges, and say so to
        whoever learns from them; cosines are the same.
    edge_window, half_life, user_cap, min_weight
        How an undirected graph is made of sequences; see :meth:`.ItemGraph.from_sequences`.
    seed
        Of the random starts of both solvers.

    Attributes
    ----------
    item_vectors_ : VectorSet
        (n, dim) float32, metric ``COSINE``, of the connected nodes in the order of the graph's,
        with lineage. The same seed gives the same vectors on machines of one kind.

    Notes
    -----
    Departures from the paper: ``normalise`` (False is the paper's); the default of ``rank`` (256
    there); singular vectors by :func:`.randomised_svd`, not Lanczos's method. The authors' code
    leaves self-loops out, and takes those of the h eigenvalues that are negative as 0; here, as in
    the paper, both count.
    """

    name_: ClassVar[str] = "netmf"
    search_space: ClassVar[SearchSpace] = {
        "window": Whole(1, 20, log=True),
        "negatives": Real(0.3, 3, log=True),
        "rank": Whole(64, 512, log=True),
        "eigenvalue_weighting": Real(0, 1),
        "normalise": OneOf((True, False)),
    }
    directed = False

    def __init__(
        self,
        *,
        dim: int = 128,
        window: int = 10,
        negatives: float = 1.0,
        rank: int | None = 192,
        eigenvalue_weighting: float = 0.5,
        normalise: bool = True,
        edge_window: int | None = 1,
        half_life: float | None = None,
        user_cap: float | None = None,
        min_weight: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.dim = dim
        self.window = window
        self.negatives = negatives
        self.rank = rank
        self.eigenvalue_weighting = eigenvalue_weighting
        self.normalise = normalise
        self.edge_window = edge_window
        self.half_life = half_life
        self.user_cap = user_cap
        self.min_weight = min_weight
        self.seed = seed

    def fit(self, data: ItemGraph | Sequences, *, progress: Progress | None = None) -> Self:
        """Factorise a graph. Nodes without a neighbour get no vector.

        Raises
        ------
        InvalidOption
            An option out of its range, or more dimensions than connected nodes.
        EmptyInput
            No edge joins two nodes.
        UnsupportedError
            There are more than 30,000 connected nodes.
        MissingExtra
            Without scikit-learn.
        """
        self._check_options()
        graph = self._graph_of(data)
        kept = np.flatnonzero(graph.connected)
        check_dim(self.dim, len(kept))
        _check_memory(len(kept))
        matrix = self._matrix(undirected_matrix(graph, kept), progress)
        left, sizes = randomised_svd(matrix, self.dim, self.seed)
        vectors = left * (sizes**self.eigenvalue_weighting).astype(np.float32)
        self.item_vectors_ = VectorSet(
            graph.vocabulary[kept],
            finish_rows(vectors, self.normalise),
            Metric.COSINE,
            lineage_of(self.name_, self, graph),
        )
        return self

    def _matrix(self, adjacency: csr_array, progress: Progress | None) -> FloatMatrix:
        """M, (n, n) float32, a block of rows at a time: beside it there is no other n²."""
        nodes = adjacency.shape[0]
        if self.rank is None or self.rank >= nodes:
            walks = _exact_walks(adjacency, self.window)
        else:
            walks = _low_rank_walks(adjacency, self.window, self.rank, self.seed)
        matrix = np.empty((nodes, nodes), dtype=np.float32)
        for start in range(0, nodes, _BLOCK):
            block = matrix[start : start + _BLOCK]
            np.divide(walks(slice(start, start + _BLOCK)), self.negatives, out=block)
            np.log(np.maximum(block, 1, out=block), out=block)
            if progress is not None:
                progress(start + len(block), nodes, "the matrix of walks")
        return matrix

    def _check_options(self) -> None:
        check_option(self, "dim", int, lambda v: v >= 1, "a whole number of at least 1")
        check_option(self, "window", int, lambda v: v >= 1, "a whole number of at least 1")
        check_option(self, "negatives", float, lambda v: 0 < v < np.inf, "a number above 0")
        if self.rank is not None:
            check_option(self, "rank", int, lambda v: v >= 1, "None or at least 1")
        check_option(self, "eigenvalue_weighting", float, lambda v: v >= 0, "at least 0")
        check_option(self, "seed", int, lambda v: v >= 0, "a whole number of at least 0")


def _exact_walks(adjacency: csr_array, window: int) -> _Walks:
    """By sparse products."""
    degrees = adjacency.sum(axis=1, dtype=np.float64)
    step = csr_array(diags_array(1 / degrees) @ adjacency).astype(np.float32)
    start = csr_array(diags_array(degrees.sum() / degrees).astype(np.float32))

    def walks(rows: slice) -> FloatMatrix:
        walked = start[:, rows].toarray()
        total = np.zeros_like(walked)
        for _ in range(window):
            walked = step @ walked
            total += walked
        total /= window
        transposed: FloatMatrix = total.T  # columns are rows, by symmetry
        return transposed

    return walks


def _low_rank_walks(adjacency: csr_array, window: int, rank: int, seed: int) -> _Walks:
    """By eigenpairs of D^-½ A D^-½: vol(G) D^-½ U (1/T Σ_{r=1..T} Λʳ) Uᵀ D^-½."""
    degrees = adjacency.sum(axis=1, dtype=np.float64)
    scaling = diags_array(1 / np.sqrt(degrees))
    symmetric = csr_array(scaling @ adjacency @ scaling).astype(np.float32)
    sizes, vectors = largest_eigenpairs(symmetric, rank, seed)
    powers = sizes[:, None] ** np.arange(1, window + 1)
    left = (vectors * np.sqrt(degrees.sum() / degrees)[:, None]).astype(np.float32)
    right = (left * powers.mean(axis=1)).astype(np.float32).T

    def walks(rows: slice) -> FloatMatrix:
        product: FloatMatrix = left[rows] @ right
        return product

    return walks


def largest_eigenpairs(
    symmetric: csr_array, count: int, seed: int
) -> tuple[npt.NDArray[np.float64], FloatMatrix]:
    """The largest eigenvalues of a matrix with all in [-1, 1], (count,), and vectors (n, count).

    By subspace iteration in twice as many dimensions, each round filtered by a Chebyshev
    polynomial that dampens the eigenvalues below those found so far (Zhou, Saad, Tiago &
    Chelikowsky 2006); exactly where that is most of the matrix. A block method, for the
    eigenvalue 1 comes once for each component, and Lanczos's method misses some of equal ones.
    """
    nodes, width = symmetric.shape[0], 2 * count
    if width > nodes // 2:
        sizes, vectors = np.linalg.eigh(symmetric.toarray().astype(np.float64))
        return sizes[-count:], vectors[:, -count:].astype(np.float32)
    basis = np.random.default_rng(seed).standard_normal((nodes, width), dtype=np.float32)
    floor = 0.0
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(_dampen_below(floor, symmetric, basis))[0]
        inner = (basis.T @ (symmetric @ basis)).astype(np.float64)
        sizes, turned = np.linalg.eigh((inner + inner.T) / 2)
        basis = basis @ turned.astype(np.float32)
        floor = float(sizes[0])
    return sizes[-count:], basis[:, -count:]


def _dampen_below(floor: float, symmetric: csr_array, basis: FloatMatrix) -> FloatMatrix:
    """T(S) applied to a basis: T is in [-1, 1] from -1 to ``floor``, and rises steeply above."""
    centre, half = (floor - 1) / 2, (floor + 1) / 2

    def scaled(values: FloatMatrix) -> FloatMatrix:
        mapped: FloatMatrix = (symmetric @ values - centre * values) / half
        return mapped

    before, term = basis, scaled(basis)
    for _ in range(_DEGREE - 1):
        before, term = term, 2 * scaled(term) - before
    return term


def _check_memory(nodes: int) -> None:
    if nodes > LIMIT:
        raise UnsupportedError(
            f"NetMF holds a matrix of {nodes:,} × {nodes:,}, {4 * nodes**2 / 1e9:,.1f} GB; its "
            f"limit are {LIMIT:,} connected nodes. Take ProNE or DeepWalk, whose memory grows with "
            "the edges, or leave rare items out (min_weight)."
        )
