"""``vectorset:``: user vectors in a folder that is memory-mapped, or in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..adapters.url import RetrieverURL
from ..core.errors import BackendNotFound, InvalidURL, MissingData
from ..core.ids import IdKind, Ids
from ..core.metric import Metric
from ..core.storage import read_manifest, remove_directory
from ..core.vectors import FORMAT, KIND, FloatMatrix, VectorSet
from .store import Found


@dataclass(frozen=True)
class VectorSetOptions:
    """A ``vectorset:`` URL has no parameters."""


class VectorSetStore:
    """A :class:`.UserStore` over a :class:`.VectorSet`."""

    def __init__(self, vectors: VectorSet, checksum: str) -> None:
        self._vectors, self.checksum = vectors, checksum

    def __repr__(self) -> str:
        return f"<VectorSetStore of {self._vectors!r}>"

    @property
    def dim(self) -> int:
        return self._vectors.dim

    @property
    def metric(self) -> Metric:
        return self._vectors.metric

    @property
    def id_kind(self) -> IdKind:
        return self._vectors.ids.kind

    def __len__(self) -> int:
        return len(self._vectors)

    def vectors(self, ids: Ids) -> tuple[Found, FloatMatrix]:
        rows = self._vectors.ids.rows_of(ids)
        found = rows >= 0
        return found, np.ascontiguousarray(self._vectors.matrix[rows[found]])

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[Ids, FloatMatrix]]:
        for start in range(0, len(self), batch_size):
            batch = slice(start, start + batch_size)
            yield self._vectors.ids[batch], np.ascontiguousarray(self._vectors.matrix[batch])

    def close(self) -> None:
        pass


class VectorSetBackend:
    """A folder as :meth:`.VectorSet.save` writes it."""

    options = VectorSetOptions

    def child(self, url: RetrieverURL, name: str) -> RetrieverURL:
        """One folder deeper."""
        return url.child(name)

    def create(
        self, url: RetrieverURL, _options: VectorSetOptions, vectors: VectorSet
    ) -> VectorSetStore:
        vectors.save(_folder(url))
        return self._open(_folder(url))

    def open(self, url: RetrieverURL, _options: VectorSetOptions) -> VectorSetStore:
        try:
            return self._open(_folder(url))
        except MissingData as error:
            raise BackendNotFound(
                f"No user vectors are stored at {url}; check the path, or publish again."
            ) from error

    def remove(self, url: RetrieverURL, _options: VectorSetOptions) -> None:
        remove_directory(_folder(url))

    def _open(self, folder: Path) -> VectorSetStore:
        checksum = read_manifest(folder, KIND, FORMAT)["sha256"]
        return VectorSetStore(VectorSet.open(folder), checksum)


def _folder(url: RetrieverURL) -> Path:
    if url.location is None:
        raise InvalidURL(
            f"{str(url)!r} names no folder; write 'vectorset:///data/users'.", url=str(url)
        )
    return url.location


backend = VectorSetBackend()
