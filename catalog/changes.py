"""The log of what was upserted and deleted between publishes: blocks with revision numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import ColumnElement, delete, func, insert, select, update

from ..core.errors import CorruptData, NothingPublished, VersionMismatch
from ..core.ids import Ids
from ..core.vectors import FloatMatrix
from .bookkeeping import change_table, space_table, version_table
from .catalog import Catalog
from .engines import reading, writing
from .versions import State, Version

#: Bytes of vectors, and ids, of one block: servers refuse packets of many megabytes.
_BYTES, _IDS = 4 << 20, 50_000


@dataclass(frozen=True)
class Change:
    """Items that were upserted, or deleted, together."""

    revision: int
    training: int
    """Of the vectors: see :attr:`.Version.training`."""
    ids: Ids
    vectors: FloatMatrix | None
    """(n, d); None: they were deleted."""


def append_changes(
    catalog: Catalog, version: Version, ids: Ids, vectors: FloatMatrix | None
) -> int:
    """Add changes to the log of a version's space, all or none; returns the last revision.

    Whoever reads a revision has read all before it: writers of a space wait for each other.

    Raises
    ------
    VersionMismatch
        The space's live version has vectors of another training than ``version`` by now.
    """
    blocks = list(_blocks(ids, vectors, version.dim))
    mine = space_table.c.name == version.space
    now = datetime.now(UTC)
    with writing(catalog.bookkeeping) as connection:
        advanced = space_table.c.revision + len(blocks)
        connection.execute(update(space_table).where(mine).values(revision=advanced))
        live = (
            select(space_table.c.revision, version_table.c.number, version_table.c.training)
            .join_from(space_table, version_table, version_table.c.space == space_table.c.name)
            .where(mine, version_table.c.number == space_table.c.live_version)
        )
        row = connection.execute(live).one_or_none()
        if row is None:
            raise NothingPublished(f"The space {version.space!r} has no live version.")
        last, number, training = row
        if vectors is not None and training != version.training:
            raise VersionMismatch(
                f"The space {version.space!r} is at version {number} by now, whose vectors cannot "
                f"be compared with those of version {version.number}; make the vectors anew."
            )
        rows = [
            {
                "space": version.space,
                "revision": last - len(blocks) + 1 + at,
                "training": version.training,
                "ids": json.dumps(some.to_list()),
                "vectors": None if matrix is None else matrix.astype("<f4").tobytes(),
                "created_at": now,
            }
            for at, (some, matrix) in enumerate(blocks)
        ]
        if rows:
            connection.execute(insert(change_table), rows)
    return int(last)


def read_changes(
    catalog: Catalog, version: Version, after: int, upto: int | None = None
) -> Iterator[Change]:
    """The changes of a version's space with revisions in (after, upto], that are for the version.

    Vectors of another training are not; deletions always are.

    Raises
    ------
    CorruptData
        What the table holds cannot be.
    """
    columns, wanted = change_table.c, _for(version, after)
    if upto is not None:
        wanted &= columns.revision <= upto
    statement = select(columns.revision, columns.training, columns.ids, columns.vectors)
    with reading(catalog.bookkeeping) as connection:
        rows = connection.execute(statement.where(wanted).order_by(columns.revision)).all()
    for revision, training, names, vectors in rows:
        try:
            ids, matrix = Ids(json.loads(names), version.id_kind), None
            if vectors is not None:
                matrix = np.frombuffer(vectors, "<f4").astype(np.float32)
                matrix = matrix.reshape(len(ids), version.dim)
        except ValueError as error:
            raise CorruptData(
                f"The change {revision} of {version.space!r} in itemspace_change cannot be read "
                f"({error}); publish again without changes.",
                path=change_table.name,
            ) from error
        yield Change(revision, training, ids, matrix)


def count_changes(catalog: Catalog, version: Version) -> int:
    """Blocks of changes since a version that are for it."""
    statement = select(func.count()).where(_for(version, version.base_revision))
    with reading(catalog.bookkeeping) as connection:
        return int(connection.scalar(statement) or 0)


def trim_changes(catalog: Catalog, space: str) -> int:
    """Remove what no version needs that is still there; returns how many blocks went."""
    needed = select(func.min(version_table.c.base_revision)).where(
        version_table.c.space == space,
        version_table.c.state.in_([State.LOADING, State.READY]),
    )
    with writing(catalog.bookkeeping) as connection:
        oldest = connection.scalar(needed)
        if oldest is None:
            return 0
        gone = delete(change_table).where(
            change_table.c.space == space, change_table.c.revision <= oldest
        )
        return int(connection.execute(gone).rowcount)


def _for(version: Version, after: int) -> ColumnElement[bool]:
    """Changes after a revision that are for a version."""
    columns = change_table.c
    comparable = (columns.training == version.training) | columns.vectors.is_(None)
    return (columns.space == version.space) & (columns.revision > after) & comparable


def _blocks(
    ids: Ids, vectors: FloatMatrix | None, dim: int
) -> Iterator[tuple[Ids, FloatMatrix | None]]:
    step = _IDS if vectors is None else max(1, min(_IDS, _BYTES // (4 * dim)))
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        yield ids[rows], None if vectors is None else vectors[rows]
