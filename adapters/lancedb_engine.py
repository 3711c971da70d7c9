"""LanceDB's engine, which the process that used it first has to itself; and its failures."""

from __future__ import annotations

import atexit
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import isqrt
from pathlib import Path
from typing import Any

from ..core.errors import (
    BackendError,
    BackendNotFound,
    BackendUnavailable,
    ClosedError,
    CorruptData,
    ItemspaceError,
)
from ..core.ids import Ids
from ..core.metric import Metric
from .lancedb_options import LanceDBOptions

os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of small clusters
#: What the engine would do at the end of a process.
_AT_EXIT: list[Any] = []


def _noted(function: Any, *arguments: Any, **more: Any) -> Any:
    _AT_EXIT.append(function)
    return _register(function, *arguments, **more)


_register: Any = atexit.register
atexit.register = _noted  # type: ignore[assignment]
try:
    import lancedb
    from lancedb import index as indexes
    from lancedb.expr import col
finally:
    atexit.register = _register

warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)  # no child uses it

#: What the engine calls the metrics, and its indexes.
DISTANCES = {Metric.COSINE: "cosine", Metric.INNER_PRODUCT: "dot", Metric.EUCLIDEAN: "l2"}
_INDEXES: dict[str, Any] = {
    "ivf_flat": indexes.IvfFlat,
    "ivf_sq": indexes.IvfSq,
    "ivf_pq": indexes.IvfPq,
    "hnsw_flat": indexes.HnswFlat,
    "hnsw_sq": indexes.HnswSq,
}
#: What it says of files that are not as it wrote them, and of a system in trouble.
_DAMAGE = re.compile(
    r"Not found: |fill whole buffer|too small|invalid magic|unsupported|panicked|Invalid range"
)
_TROUBLE = re.compile(r"os error (5|12|13|23|24|28|30)\b")
_NAMED = 10_000
#: Items per list that it trains with; where some are deleted, 256, its own, take 28 s and not 2.
_SAMPLED = 64
#: The process that the engine ran in first.
_ran_in: list[int] = []


def _leave_runtime() -> None:
    """A child of a process that used the engine would wait at its end for threads that it lacks."""
    if _ran_in:
        for function in _AT_EXIT:
            if (getattr(function, "__module__", None) or "").startswith("lancedb"):
                atexit.unregister(function)


os.register_at_fork(after_in_child=_leave_runtime)


def named(ids: Ids) -> Iterator[Any]:
    """The conditions that name some ids, each for itself short enough."""
    for start in range(0, len(ids), _NAMED):
        yield col("id").isin(ids[start : start + _NAMED].to_list())


def connect(folder: Path) -> Any:
    """The database in a folder; each call to one of its tables is of the latest version."""
    return lancedb.connect(folder, read_consistency_interval=timedelta(0))


def index_config(options: LanceDBOptions, metric: Metric, items: int) -> Any:
    """The engine's own, for an index of so many items."""
    lists, of_graph = options.lists and min(options.lists, items), {}
    if options.is_graph:
        of_graph = {"m": options.m, "ef_construction": options.ef_construction}
    return _INDEXES[options.index](
        distance_type=DISTANCES[metric],
        num_partitions=lists or (None if options.is_graph else isqrt(items)),
        sample_rate=_SAMPLED,
        **of_graph,
    )


@contextmanager
def engine(place: Path) -> Iterator[None]:
    """Raise what the engine raises as ours; in a forked child do not even try."""
    if not _ran_in:
        _ran_in.append(os.getpid())
    if _ran_in[0] != os.getpid():
        raise ClosedError(
            f"{place} cannot be used here: this process was forked from {_ran_in[0]}, where "
            "LanceDB ran, and its engine does not live on in a child. Fork before anything is "
            "opened, or start processes with 'spawn' or 'forkserver', and open it there."
        )
    try:
        yield
    except ItemspaceError:
        raise
    except Exception as error:
        raise _translated(error, place) from error


def _translated(error: Exception, place: Path) -> ItemspaceError:
    reason = re.sub(r",? /\S+\.rs:\d+:\d+", "", str(error)).removeprefix("lance error: ")
    if "was not found" in reason:
        return BackendNotFound(f"There is no longer a table {place}; create it again.")
    if _TROUBLE.search(reason):
        return BackendUnavailable(f"LanceDB cannot use {place}: {reason}.")
    if _DAMAGE.search(reason):
        return CorruptData(
            f"{place} is not a whole LanceDB table: {reason}; restore it from a backup or build it "
            "again.",
            path=str(place),
        )
    if "commit conflict" in reason:
        return BackendError(f"Another program wrote to {place} meanwhile; try again ({reason}).")
    return BackendError(f"LanceDB fails at {place}: {reason}.")
