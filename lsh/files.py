"""An index as files; what is read is checked, so that no search reads out of bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import CorruptData
from ..core.metric import Metric
from ..core.storage import load_array
from .buckets import BUCKETS, NO_BIAS, NODES, Buckets, blocks_in_order
from .growing import Forest
from .lanes import GROUP, LANES
from .trees import Trees, chains

Array = npt.NDArray[Any]


def save_trees(folder: Path, metric: Metric, trees: Trees) -> None:
    """Write what is in use, a bucket's blocks after each other."""
    forest, buckets = trees.forest, trees.buckets
    nodes, count = int(buckets.counts[NODES]), int(buckets.counts[BUCKETS])
    blocks = blocks_in_order(buckets)
    in_order = bool(np.array_equal(blocks, np.arange(len(blocks))))
    place: Any = slice(len(blocks)) if in_order else blocks
    arrays = {
        "planes": forest.planes[:nodes],
        "offsets": forest.offsets[:nodes],
        "weights": forest.weights[:nodes],
        "children": forest.children[:nodes],
        "roots": forest.roots,
        "centres": buckets.centres[:count],
        "steps": buckets.steps[:count],
        "sizes": buckets.sizes[:count],
        "depths": buckets.depths[:count],
        "codes": buckets.codes[place],
        "rows": buckets.rows[place],
    }
    if metric is Metric.INNER_PRODUCT:
        arrays["scales"] = forest.scales[:nodes]
    if len(buckets.biases) > 1:
        arrays["biases"] = buckets.biases[place]
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def load_trees(folder: Path, metric: Metric, dim: int, count: int, drawn: Array) -> Trees:
    """The reverse of :func:`save_trees`, memory-mapped.

    Parameters
    ----------
    count
        The rows that there are.
    drawn
        A random family's planes, (trees, depths, width); without depths of another.

    Raises
    ------
    CorruptData
        The files don't fit each other, or name rows, nodes or buckets that there are not.
    """
    names = ["planes", "offsets", "weights", "children", "roots", "centres", "steps", "sizes"]
    names += ["depths", "codes", "rows"]
    names += {Metric.EUCLIDEAN: ["biases"], Metric.INNER_PRODUCT: ["scales"]}.get(metric, [])
    found = {name: load_array(folder / f"{name}.npy") for name in names}
    fault = _fault(found, dim, count, drawn)
    if fault:
        raise CorruptData(f"The index in {folder} is damaged: {fault}.", path=str(folder))
    first, following = chains(found["sizes"])
    nodes, buckets, blocks = (len(found[name]) for name in ("offsets", "sizes", "codes"))
    found.setdefault("scales", np.ones(nodes, dtype=np.float32))
    return Trees(
        Forest(*(found[name] for name in Forest._fields)),
        Buckets(
            **{name: found[name] for name in ("centres", "steps", "sizes", "depths", "codes")},
            rows=found["rows"],
            biases=found.get("biases", NO_BIAS),
            first=first,
            following=following,
            counts=np.array([nodes, buckets, blocks, -1, 0], dtype=np.int64),
        ),
        is_owned=False,
    )


def _fault(found: Mapping[str, Array], dim: int, count: int, drawn: Array) -> str:
    """What is wrong; empty: nothing, whatever the numbers are."""
    trees, depths, width = drawn.shape
    nodes, buckets, blocks = (len(found[name]) for name in ("offsets", "sizes", "codes"))
    expected = {
        "planes": ((nodes, width), np.float32),
        "offsets": ((nodes,), np.float32),
        "weights": ((nodes,), np.float32),
        "scales": ((nodes,), np.float32),
        "children": ((nodes, 2), np.int32),
        "roots": ((trees,), np.int32),
        "centres": ((buckets, dim), np.float32),
        "steps": ((buckets,), np.float32),
        "sizes": ((buckets,), np.int32),
        "depths": ((buckets,), np.int32),
        "codes": ((blocks, -(-dim // GROUP), LANES, GROUP), np.uint8),
        "rows": ((blocks, LANES), np.int32),
        "biases": ((blocks, LANES), np.float32),
    }
    for name, array in found.items():
        shape, kind = expected[name]
        if array.shape != shape or array.dtype != kind or not array.flags.c_contiguous:
            return f"{name} is {array.dtype} {array.shape}, not {np.dtype(kind)} {shape}"
    sizes, rows = found["sizes"].astype(np.int64), found["rows"]
    if (sizes < 0).any() or int((-(-sizes // LANES)).sum()) != blocks or not blocks:
        return "its buckets do not take up its blocks"
    if rows.min(initial=-1) < -1 or rows.max(initial=-1) >= count:
        return f"it names rows that are none of {count}"
    if found["depths"].min() < 0 or found["depths"].max() > depths:
        return "a bucket lies deeper than there are planes"
    return _fault_of_trees(found["children"].astype(np.int64), found["roots"], nodes, buckets)


def _fault_of_trees(children: Array, roots: Array, nodes: int, buckets: int) -> str:
    """Every node and bucket hangs from one place, a node from one before it."""
    below = np.concatenate([children.ravel(), roots])
    parents = np.concatenate([np.repeat(np.arange(nodes), 2), np.full(len(roots), -1)])
    inner = below >= 0
    if (below >= nodes).any() or (below < -buckets).any() or (below <= parents)[inner].any():
        return "its nodes are no trees"
    hung = np.bincount(below[inner], minlength=nodes), np.bincount(-1 - below[~inner])
    if (hung[0] != 1).any() or len(hung[1]) != buckets or (hung[1] != 1).any():
        return "a node or a bucket does not hang from one place"
    return ""
