"""Builds: vectors that were made, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from ..core.errors import UnknownBuild
from ..core.metric import Metric
from ..core.vectors import VectorSet
from .bookkeeping import build_table
from .catalog import Catalog
from .engines import reading, writing


@dataclass(frozen=True)
class Build:
    """Vectors that a builder made, or that came in from outside."""

    id: int
    builder: str
    path: Path
    checksum: str
    item_count: int
    dim: int
    metric: Metric
    lineage: Mapping[str, Any]
    created_at: datetime

    @property
    def cold_start_path(self) -> Path:
        """Where its cold start is, if its lineage has a ``cold_start``, the checksum of that."""
        return cold_start_path(self.path)

    @property
    def user_vectors_path(self) -> Path:
        """Where its users' vectors are, if its lineage has ``user_vectors``, their checksum."""
        return user_vectors_path(self.path)


def user_vectors_path(path: Path) -> Path:
    """Where the users' vectors of a build at a path are: beside it."""
    return path.with_name(f"{path.name}-users")


def cold_start_path(path: Path) -> Path:
    """Where the cold start of the vectors at a path is: beside them."""
    return path.with_name(f"{path.name}-cold-start")


def record_build(
    catalog: Catalog, vectors: VectorSet, *, builder: str, path: Path, checksum: str
) -> Build:
    """Note vectors that were saved to ``path`` (:meth:`VectorSet.save` gave the checksum)."""
    values = {
        "builder": builder,
        "path": str(path.resolve()),
        "checksum": checksum,
        "item_count": len(vectors),
        "dim": vectors.dim,
        "metric": vectors.metric.value,
        "lineage": dict(vectors.lineage),
        "created_at": datetime.now(UTC),
    }
    with writing(catalog.bookkeeping) as connection:
        made = connection.execute(insert(build_table).values(values)).inserted_primary_key
    assert made is not None
    return get_build(catalog, made[0])


def get_build(
    catalog: Catalog, number: int | None = None, *, with_cold_start: bool = False
) -> Build:
    """A build by its number; the newest, or newest with a cold start, when left out.

    Raises :class:`UnknownBuild`.
    """
    statement = select(build_table).order_by(build_table.c.id.desc()).limit(1)
    if number is not None:
        statement = statement.where(build_table.c.id == number)
    if with_cold_start:
        statement = statement.where(build_table.c.lineage["cold_start"].as_string().is_not(None))
    with reading(catalog.bookkeeping) as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        what = "There is no build yet" if number is None else f"There is no build {number}"
        if with_cold_start:
            what += " that has a cold start"
        how = "eges --field …" if with_cold_start else "item2vec"
        raise UnknownBuild(f"{what}; make one with `itemspace build {how}`.")
    facts = dict(row._mapping)
    return Build(**{**facts, "path": Path(row.path), "metric": Metric(row.metric)})
