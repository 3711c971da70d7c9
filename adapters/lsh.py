"""``lsh://``: the native random-hyperplane LSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.metric import Metric
from ..core.vectors import FloatMatrix
from ..lsh import HyperplaneLSH, LSHOptions
from .in_process import InProcessBackend
from .index import Mask, RowMatrix, RowView


class LSHIndex:
    """:class:`~itemspace.lsh.HyperplaneLSH` as an :class:`~.index.Index`."""

    capabilities = Capabilities()

    def __init__(self, dim: int, metric: Metric, options: LSHOptions) -> None:
        self._lsh = HyperplaneLSH(dim, metric, options)

    @property
    def tail_limit(self) -> int:
        return self._lsh.tail_limit

    @property
    def scan_limit(self) -> int:
        return self._lsh.scan_limit

    def add(self, rows: RowView, start: int) -> None:
        self._lsh.add(rows.matrix, start)

    def search(
        self, rows: RowView, queries: FloatMatrix, k: int, eligible: Mask | None
    ) -> tuple[RowMatrix, npt.NDArray[np.float32]]:
        return self._lsh.search(queries, rows.matrix, rows.norms, k, eligible)

    def save(self, folder: Path) -> None:
        self._lsh.save(folder)

    def load(self, folder: Path, count: int) -> None:
        self._lsh.load(folder, count)

    def describe(self) -> dict[str, Any]:
        return self._lsh.describe()


backend = InProcessBackend(LSHOptions, LSHIndex)
