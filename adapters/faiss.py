"""``faiss://``: any index that FAISS's factory strings describe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from ..core.capabilities import Capabilities
from ..core.eligible import Eligible
from ..core.errors import BackendError, CorruptData, InvalidOption
from ..core.metric import Metric
from ..core.vectors import FloatMatrix, RowView, unit_rows
from ..lsh.reductions import Reduction
from .in_process import InProcessBackend
from .index import RowMatrix
from .options import check_option, search_time

_FILE = "index.faiss"
#: FAISS advises at least 39 training vectors per centroid; product quantisers have 256.
_TRAINING_ROWS, _LEAST_CENTROIDS = 39, 256
#: Candidates that a lossy index hands over for exact scoring, unless ``rerank`` says otherwise.
_RERANK = 200


@dataclass(frozen=True)
class FaissOptions:
    """Parameters of a ``faiss:`` URL.

    Parameters
    ----------
    factory
        FAISS's index factory string: ``Flat``, ``LSH``, ``LSH256r``, ``IVF1024,Flat``,
        ``HNSW32``, ``PQ8``, ``IVF1024,RaBitQ``, …
    rerank
        How many candidates are scored again from the vectors, at least k; 0 gives out the
        index's own order and estimated scores. By default 0 for ``Flat``, which needs none, and
        200 elsewhere.
    nprobe
        Lists that an IVF index looks into.
    ef_search
        Width of the search in an HNSW index.
    """

    factory: str = "Flat"
    rerank: int | None = search_time(None)
    nprobe: int | None = search_time(None)
    ef_search: int | None = search_time(None)

    def __post_init__(self) -> None:
        for name, least in (("rerank", 0), ("nprobe", 1), ("ef_search", 1)):
            value = getattr(self, name)
            check_option(self, name, value is None or value >= least, f"at least {least}")


class FaissIndex:
    """An index over rows; FAISS's own ids are the rows."""

    scan_limit = 0

    def __init__(self, dim: int, metric: Metric, options: FaissOptions) -> None:
        self._dim, self._metric, self._options = dim, metric, options
        # IndexLSH knows no metric: hyperplanes separate directions, so other metrics are first
        # turned into angles (see Reduction).
        self._hashes = options.factory.startswith("LSH")
        self._reduction: Reduction | None = None
        made = self._make(dim)  # refuses the factory now, whatever is added later
        self._adopt(None if self._hashes else made)

    @property
    def tail_limit(self) -> int:
        """Rows that wait until there are enough to train on; none once it is trained."""
        if self._index is None or self._index.is_trained:
            return 0
        inner = faiss.try_extract_index_ivf(self._index)
        lists = 0 if inner is None else int(inner.nlist)
        return _TRAINING_ROWS * max(lists, _LEAST_CENTROIDS)

    def add(self, rows: RowView, start: int) -> None:
        new = rows.matrix[start:]
        if self._hashes:
            if self._reduction is None:
                self._reduction = Reduction.fit(new, self._metric)
            new = self._reduction.rows(new)
        elif self._metric is Metric.COSINE:
            new = unit_rows(new)
        with _translated(self._options):
            if self._index is None:
                self._adopt(self._make(new.shape[1]))
            assert self._index is not None
            if not self._index.is_trained:
                self._index.train(new)
            self._index.add(new)

    def search(
        self, _rows: RowView, queries: FloatMatrix, k: int, eligible: Eligible | None
    ) -> tuple[RowMatrix, npt.NDArray[np.float32]]:
        assert self._index is not None
        fetch = min(max(k, self._rerank), self._index.ntotal)
        if self._metric is Metric.COSINE:
            queries = unit_rows(queries)
        reduced = queries if self._reduction is None else self._reduction.queries(queries)
        with _translated(self._options):
            distances, found = self._index.search(reduced, fetch, params=self._parameters(eligible))
        return found, self._scores(queries, distances)

    def save(self, folder: Path) -> None:
        faiss.write_index(self._index, str(folder / _FILE))
        if self._reduction is not None:
            self._reduction.save(folder)

    def load(self, folder: Path, count: int) -> None:
        try:
            found = faiss.read_index(str(folder / _FILE))
        except RuntimeError as error:
            raise CorruptData(
                f"FAISS cannot read {folder / _FILE}: {error}.", path=str(folder)
            ) from error
        if self._hashes:
            self._reduction = Reduction.load(folder, self._metric, self._dim)
        if found.ntotal != count:
            raise CorruptData(
                f"{folder / _FILE} holds {found.ntotal} vectors; {count} were indexed.",
                path=str(folder),
            )
        self._adopt(found)

    def describe(self) -> dict[str, Any]:
        """The factory string and the kind of index that it made."""
        return {"factory": self._options.factory, "index": type(self._index).__name__}

    @property
    def _rerank(self) -> int:
        if self._options.rerank is not None:
            return self._options.rerank
        return 0 if isinstance(self._index, faiss.IndexFlat) else _RERANK

    def _make(self, dim: int) -> Any:
        product = self._metric is not Metric.EUCLIDEAN and not self._hashes
        kind = faiss.METRIC_INNER_PRODUCT if product else faiss.METRIC_L2
        try:
            return faiss.index_factory(dim, self._options.factory, kind)
        except RuntimeError as error:
            raise InvalidOption(
                f"FAISS makes no index of {dim} dimensions from factory="
                f"{self._options.factory!r}: {_reason(error)}.",
                option="factory",
                received=self._options.factory,
            ) from error

    def _adopt(self, index: Any) -> None:
        # The object that owns the C++ index must outlive its downcast view.
        self._owner = index
        self._index = None if index is None else faiss.downcast_index(index)
        self._check_search_options()
        exact = isinstance(self._index, faiss.IndexFlat)
        estimated = self._options.rerank == 0 and not exact
        self.capabilities = Capabilities(
            scores="estimated" if estimated else "exact",
            is_exact=exact,
            supports_filter=isinstance(self._index, _SELECTABLE),
        )

    def _check_search_options(self) -> None:
        for name, kind in (("nprobe", faiss.IndexIVF), ("ef_search", faiss.IndexHNSW)):
            value = getattr(self._options, name)
            if value is None or self._index is None or isinstance(self._index, kind):
                continue
            raise InvalidOption(
                f"{name} has no effect on factory={self._options.factory!r}, an index of type "
                f"{type(self._index).__name__}; it is for {kind.__name__} alone. Leave it out.",
                option=name,
                received=value,
            )

    def _parameters(self, eligible: Eligible | None) -> Any:
        chosen: dict[str, Any] = {}
        if eligible is not None:
            chosen["sel"] = faiss.IDSelectorBitmap(eligible.bits)
        if isinstance(self._index, faiss.IndexIVF):
            nprobe = self._options.nprobe or self._index.nprobe
            return faiss.SearchParametersIVF(nprobe=nprobe, **chosen)
        if isinstance(self._index, faiss.IndexHNSW):
            width = self._options.ef_search or self._index.hnsw.efSearch
            return faiss.SearchParametersHNSW(efSearch=width, **chosen)
        return faiss.SearchParameters(**chosen) if chosen else None

    def _scores(
        self, queries: FloatMatrix, distances: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """FAISS's figures in the metric's unit, higher is better."""
        if self._reduction is not None:
            # P[same bit] = 1 − θ/π, so a Hamming distance of h bits estimates θ = πh/bits.
            cosines = np.cos(np.pi * distances / self._index.code_size / 8)  # type: ignore[union-attr]
            return self._reduction.scores(cosines, queries)
        if self._metric is Metric.EUCLIDEAN:
            nearer: npt.NDArray[np.float32] = -np.sqrt(np.maximum(distances, 0))
            return nearer
        return distances


#: Kinds of index whose search takes an IDSelector.
_SELECTABLE = (faiss.IndexFlat, faiss.IndexIVF, faiss.IndexHNSW, faiss.IndexScalarQuantizer)


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without the C++ signature in front of it."""
    return str(error).rpartition("Error: ")[2].strip() or "unknown factory string"


@contextmanager
def _translated(options: FaissOptions) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise BackendError(f"FAISS ({options.factory}) fails: {_reason(error)}.") from error


# OpenMP's threads do not live on in a forked child, and its first parallel search would wait for
# them for ever; with one thread FAISS starts none.
os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))

backend = InProcessBackend(FaissOptions, FaissIndex)
