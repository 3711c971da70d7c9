"""Who publishes into a space, and which versions are being read; by the database's clock."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection
from typing import Any

from sqlalchemy import or_, select, update

from ..core.errors import NothingPublished, PublishConflict
from .bookkeeping import space_table, version_table
from .catalog import Catalog
from .clock import database_clock
from .engines import reading, writing
from .versions import READING_SECONDS, Pointer, State, Version, get_pointer

#: For how long a publisher of whom nothing is heard is waited for, seconds.
PUBLISHING_SECONDS = 30.0


def new_holder() -> str:
    """This process as a publisher: its machine, its number, and a word that is its own."""
    return f"{socket.gethostname()[:200]}:{os.getpid()}:{secrets.token_hex(8)}"


def claim_publishing(catalog: Catalog, space: str, holder: str) -> None:
    """Become a space's one publisher, for :data:`PUBLISHING_SECONDS`, or until it is renewed.

    A publisher whose process is gone from this machine is not waited for.

    Raises
    ------
    PublishConflict
        Another one publishes; it is named.
    UnknownSpace
        There is no such space.
    """
    get_pointer(catalog, space)
    name, until = space_table.c.publisher, space_table.c.publisher_until
    mine = space_table.c.name == space
    with reading(catalog.bookkeeping) as connection:
        found: str | None = connection.scalar(select(name).where(mine))
    free = or_(name.is_(None), until < database_clock())
    if found is not None and _is_gone(found):
        free |= name == found
    values = {"publisher": holder, "publisher_until": database_clock() + PUBLISHING_SECONDS}
    with writing(catalog.bookkeeping) as connection:
        taken = connection.execute(update(space_table).where(mine, free).values(values)).rowcount
        if taken == 1:
            return
        left = connection.execute(select(name, until - database_clock()).where(mine)).one()
    host, process, _ = (left[0] or "::").rsplit(":", 2)
    raise PublishConflict(
        f"Process {process} on {host} publishes into {space!r}, and was heard of "
        f"{max(0, PUBLISHING_SECONDS - (left[1] or 0)):.0f} s ago; wait for it (wait=, --wait)."
    )


def renew_publishing(catalog: Catalog, space: str, holder: str) -> None:
    """Stay the publisher; raises :class:`PublishConflict` where another one took over."""
    mine = space_table.c.name == space, space_table.c.publisher == holder
    until = database_clock() + PUBLISHING_SECONDS
    with writing(catalog.bookkeeping) as connection:
        renewed = connection.execute(
            update(space_table).where(*mine).values(publisher_until=until)
        ).rowcount
    if renewed != 1:
        raise PublishConflict(
            f"This process was not heard of for {PUBLISHING_SECONDS:.0f} s, and another one "
            f"publishes into {space!r} now; publish again."
        )


def release_publishing(catalog: Catalog, space: str, holder: str) -> None:
    """Let another one publish."""
    mine = space_table.c.name == space, space_table.c.publisher == holder
    nobody = {"publisher": None, "publisher_until": None}
    with writing(catalog.bookkeeping) as connection:
        connection.execute(update(space_table).where(*mine).values(nobody))


def claim_reading(catalog: Catalog, version: Version) -> None:
    """Keep a version from being removed, for :data:`READING_SECONDS`, or until it is renewed.

    Raises :class:`NothingPublished` where it is being removed already.
    """
    ready = (
        version_table.c.space == version.space,
        version_table.c.number == version.number,
        version_table.c.state == State.READY,
    )
    until = database_clock() + READING_SECONDS
    with writing(catalog.bookkeeping) as connection:
        claimed = connection.execute(
            update(version_table).where(*ready).values(read_until=until)
        ).rowcount
    if claimed != 1:
        raise NothingPublished(
            f"Version {version.number} of {version.space!r} is {version.state}: its vectors are "
            "not there to be read. `itemspace versions` lists those that are."
        )


def claim_removing(catalog: Catalog, version: Version) -> bool:
    """Take a version out of use, where it is not live and nobody reads it: is it so?"""
    live = select(space_table.c.live_version).where(
        space_table.c.name == version.space, space_table.c.live_version == version.number
    )
    unread = (version_table.c.read_until < database_clock()) & ~live.exists()
    mine = (
        version_table.c.space == version.space,
        version_table.c.number == version.number,
        version_table.c.state.in_([State.LOADING, State.REMOVING])
        | ((version_table.c.state == State.READY) & unread),
    )
    with writing(catalog.bookkeeping) as connection:
        taken = update(version_table).where(*mine).values(state=State.REMOVING)
        return connection.execute(taken).rowcount == 1


def look(
    catalog: Catalog, space: str, numbers: Collection[int]
) -> tuple[Pointer, dict[int, tuple[State, float]]]:
    """Where a space stands, and of some versions their state and the seconds they are kept.

    One statement, so that what it says belongs together.
    """
    left = version_table.c.read_until - database_clock()
    statement = select(
        space_table.c.live_version,
        space_table.c.revision,
        version_table.c.number,
        version_table.c.state,
        left,
    ).outerjoin_from(
        space_table,
        version_table,
        (version_table.c.space == space_table.c.name) & version_table.c.number.in_(list(numbers)),
    )
    with reading(catalog.bookkeeping) as connection:
        rows: list[Any] = list(connection.execute(statement.where(space_table.c.name == space)))
    kept = {row[2]: (State(row[3]), float(row[4])) for row in rows if row[2] is not None}
    return Pointer(rows[0][0], rows[0][1]), kept


def _is_gone(holder: str) -> bool:
    """Whether a holder was a process of this machine that is no more."""
    host, process, _ = holder.rsplit(":", 2)
    if host != socket.gethostname()[:200]:
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
