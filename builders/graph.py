"""ItemGraph: which items lead to which, and how strongly, in compressed rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array, issparse

from ..core.behaviour import Codes, Offsets, Sequences, encode
from ..core.errors import CorruptData, EmptyInput, InvalidGraph, InvalidOption, MissingExtra
from ..core.ids import Ids
from ..core.storage import open_directory, verify_directory, write_directory
from ..core.vectors import check_known, ids_from_arrays
from .edge_lists import read_edges
from .graph_checks import check_rows, check_symmetric, check_weights, loops, mark_connected
from .pairs import Distance, count_pairs
from .sampling import Floats

KIND, FORMAT = "item graph", 1
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ItemGraph:
    """A weighted graph over a vocabulary of nodes.

    Edges from node i are ``indices[indptr[i]:indptr[i + 1]]``, ascending, with ``weights`` there.
    An undirected graph holds each edge both ways with one weight, a self-loop once.

    However it is made:

    - Duplicate edges are one, whose weight is their sum.
    - A weight of zero is no edge. Negative, infinite and NaN weights are :class:`InvalidGraph`.
    - Self-loops stay, except from sequences, where a repeated item is no step.
    - Isolated nodes stay in the vocabulary.
    - A dangling node (edges in, none out) ends walks; see :mod:`.walks`.

    Parameters
    ----------
    vocabulary
        The nodes, n distinct ids.
    indptr, indices, weights
        int64 (n + 1), int32 (edges) and float32 (edges).
    directed
        Whether an edge has a direction.

    Raises
    ------
    InvalidGraph
        Rows that do not fit, indices out of range or not ascending, weights that are not finite
        and above 0, an undirected graph that is not symmetric.
    DuplicateIds
    """

    vocabulary: Ids
    indptr: Offsets
    indices: Codes
    weights: Floats
    directed: bool

    def __post_init__(self) -> None:
        self.vocabulary.check_unique("the nodes")
        check_rows(len(self.vocabulary), self.indptr, self.indices, self.weights)
        check_weights(self.weights)
        matrix = self.to_scipy()
        in_range = not len(matrix.indices) or 0 <= matrix.indices.min() <= matrix.indices.max()
        if not (in_range and matrix.indices.max(initial=-1) < len(self)):
            raise InvalidGraph("An index lies outside the vocabulary.")
        if not (matrix.has_canonical_format and (matrix.data > 0).all()):
            raise InvalidGraph("The indices must ascend in each row, and all weights be above 0.")
        if not self.directed:
            check_symmetric(matrix)

    # -- made from -----------------------------------------------------------------------------

    @classmethod
    def from_sequences(
        cls,
        sequences: Sequences,
        *,
        directed: bool = True,
        window: int | None = 1,
        distance: Distance = "flat",
        half_life: float | None = None,
        user_cap: float | None = None,
        min_weight: float = 0.0,
    ) -> Self:
        """An edge from each item to the one after it, its weight how often, over all users.

        See :func:`.count_pairs` for ``window``, ``distance``, ``half_life`` (time decay) and
        ``user_cap``. Every item of the vocabulary is a node.

        Parameters
        ----------
        directed
            If not, a step counts both ways.
        min_weight
            Edges with a smaller weight, summed, are left out; at least 0.

        Notes
        -----
        At its peak it takes about three times the memory of the graph beside the log, an undirected
        graph four (docs/figures.md).
        """
        for name, value, holds, expected in (
            ("window", window, window is None or window >= 1, "None or at least 1"),
            ("half_life", half_life, half_life is None or half_life > 0, "None or above 0"),
            ("user_cap", user_cap, user_cap is None or user_cap > 0, "None or above 0"),
            ("min_weight", min_weight, min_weight >= 0, "at least 0"),
        ):
            if not holds:
                raise InvalidOption(
                    f"{name} is {expected}; received {value!r}.", option=name, received=value
                )
        counts = count_pairs(
            sequences,
            window=window,
            direction="forward" if directed else "both",
            distance=distance,
            half_life=half_life,
            user_cap=user_cap,
            min_count=min_weight,
            dtype=np.float32,
        )
        return cls._of(sequences.vocabulary, counts, directed)

    @classmethod
    def from_edges(
        cls,
        sources: Any,
        targets: Any,
        weights: Any = None,
        *,
        directed: bool,
        vocabulary: Any = None,
    ) -> Self:
        """From columns of ids, an edge per line; an undirected edge stands once, either way round.

        Parameters
        ----------
        weights
            Numbers, one per edge; ``None``: 1 each.
        vocabulary
            The nodes, isolated ones included; ``None``: the ids of the edges, sorted.

        Raises
        ------
        InvalidGraph
            Columns of different lengths, a weight that is none.
        UnknownIds
            Ids of edges that are not in ``vocabulary``.
        """
        tails, heads = Ids(sources), Ids(targets)
        ends, count = tails.concat(heads), len(tails)
        if vocabulary is None:
            nodes, codes = encode(ends)
        else:
            nodes = vocabulary if isinstance(vocabulary, Ids) else Ids(vocabulary)
            rows = nodes.rows_of(ends)
            check_known(ends, rows, "the vocabulary of the graph")
            codes = rows.astype(np.int32)
        values = np.ones(count) if weights is None else np.asarray(weights)
        check_weights(values)
        if len(heads) != count or values.shape != (count,):
            raise InvalidGraph(
                f"Expected a target and a weight per source; received {count} sources, "
                f"{len(heads)} targets and {len(values)} weights."
            )
        edges = coo_array((values, (codes[:count], codes[count:])), shape=(len(nodes),) * 2)
        return cls._of_edges(nodes, edges, directed)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        directed: bool,
        source: str | None = None,
        target: str | None = None,
        weight: str | None = None,
    ) -> Self:
        """From a file of edges: CSV, Parquet or ``.edg``; see :func:`.read_edges`."""
        found = read_edges(Path(path), source=source, target=target, weight=weight)
        return cls.from_edges(found.sources, found.targets, found.weights, directed=directed)

    @classmethod
    def from_scipy(cls, matrix: Any, vocabulary: Any = None, *, directed: bool) -> Self:
        """From a square SciPy sparse matrix or array, or a NumPy one: weight (i, j) is of i → j.

        Parameters
        ----------
        vocabulary
            The ids of its rows; ``None``: their numbers.
        directed
            If not, the matrix must be symmetric.

        Raises :class:`InvalidGraph`.
        """
        edges = coo_array(matrix) if issparse(matrix) else coo_array(np.atleast_2d(matrix))
        if edges.ndim != 2 or edges.shape[0] != edges.shape[1]:
            raise InvalidGraph(f"A graph's matrix is square; received shape {edges.shape}.")
        ids = np.arange(edges.shape[0]) if vocabulary is None else vocabulary
        nodes = ids if isinstance(ids, Ids) else Ids(ids)
        if len(nodes) != edges.shape[0]:
            raise InvalidGraph(f"Expected an id for each of {edges.shape[0]} rows: {len(nodes)}.")
        made = cls._of_edges(nodes, edges, directed=True)
        return made if directed else replace(made, directed=False)  # which checks the symmetry

    @classmethod
    def from_networkx(cls, graph: Any, *, weight: str = "weight") -> Self:
        """From a networkx graph; its nodes must all be strings, or all integers.

        Edges without the attribute ``weight`` weigh 1. Parallel edges of a multigraph are summed.
        """
        edges = list(graph.edges(data=weight, default=1))
        sources, targets, weights = zip(*edges, strict=True) if edges else ((), (), ())
        return cls.from_edges(
            sources, targets, weights, directed=graph.is_directed(), vocabulary=list(graph)
        )

    @classmethod
    def _of_edges(cls, nodes: Ids, edges: coo_array, directed: bool) -> Self:
        """From edges that may repeat and whose weights are not checked yet."""
        check_weights(edges.data)
        if not directed:
            rows, columns = edges.coords
            mirrored = rows != columns
            edges = coo_array(
                (
                    np.concatenate([edges.data, edges.data[mirrored]]),
                    (
                        np.concatenate([rows, columns[mirrored]]),
                        np.concatenate([columns, rows[mirrored]]),
                    ),
                ),
                shape=edges.shape,
            )
        # Summed in float64, in the order of the edges, so that both ways weigh the same.
        matrix = csr_array(edges.astype(np.float64))
        matrix.sum_duplicates()
        with np.errstate(over="ignore"):
            return cls._of(nodes, matrix, directed)

    @classmethod
    def _of(cls, nodes: Ids, matrix: csr_array, directed: bool) -> Self:
        """From a matrix in canonical form; zeros go."""
        narrow = matrix.astype(np.float32, copy=False)
        narrow.eliminate_zeros()
        check_weights(narrow.data)
        nodes.check_unique("the nodes")
        return cls._trusted(
            nodes,
            narrow.indptr.astype(np.int64),
            narrow.indices.astype(np.int32, copy=False),
            narrow.data,
            directed,
        )

    @classmethod
    def _trusted(
        cls, nodes: Ids, indptr: Offsets, indices: Codes, weights: Floats, directed: bool
    ) -> Self:
        graph = cls.__new__(cls)
        for name, value in zip(
            ("vocabulary", "indptr", "indices", "weights", "directed"),
            (nodes, indptr, indices, weights, bool(directed)),
            strict=True,
        ):
            object.__setattr__(graph, name, value)
        return graph

    # -- what it is ------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many nodes."""
        return len(self.vocabulary)

    def __repr__(self) -> str:
        kind = "directed" if self.directed else "undirected"
        return f"<ItemGraph of {len(self):,} nodes, {self.edges:,} edges, {kind}>"

    @property
    def edges(self) -> int:
        """How many edges; an undirected one counts once."""
        if self.directed:
            return len(self.indices)
        return (len(self.indices) + loops(self.indptr, self.indices)) // 2

    @property
    def degrees(self) -> Rows:
        """How many edges lead out of each node, (n,) int64."""
        return np.diff(self.indptr)

    @property
    def connected(self) -> npt.NDArray[np.bool_]:
        """Which nodes have an edge, in or out, (n,); a self-loop alone is none."""
        found = np.zeros(len(self), dtype=np.bool_)
        mark_connected(self.indptr, self.indices, found)
        return found

    def neighbours(self, node: Any) -> tuple[Ids, Floats]:
        """Where edges lead from a node, and their weights; :class:`UnknownIds` for no node."""
        wanted = Ids([node])
        rows = self.vocabulary.rows_of(wanted)
        check_known(wanted, rows, "the graph")
        edges = slice(self.indptr[rows[0]], self.indptr[rows[0] + 1])
        return self.vocabulary[self.indices[edges].astype(np.int64)], self.weights[edges]

    def over(self, rows: Rows) -> Self:
        """The graph of some of its nodes alone, renumbered in their order."""
        if np.array_equal(rows, np.arange(len(self))):
            return self
        inner = csr_array(self.to_scipy()[rows][:, rows])
        inner.sort_indices()
        return self._of(self.vocabulary[rows], inner, self.directed)

    def check_edges(self) -> None:
        """Raise :class:`EmptyInput` unless an edge joins two nodes."""
        if not self.connected.any():
            raise EmptyInput(
                f"The graph has {len(self):,} nodes and no edge between two of them, so there is "
                "nothing to learn from.",
                path="graph",
            )

    # -- out -------------------------------------------------------------------------------------

    def to_scipy(self) -> csr_array:
        """The weights as a CSR array (n, n) float32, over the same memory where SciPy can."""
        return csr_array((self.weights, self.indices, self.indptr), shape=(len(self),) * 2)

    def to_networkx(self) -> Any:
        """A networkx ``Graph`` or ``DiGraph`` with ``weight`` on its edges.

        Raises :class:`MissingExtra` without networkx.
        """
        try:
            import networkx
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "This needs networkx; pip install 'itemspace[graph]'.", extra="graph"
            ) from error
        graph = networkx.DiGraph() if self.directed else networkx.Graph()
        names = self.vocabulary.to_list()
        graph.add_nodes_from(names)
        edges = self.to_scipy().tocoo()
        graph.add_weighted_edges_from(
            (names[one], names[other], float(weight))
            for one, other, weight in zip(*edges.coords, edges.data, strict=True)
        )
        return graph

    def save(self, path: str | Path) -> str:
        """Write to a new directory and return its checksum, as :meth:`.VectorSet.save` does."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "indptr": self.indptr,
            "indices": self.indices,
            "weights": self.weights,
            **self.vocabulary.buffers,
        }
        return write_directory(Path(path), KIND, FORMAT, arrays, {"directed": self.directed})

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Memory-map a directory that :meth:`save` wrote.

        Sizes and types are checked; bytes are not (see :meth:`verify`).

        Raises
        ------
        MissingData, CorruptData, IncompatibleFormat
        """
        meta, arrays = open_directory(Path(path), KIND, FORMAT)
        try:
            nodes = ids_from_arrays(arrays)
            rows = (arrays["indptr"], arrays["indices"], arrays["weights"])
            check_rows(len(nodes), *rows)
            return cls._trusted(nodes, *rows, bool(meta["directed"]))
        except (KeyError, ValueError) as error:
            raise CorruptData(f"{path} is not a whole graph: {error}.", path=str(path)) from error

    @staticmethod
    def verify(path: str | Path) -> str:
        """Compare every byte with the checksums; returns the checksum of the whole.

        Raises :class:`CorruptData` naming the file that differs.
        """
        return verify_directory(Path(path), KIND, FORMAT)
