"""The index: rows in buckets of near-constant size, searched by probing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.errors import CorruptData, UnsupportedError
from ..core.metric import Metric
from ..core.scoring import METRIC_CODES
from ..core.storage import load_array
from ..core.vectors import FloatMatrix, RowView
from . import calibration
from .buckets import insert, remove, split_bucket
from .calibration import Curve
from .files import load_trees, save_trees
from .growing import ITERATIONS, MOST_DEPTH
from .handles import handle_of
from .lanes import best_way
from .options import LSHOptions
from .parallel import pieces, run_all
from .planes import FAMILIES
from .probing import EVERYTHING, search
from .reductions import Reduction
from .space import Int64s, Space
from .trees import Trees, grow_trees

MAX_ROWS = 2**31 - 1
#: The recall that patience is found for, if not for more.
_TARGET = 0.95
#: Where such a search needs more patience than this, no planes suit the data, much of them is
#: scanned anyhow, and larger buckets cost less; by so much.
_HARD, _COARSER = 64, 4
#: Patience grows with so much of a power of k beyond that which it was found for: measured for 100
#: and 300 neighbours under all three metrics.
_GROWTH = 0.35
#: A batch is handed to threads in pieces of so many queries.
_PIECE = 16


class HyperplaneLSH:
    """Trees of hyperplanes over rows that the caller keeps.

    Parameters
    ----------
    dim
        Columns of the rows, at least 1.
    metric
        Planes cut angles or distances; the inner product is reduced to angles
        (:mod:`.reductions`).
    options
        See :class:`~itemspace.lsh.options.LSHOptions`.
    """

    capabilities = Capabilities()
    gives_final_scores = True

    def __init__(self, dim: int, metric: Metric, options: LSHOptions) -> None:
        self._dim, self._metric, self._options = dim, metric, options
        self._trees: Trees | None = None
        self._reduction: Reduction
        self._drawn = self._draw()
        self._space: Space
        self._handle: Int64s
        self._bucket: int
        self._curve: Curve
        #: How patient a search for ten is, as ``recall`` or ``patience`` say; may be set.
        self.patience = 1
        #: For building, and for batches of queries; may be set.
        self.threads = options.threads or os.cpu_count() or 1
        self._calibrated = 0
        #: How products are summed up, one of :data:`.lanes.VNNI`, ….
        self.way = best_way()

    @property
    def scan_limit(self) -> int:
        """Rows that are scored without asking the index."""
        return self._options.scan_limit

    @property
    def tail_limit(self) -> int:
        """Rows that may wait outside: none, once there is an index."""
        return self._options.scan_limit if self._trees is None else 0

    def add(self, rows: RowView, start: int) -> None:
        """Take in the rows from ``start`` on; those before are there already.

        Raises :class:`UnsupportedError` beyond 2³¹ − 1 rows.
        """
        matrix = rows.matrix
        if len(matrix) > MAX_ROWS:
            raise UnsupportedError(f"An LSH index holds at most {MAX_ROWS:,} vectors.")
        if self._trees is None or start == 0:
            self._reduce(Reduction.fit(matrix, self._metric))
            self._grow(rows, self._options.bucket_for(len(matrix)))
            hard = calibration.patience_for(self._curve, _TARGET) > _HARD
            if hard and self._options.bucket is None:
                self._grow(rows, _COARSER * self._bucket)
        else:
            self._trees = self._insert(self._trees.writable(), rows, start).in_order()
            self._handle = handle_of(self._space, self._trees.forest, self._trees.buckets)
            if len(matrix) >= 2 * self._calibrated:
                self._calibrate(rows)

    def remove(self, rows: RowView, gone: Int64s) -> bool:
        """Take rows out; returns whether all were found.

        Parameters
        ----------
        rows
            Those that were added.
        gone
            Numbers of some of them, each once.
        """
        assert self._trees is not None
        self._trees = self._trees.writable()
        forest, buckets = self._trees.forest, self._trees.buckets
        missed = remove(self._space, rows.matrix, rows.norms, gone, forest, buckets)
        self._handle = handle_of(self._space, forest, buckets)
        return missed == 0

    def search(
        self, rows: RowView, queries: FloatMatrix, k: int, eligible: Eligible | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The k best rows among those in the probed buckets, (q, k), and their scores.

        Row -1 and -inf where fewer were found.

        Parameters
        ----------
        rows
            Those that were added.
        eligible
            Rows that may come back. Where few may, a search is the more patient.
        """
        patience = self.patience * max(1.0, k / calibration.K) ** _GROWTH
        if eligible is not None:
            patience /= max(1, eligible.count) / len(rows.matrix)
        return self._find(rows, queries, k, int(min(MAX_ROWS, np.ceil(patience))), eligible)

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        assert self._trees is not None
        self._reduction.save(folder)
        save_trees(folder, self._metric, self._trees)
        np.save(folder / "curve.npy", np.r_[[[self._calibrated, self._bucket, 0]], self._curve])

    def load(self, folder: Path, count: int) -> None:
        """The reverse of :meth:`save` for an index of ``count`` rows; files are memory-mapped.

        Raises :class:`CorruptData` where the files don't fit each other.
        """
        self._reduce(Reduction.load(folder, self._metric, self._dim))
        self._trees = load_trees(folder, self._metric, self._dim, count, self._drawn)
        self._handle = handle_of(self._space, self._trees.forest, self._trees.buckets)
        curve = load_array(folder / "curve.npy")
        if (
            curve.dtype != np.float64
            or curve.shape != (len(curve), 3)
            or len(curve) < 2
            or not (curve >= 0).all()
            or not 1 <= curve[0, 1] <= MAX_ROWS
        ):
            raise CorruptData(f"{folder / 'curve.npy'} is no curve.", path=str(folder))
        self._bucket = int(curve[0, 1])
        self._follow(np.array(curve[1:]), int(curve[0, 0]))

    def describe(self) -> dict[str, Any]:
        """Family, trees, buckets and their sizes, bytes, and recall against patience."""
        if self._trees is None:
            return {"family": self._options.family}
        curve = {"patience": self.patience, "curve": self._curve.tolist()}
        return {"family": self._options.family, **curve, **self._trees.describe()}

    def tune(
        self,
        rows: RowView,
        target_recall: float | None = None,
        queries: FloatMatrix | None = None,
    ) -> dict[str, float]:
        """Find the patience for a recall anew, and check it on queries that it was not found from.

        Parameters
        ----------
        rows
            Those that were added.
        target_recall
            Above 0 and below 1; that of the options if left out.
        queries
            Some of the kind that searches will have, (q, d), q ≥ 2: one half is for finding, the
            other for checking, at most 256 each. ``None``: rows stand for them
            (:mod:`.calibration`).

        Returns
        -------
        dict
            The patience, the recall predicted for it, and the recall measured with its standard
            error.
        """
        wanted = self._options.recall if target_recall is None else target_recall
        self._calibrate(rows, wanted, queries)
        patience = calibration.patience_for(self._curve, wanted)
        others = None if queries is None else queries[1::2]
        cases, find = self._cases(rows, self._options.seed + 1, others)
        checked, error = calibration.recall(find(cases.queries, patience), cases)
        predicted = float(np.interp(patience, self._curve[:, 0], self._curve[:, 1]))
        return {"patience": patience, "predicted": predicted, "measured": checked, "error": error}

    def _reduce(self, reduction: Reduction) -> None:
        """Take a reduction, and the kernels' form of it."""
        centre, length = reduction.centre.astype(np.float32), np.float32(reduction.length)
        self._reduction = reduction
        self._space = Space(METRIC_CODES[self._metric], centre, length)

    def _follow(self, curve: Curve, calibrated: int) -> None:
        """Take a curve that was found for so many rows, and the patience that it tells."""
        self._curve, self._calibrated = curve, calibrated
        told = calibration.patience_for(curve, self._options.recall)
        self.patience = self._options.patience or told

    @property
    def _iterations(self) -> int:
        return 0 if self._options.family == "pairs" else ITERATIONS

    def _grow(self, rows: RowView, bucket: int) -> None:
        """Build over all rows, with buckets of so many, and find how patient to be."""
        self._bucket = bucket
        self._trees = grow_trees(
            self._space, rows, self._drawn, self._iterations, bucket, self._options.seed,
            self.threads,
        )  # fmt: skip
        self._handle = handle_of(self._space, self._trees.forest, self._trees.buckets)
        self._calibrate(rows)

    def _insert(self, trees: Trees, rows: RowView, start: int) -> Trees:
        """Trees with the rows from ``start`` on."""
        space, matrix, norms = self._space, rows.matrix, rows.norms
        full = np.full((len(trees.forest.roots), 3), -1, dtype=np.int64)
        while start < len(matrix) or (full >= 0).any():
            for tree in np.flatnonzero(full[:, 0] >= 0).tolist():
                split_bucket(
                    space, matrix, norms, tree, tuple(full[tree].tolist()), trees.forest,
                    trees.buckets, self._drawn[tree], self._iterations, self._options.seed,
                )  # fmt: skip
            before = start
            start = insert(
                space, matrix, norms, start, trees.forest, trees.buckets, 2 * self._bucket, full
            )
            if start == before and start < len(matrix):
                trees = trees.with_room()
        return trees

    def _draw(self) -> npt.NDArray[np.float32]:
        """The normals of a random family, (trees, depths, width); without depths of another."""
        width = self._dim + (self._metric is Metric.INNER_PRODUCT)
        draw, trees = FAMILIES[self._options.family], self._options.num_trees
        if draw is None:
            return np.empty((trees, 0, width), dtype=np.float32)
        normals = draw(trees * MOST_DEPTH, width, self._options.seed)
        return np.ascontiguousarray(normals).reshape(trees, MOST_DEPTH, width)

    def _calibrate(
        self, rows: RowView, target: float = _TARGET, queries: FloatMatrix | None = None
    ) -> None:
        target = max(self._options.recall, _TARGET, target)
        some = None if queries is None else queries[::2]
        cases, find = self._cases(rows, self._options.seed, some)
        self._follow(calibration.measure(find, cases, target), len(rows.matrix))

    def _cases(
        self, rows: RowView, seed: int, queries: FloatMatrix | None
    ) -> tuple[calibration.Cases, calibration.Find]:
        """Queries with their true nearest, and what is found at a patience."""
        assert self._trees is not None
        held = self._trees.held(len(rows.matrix))
        cases = calibration.cases_of(rows, held, self._space.metric, seed, queries)

        def find(queries: FloatMatrix, patience: int) -> Int64s:
            return self._find(rows, queries, calibration.K + 1, patience, None)[0]

        return cases, find

    def _find(
        self, rows: RowView, queries: FloatMatrix, k: int, patience: int, eligible: Eligible | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        assert self._trees is not None
        found = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float64)
        mask = EVERYTHING if eligible is None else eligible.mask
        candidates = self._options.candidates(k)

        def run(piece: slice) -> None:
            search(
                self._handle, rows.matrix, mask, queries[piece], patience, candidates, self.way,
                found[piece], scores[piece],
            )  # fmt: skip

        if len(queries) <= _PIECE:
            run(slice(None))
        else:
            run_all(run, pieces(len(queries), _PIECE), self.threads)
        return found, scores
