"""A space: one published version of item vectors, over the catalog's tables."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
from sqlalchemy import Connection

from ..adapters import open_retriever
from ..catalog.catalog import Bind, Catalog
from ..catalog.mapping import ItemTable
from ..catalog.records import Version, get_version
from ..core.errors import InvalidId, UnknownIds
from ..core.ids import Ids
from ..core.retriever import Retriever
from ..core.vectors import check_matrix
from .lookup import Lookup


class Space:
    """Lookups over one version of a named space.

    ``Space.open(catalog, "items")`` takes the version that is live at that moment and keeps to
    it until it is closed. Safe to use from several threads.
    """

    def __init__(self, catalog: Catalog, version: Version, retriever: Retriever) -> None:
        self._catalog, self._version, self._retriever = catalog, version, retriever

    @classmethod
    def open(cls, catalog: Catalog, name: str = "items", version: int | None = None) -> Self:
        """The live version, or the one named.

        Raises
        ------
        UnknownSpace, NothingPublished
            Nothing to open.
        InvalidId
            The ids of the items table are of another kind than those of the vectors.
        BackendNotFound, CorruptData, …
            What :func:`~itemspace.adapters.open_retriever` raises.
        """
        found = get_version(catalog, name, version)
        kind = catalog.items.id_kind
        if kind != found.id_kind:
            raise InvalidId(
                f"The items of {catalog.items.table} have {kind} ids, the vectors of {name!r} "
                f"version {found.number} have {found.id_kind} ids; map the right id column or "
                "build the vectors from the same ids."
            )
        return cls(catalog, found, open_retriever(found.url))

    def __repr__(self) -> str:
        return f"<Space {self.name!r}, version {self.version}, {self._retriever!r}>"

    @property
    def name(self) -> str:
        """The space's name."""
        return self._version.space

    @property
    def version(self) -> int:
        """The number of the version that answers."""
        return self._version.number

    @property
    def catalog(self) -> Catalog:
        """The tables it looks up in."""
        return self._catalog

    @property
    def items(self) -> ItemTable:
        """The mapped items."""
        return self._catalog.items

    @property
    def retriever(self) -> Retriever:
        """The version's retriever, opened for reading."""
        return self._retriever

    def connection(self, bind: Bind | None) -> AbstractContextManager[Connection]:
        """The caller's connection, or one of the catalog's."""
        return self._catalog.connection(bind)

    def similar_to(self, item: Any, k: int = 10) -> Lookup:
        """The k items nearest to ``item``, which is itself left out.

        Raises :class:`~itemspace.core.errors.UnknownIds` where it has no vector in this version.
        """
        ids = Ids([item], self._version.id_kind)
        try:
            query = self._retriever.vectors(ids)
        except UnknownIds:
            raise UnknownIds(
                f"The item {item!r} has no vector in version {self.version} of {self.name!r}; "
                "check the id, or build and publish with newer interactions.",
                ids=[item],
            ) from None
        return Lookup(self, query, k, ids)

    def near(self, vector: Any, k: int = 10, *, excluded: Any = ()) -> Lookup:
        """The k items nearest to a vector (d,), without the ``excluded`` ids."""
        query = check_matrix(np.asarray(vector)[None, :], "query")
        return Lookup(self, query, k, Ids(excluded, self._version.id_kind))

    def close(self) -> None:
        """Close the retriever; the catalog stays open."""
        self._retriever.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
