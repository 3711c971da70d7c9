"""Builds, spaces and versions: rows of the bookkeeping, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..core.errors import NothingPublished, PublishConflict, UnknownBuild, UnknownSpace
from ..core.ids import IdKind
from ..core.metric import Metric
from ..core.vectors import VectorSet
from .bookkeeping import build_table, space_table, version_table
from .catalog import Catalog
from .engines import translated_errors


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


@dataclass(frozen=True)
class PublishedUsers:
    """Where the users' vectors of a version are."""

    url: str
    checksum: str
    count: int
    id_kind: IdKind


@dataclass(frozen=True)
class Version:
    """One immutable published state of a space."""

    space: str
    number: int
    build_id: int | None
    url: str
    checksum: str
    item_count: int
    dim: int
    metric: Metric
    id_kind: IdKind
    lineage: Mapping[str, Any]
    created_at: datetime
    users: PublishedUsers | None
    """The users' vectors that belong to it, if there are any."""


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
    with _writing(catalog) as connection:
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
    with _reading(catalog) as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        what = "There is no build yet" if number is None else f"There is no build {number}"
        if with_cold_start:
            what += " that has a cold start"
        how = "eges --field …" if with_cold_start else "item2vec"
        raise UnknownBuild(f"{what}; make one with `itemspace build {how}`.")
    facts = dict(row._mapping)
    return Build(**{**facts, "path": Path(row.path), "metric": Metric(row.metric)})


def add_version(
    catalog: Catalog,
    space: str,
    number: int,
    vectors: VectorSet,
    *,
    url: str,
    build: Build | None,
    users: PublishedUsers | None = None,
) -> Version:
    """Note a loaded version (and the space, if it is new); it is not live yet."""
    now = datetime.now(UTC)
    values = {
        "space": space,
        "number": number,
        "build_id": build.id if build else None,
        "url": url,
        "checksum": build.checksum if build else "",
        "item_count": len(vectors),
        "dim": vectors.dim,
        "metric": vectors.metric.value,
        "id_kind": vectors.ids.kind,
        "lineage": dict(vectors.lineage),
        "created_at": now,
    }
    if users is not None:
        values |= {
            "users_url": users.url,
            "users_checksum": users.checksum,
            "user_count": users.count,
            "user_id_kind": users.id_kind,
        }
    try:
        with _writing(catalog) as connection:
            known = select(space_table.c.name).where(space_table.c.name == space)
            if connection.execute(known).first() is None:
                connection.execute(insert(space_table).values(name=space, created_at=now))
            connection.execute(insert(version_table).values(values))
    except IntegrityError as error:
        raise PublishConflict(
            f"Another publisher made version {number} of {space!r} at the same moment; publish "
            "again."
        ) from error
    return get_version(catalog, space, number)


def next_number(catalog: Catalog, space: str) -> int:
    """The number that the space's next version gets, from 1."""
    statement = select(func.max(version_table.c.number)).where(version_table.c.space == space)
    with _reading(catalog) as connection:
        return (connection.scalar(statement) or 0) + 1


def live_number(catalog: Catalog, space: str) -> int | None:
    """The live version's number; ``None`` where nothing is published (or no such space is)."""
    statement = select(space_table.c.live_version).where(space_table.c.name == space)
    with _reading(catalog) as connection:
        number: int | None = connection.scalar(statement)
        return number


def get_version(catalog: Catalog, space: str, number: int | None = None) -> Version:
    """A version by its number; the live one when left out.

    Raises :class:`UnknownSpace` or :class:`NothingPublished`.
    """
    with _reading(catalog) as connection:
        names = list(connection.scalars(select(space_table.c.name)))
        if space not in names:
            known = ", ".join(names) or "none yet"
            raise UnknownSpace(
                f"There is no space {space!r} (there are: {known}); `itemspace publish` makes it."
            )
        live = select(space_table.c.live_version).where(space_table.c.name == space)
        wanted = live.scalar_subquery() if number is None else number
        row = connection.execute(
            select(version_table).where(
                version_table.c.space == space, version_table.c.number == wanted
            )
        ).one_or_none()
    if row is None:
        what = "has no live version" if number is None else f"has no version {number}"
        raise NothingPublished(f"The space {space!r} {what}; run `itemspace publish`.")
    return _version(row)


def swap_live(catalog: Catalog, space: str, *, expected: int | None, number: int) -> None:
    """Move the live pointer from ``expected`` to ``number``, in one compare-and-swap.

    Raises :class:`PublishConflict` where it no longer stands at ``expected``.
    """
    pointer = space_table.c.live_version
    holds = pointer.is_(None) if expected is None else pointer == expected
    statement = update(space_table).where(space_table.c.name == space, holds)
    with _writing(catalog) as connection:
        moved = connection.execute(statement.values(live_version=number)).rowcount
    if moved != 1:
        raise PublishConflict(
            f"The live version of {space!r} is no longer {expected}: another publisher was "
            "faster. Its version serves on; publish again."
        )


@contextmanager
def _reading(catalog: Catalog) -> Iterator[Connection]:
    with translated_errors(catalog.bookkeeping), catalog.bookkeeping.connect() as connection:
        yield connection


@contextmanager
def _writing(catalog: Catalog) -> Iterator[Connection]:
    """One transaction."""
    with translated_errors(catalog.bookkeeping), catalog.bookkeeping.begin() as connection:
        yield connection


def _version(row: Row[Any]) -> Version:
    facts = dict(row._mapping)
    facts.pop("id")
    names = ("users_url", "users_checksum", "user_count", "user_id_kind")
    url, checksum, count, kind = map(facts.pop, names)
    users = None if url is None else PublishedUsers(url, checksum, count, kind)
    return Version(**{**facts, "metric": Metric(row.metric), "users": users})
