"""``balltree:``: exact search by scikit-learn's ball tree, for few dimensions."""

from dataclasses import dataclass

import numpy as np
from itemspace import Metric
from itemspace.adapters.in_process import InProcessBackend
from itemspace.core.capabilities import Capabilities
from itemspace.core.errors import CorruptData, InvalidOption
from itemspace.core.storage import load_array
from itemspace.core.vectors import unit_rows
from sklearn.neighbors import BallTree


@dataclass(frozen=True)
class Options:
    """Parameters of a ``balltree:`` URL."""

    leaf_size: int = 40

    def __post_init__(self):
        if self.leaf_size < 1:
            raise InvalidOption(
                "leaf_size is at least 1.", option="leaf_size", received=self.leaf_size
            )


class Tree:
    """A tree over all rows; with new ones it is made anew."""

    capabilities = Capabilities(supports_filter=False)
    tail_limit = 1000  # rows may wait until there are so many: they are scanned meanwhile
    scan_limit = 0

    def __init__(self, dim, metric, options):
        self.metric, self.options = metric, options

    def add(self, rows, start):
        matrix = unit_rows(rows.matrix) if self.metric is Metric.COSINE else rows.matrix
        if self.metric is Metric.INNER_PRODUCT:  # Bachrach et al. 2014: all rows of one length
            spare = np.maximum(rows.norms.max() ** 2 - rows.norms**2, 0)
            matrix = np.column_stack([matrix, np.sqrt(spare)])
        self.tree = BallTree(matrix, self.options.leaf_size)

    def search(self, rows, queries, k, eligible):
        if self.metric is Metric.COSINE:
            queries = unit_rows(queries)
        elif self.metric is Metric.INNER_PRODUCT:
            queries = np.column_stack([queries, np.zeros(len(queries))])
        distances, found = self.tree.query(queries, min(k, len(rows.matrix)))
        return found, -distances  # the driver scores what was found anew

    def save(self, folder):
        np.save(folder / "points.npy", self.tree.data)

    def load(self, folder, count):
        points = load_array(folder / "points.npy")
        if len(points) != count:
            raise CorruptData(f"{folder} is of {len(points)} rows.", path=str(folder))
        self.tree = BallTree(points, self.options.leaf_size)

    def describe(self):
        return {"leaf_size": self.options.leaf_size}


backend = InProcessBackend(Options, Tree)
