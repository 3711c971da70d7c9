"""``exact://``: NumPy and BLAS; the reference that the others are held against."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, RowView
from .in_process import InProcessBackend
from .index import RowMatrix


@dataclass(frozen=True)
class ExactOptions:
    """No parameters."""


class NoIndex:
    """Leaves every row to the exact scan."""

    capabilities = Capabilities(is_exact=True, supports_exact_ties=True)
    tail_limit = sys.maxsize
    scan_limit = sys.maxsize

    def __init__(self, _dim: int, _metric: Metric, _options: ExactOptions) -> None:
        """Nothing to prepare."""

    def add(self, rows: RowView, start: int) -> None:
        """Nothing to do."""

    def search(
        self, _rows: RowView, queries: FloatMatrix, k: int, _eligible: Eligible | None
    ) -> tuple[RowMatrix, npt.NDArray[np.float32]]:
        """Finds nothing; ``scan_limit`` keeps it from being asked."""
        shape = (len(queries), k)
        return np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Nothing to write."""

    def load(self, folder: Path, count: int) -> None:
        """Nothing to read."""

    def describe(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}


backend = InProcessBackend(ExactOptions, NoIndex)
