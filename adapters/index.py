"""What an in-process engine implements: an index over the rows of one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.vectors import FloatMatrix, RowView

RowMatrix = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Index(Protocol):
    """Finds candidate rows; everything else (ids, filters, exact scores, files) is done for it.

    Rows are numbered from 0 in the order in which :meth:`add` received them and never change.
    An index may have ``gives_final_scores``, True: the scores of :meth:`search` are those of
    :mod:`itemspace.core.scoring` already, float64, and not worked out again. And it may have
    ``remove(rows, gone) -> bool``, which takes rows out, int64 and each once: then it is not asked
    to leave dead rows out. False: not all were in; it is made anew. And ``tune(rows, recall,
    queries)``, which finds by sample queries what a recall takes.
    """

    #: ``scores="exact"``: candidates are scored again from the vectors; ``"estimated"``: the
    #: scores of ``search`` are given out, and must be in the metric's unit, higher is better.
    #: ``supports_filter``: ``search`` honours ``eligible``.
    capabilities: Capabilities

    @property
    def tail_limit(self) -> int:
        """Rows that may wait outside the index, scanned exactly, before they are added."""

    @property
    def scan_limit(self) -> int:
        """With at most so many rows to choose from, they are scanned; the index is not asked."""

    def add(self, rows: RowView, start: int) -> None:
        """Take in the rows from ``start`` on; those before are in already. The first may train."""

    def search(
        self, rows: RowView, queries: FloatMatrix, k: int, eligible: Eligible | None
    ) -> tuple[RowMatrix, npt.NDArray[np.floating]]:
        """Candidate rows (q, m), int64, m ≥ k, and their scores, best first.

        ``rows`` are those that were added. Unused places at the end of a line hold row -1.
        ``eligible``, of as many rows, is only given where the filter is supported; only rows that
        are in it may come back. Calls may come from several threads at once, never beside an
        ``add``.
        """

    def save(self, folder: Path) -> None:
        """Write the index's own files into an existing empty folder (without the vectors)."""

    def load(self, folder: Path, count: int) -> None:
        """The reverse of :meth:`save`, for an index of ``count`` rows.

        Raises :class:`~itemspace.core.errors.CorruptData` where the files do not fit each other.
        """

    def describe(self) -> dict[str, Any]:
        """What it is made of, for people: numbers of tables, bits, bytes, …"""
