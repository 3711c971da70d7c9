"""Spaces and their versions; the live pointer, which is the truth about what answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..core.errors import NothingPublished, PublishConflict, UnknownSpace
from ..core.ids import IdKind
from ..core.metric import Metric
from .bookkeeping import space_table, version_table
from .catalog import Catalog
from .clock import database_clock
from .engines import reading, writing

#: For how long, in seconds, a version that is being opened is kept before it is renewed.
READING_SECONDS = 60.0


class State(StrEnum):
    """What has become of a version."""

    LOADING = "loading"
    """A publisher loads it, or was killed while it did."""
    READY = "ready"
    """It is complete, and can be live."""
    REMOVING = "removing"
    """Its vectors are being removed."""
    REMOVED = "removed"
    """Its vectors are gone; what is known of it stays."""


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
    state: State
    training: int
    """The first version whose vectors are of the same training: only those can be compared."""
    base_revision: int
    """Changes up to this revision are in it, or are not for it."""
    measures: Mapping[str, Any]
    """What was measured when it was published: recall, overlap, bytes, seconds."""
    activated_at: datetime | None
    """When it was last made live; None: never."""
    users: PublishedUsers | None
    """The users' vectors that belong to it, if there are any; while it loads, where they go."""

    @property
    def was_ready(self) -> bool:
        """Whether it was ever complete."""
        return bool(self.measures) or self.activated_at is not None


@dataclass(frozen=True)
class Pointer:
    """Where a space stands."""

    live: int | None
    """The version that answers."""
    revision: int
    """Of the last change."""


def ensure_space(catalog: Catalog, space: str) -> None:
    """Make a space where there is none of that name."""
    with reading(catalog.bookkeeping) as connection:
        if connection.scalar(select(space_table.c.name).where(space_table.c.name == space)):
            return
    try:
        with writing(catalog.bookkeeping) as connection:
            values = {"name": space, "created_at": datetime.now(UTC), "revision": 0}
            connection.execute(insert(space_table).values(values))
    except IntegrityError:
        pass  # another process made it


def get_pointer(catalog: Catalog, space: str) -> Pointer:
    """Where a space stands; raises :class:`UnknownSpace`."""
    columns = select(space_table.c.live_version, space_table.c.revision)
    with reading(catalog.bookkeeping) as connection:
        row = connection.execute(columns.where(space_table.c.name == space)).one_or_none()
        if row is None:
            raise _unknown(connection, space)
    return Pointer(*row)


def add_version(catalog: Catalog, space: str, number: int, **values: Any) -> Version:
    """Note a version that will be loaded; it is ``LOADING``, and of a training of its own where
    nothing else is said.

    Raises :class:`PublishConflict` where there is one of that number.
    """
    facts = {"training": number, **values, "space": space, "number": number}
    facts |= {"created_at": datetime.now(UTC), "state": State.LOADING}
    try:
        with writing(catalog.bookkeeping) as connection:
            connection.execute(insert(version_table).values(facts))
    except IntegrityError as error:
        raise PublishConflict(
            f"Another publisher made version {number} of {space!r} at the same moment; publish "
            "again."
        ) from error
    return get_version(catalog, space, number)


def finish_version(
    catalog: Catalog, version: Version, measures: Mapping[str, Any], users: PublishedUsers | None
) -> Version:
    """Note that a version is loaded and was checked: it is ``READY``."""
    values = {
        "state": State.READY,
        "measures": dict(measures),
        "users_url": users and users.url,
        "users_checksum": users and users.checksum,
        "user_count": users and users.count,
        "user_id_kind": users and users.id_kind,
    }
    set_state(catalog, version, State.LOADING, **values)
    return get_version(catalog, version.space, version.number)


def set_state(catalog: Catalog, version: Version, expected: State, **values: Any) -> None:
    """Change a version that is in a state; raises :class:`PublishConflict` where it is not."""
    mine = _named(version.space, version.number), version_table.c.state == expected
    with writing(catalog.bookkeeping) as connection:
        if connection.execute(update(version_table).where(*mine).values(**values)).rowcount != 1:
            raise PublishConflict(
                f"Version {version.number} of {version.space!r} is no longer {expected}: another "
                "process took it for a leftover. Publish again."
            )


def forget_version(catalog: Catalog, version: Version) -> None:
    """Remove what is known of a version that was never complete."""
    removing = _named(version.space, version.number), version_table.c.state == State.REMOVING
    with writing(catalog.bookkeeping) as connection:
        connection.execute(delete(version_table).where(*removing))


def get_version(catalog: Catalog, space: str, number: int | None = None) -> Version:
    """A version by its number; the live one when left out.

    Raises :class:`UnknownSpace` or :class:`NothingPublished`.
    """
    live = select(space_table.c.live_version).where(space_table.c.name == space).scalar_subquery()
    with reading(catalog.bookkeeping) as connection:
        row = connection.execute(
            select(version_table).where(_named(space, live if number is None else number))
        ).one_or_none()
        if row is not None:
            return _version(row)
        known = select(space_table.c.name).where(space_table.c.name == space)
        if connection.scalar(known) is None:
            raise _unknown(connection, space)
    what = "has no live version" if number is None else f"has no version {number}"
    raise NothingPublished(f"The space {space!r} {what}; run `itemspace publish`.")


def list_versions(catalog: Catalog, space: str) -> list[Version]:
    """All versions that a space ever had, oldest first."""
    mine = select(version_table).where(version_table.c.space == space)
    with reading(catalog.bookkeeping) as connection:
        rows = connection.execute(mine.order_by(version_table.c.number)).all()
    return [_version(row) for row in rows]


def swap_live(
    catalog: Catalog, version: Version, *, expected: int | None, publisher: str | None = None
) -> None:
    """Make a version live in one compare-and-swap, where ``expected`` is live still.

    Raises
    ------
    PublishConflict
        Another one is live, ``publisher`` publishes no longer, or the version is not ``READY``.
    """
    space, pointer = version.space, space_table.c.live_version
    holds = [pointer.is_(None) if expected is None else pointer == expected]
    if publisher is not None:
        holds.append(space_table.c.publisher == publisher)
    # Who collects versions looks at the same row of the version, and waits for this transaction.
    kept = {
        "activated_at": datetime.now(UTC),
        "read_until": database_clock() + READING_SECONDS,
    }
    ready = _named(space, version.number), version_table.c.state == State.READY
    move = update(space_table).where(space_table.c.name == space, *holds)
    with writing(catalog.bookkeeping) as connection:
        if connection.execute(update(version_table).where(*ready).values(kept)).rowcount != 1:
            raise PublishConflict(
                f"Version {version.number} of {space!r} is not ready to be live; `itemspace "
                "versions` lists those that are."
            )
        if connection.execute(move.values(live_version=version.number)).rowcount != 1:
            raise PublishConflict(
                f"The live version of {space!r} is no longer {expected}, or another publisher "
                "took over: it was faster. Its version serves on; publish again."
            )


def version_before(catalog: Catalog, space: str) -> Version:
    """The newest version older than the live one that was live once and is still there.

    Raises :class:`NothingPublished` where there is none.
    """
    live = get_version(catalog, space)
    wanted = select(version_table).where(
        version_table.c.space == space,
        version_table.c.number < live.number,
        version_table.c.state == State.READY,
        version_table.c.activated_at.is_not(None),
    )
    with reading(catalog.bookkeeping) as connection:
        row = connection.execute(wanted.order_by(version_table.c.number.desc()).limit(1)).first()
    if row is None:
        raise NothingPublished(
            f"The space {space!r} has no earlier version than {live.number} to go back to."
        )
    return _version(row)


def _named(space: str, number: Any) -> Any:
    return (version_table.c.space == space) & (version_table.c.number == number)


def _unknown(connection: Connection, space: str) -> UnknownSpace:
    known = ", ".join(connection.scalars(select(space_table.c.name))) or "none yet"
    return UnknownSpace(
        f"There is no space {space!r} (there are: {known}); `itemspace publish` makes it."
    )


def _version(row: Row[Any]) -> Version:
    facts = dict(row._mapping)
    for name in ("id", "read_until"):
        facts.pop(name)
    names = ("users_url", "users_checksum", "user_count", "user_id_kind")
    url, checksum, count, kind = map(facts.pop, names)
    users = None
    if url is not None:
        users = PublishedUsers(url, checksum or "", count or 0, kind or "int")
    facts |= {
        "metric": Metric(row.metric),
        "state": State(row.state),
        "measures": row.measures or {},
        "users": users,
    }
    return Version(**facts)
