"""What an in-process engine implements: an index over the rows of one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.vectors import FloatMatrix

RowMatrix = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Index(Protocol):
    """Finds candidate rows; everything else (ids, filters, exact scores, files) is done for it.

    Rows are numbered from 0 in the order in which :meth:`add` received them and never change.
    Vectors arrive checked: C-contiguous float32, finite, of the right dimension, of unit length
    under ``Metric.COSINE``.
    """

    #: ``scores="exact"``: candidates are scored again from the vectors; ``"estimated"``: the
    #: scores of ``search`` are given out, and must be in the metric's unit, higher is better.
    #: ``supports_filter``: ``search`` honours ``eligible``.
    capabilities: Capabilities
    #: Rows that may wait outside the index, scanned exactly, before they are added.
    tail_limit: int
    #: With at most so many rows to choose from, they are scanned and the index is not asked.
    scan_limit: int

    def add(self, matrix: FloatMatrix) -> None:
        """Append rows (m, dim). The first call may train."""

    def search(
        self, queries: FloatMatrix, k: int, eligible: Mask | None
    ) -> tuple[RowMatrix, npt.NDArray[np.float32]]:
        """Candidate rows (q, m), int64, m ≥ k, and their estimated scores, best first.

        Unused places at the end of a line hold row -1. ``eligible``, of shape (rows,), is only
        given where the filter is supported; only rows that are true in it may come back. Calls may
        come from several threads at once, never beside an ``add``.
        """

    def save(self, folder: Path) -> None:
        """Write the index's own files into an existing empty folder (without the vectors)."""

    def load(self, folder: Path, matrix: FloatMatrix) -> None:
        """The reverse of :meth:`save`, over the rows that were added, in the same order.

        ``matrix`` may be memory-mapped. Raises :class:`~itemspace.core.errors.CorruptData` where
        the files do not fit each other.
        """

    def describe(self) -> dict[str, Any]:
        """What it is made of, for people: numbers of tables, bits, bytes, …"""
