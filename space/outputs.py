"""Where recommendations for every user go: a Parquet file or a SQL table."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    true,
    update,
)

from ..catalog.bookkeeping import recommendation_table as marks
from ..catalog.catalog import Catalog
from ..catalog.tables import id_type, sender, writing
from ..core.duck import connect_duckdb
from ..core.errors import (
    BackendExists,
    CorruptData,
    InputError,
    InvalidOption,
    ItemspaceError,
    PublishConflict,
)
from ..core.ids import IdKind
from ..core.storage import sync, write_text
from .batches import Recommendation
from .everyone import Job


class ParquetOutput:
    """A Parquet file with the columns user_id, rank (from 1), item_id, score, source.

    Until all is there, the pages are in ``<file>.parts``.

    Raises
    ------
    BackendExists
        On starting: the file is there already.
    InvalidOption
        What was begun there is another job.
    InputError
        The place cannot be written to, or is full.
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self._path = path
        self._parts = path.with_name(f"{path.name}.parts")
        self._kinds = catalog.interactions.user_kind, catalog.items.id_kind
        self._count = 0

    def start(self, job: Job) -> tuple[int, Any]:
        """See :class:`.Output`."""
        with _writing(self._path):
            return self._start(job)

    def _start(self, job: Job) -> tuple[int, Any]:
        if self._path.exists():
            raise BackendExists(f"{self._path} exists already; remove it, or name another file.")
        noted = self._parts / "job.json"
        if not noted.exists():
            shutil.rmtree(self._parts, ignore_errors=True)
            self._parts.mkdir(parents=True)
            write_text(noted, json.dumps(job))
            return 0, None
        if json.loads(noted.read_text(encoding="utf-8")) != json.loads(json.dumps(job)):
            raise InvalidOption(
                f"{self._parts} holds the beginning of another job, {noted.read_text()}; remove "
                "it to start anew, or name another file.",
                option="out",
                received=str(self._path),
            )
        done, last = 0, None
        pages = sorted(self._parts.glob("page-*.json"))
        for page in pages:
            facts = json.loads(page.read_text(encoding="utf-8"))
            done, last = done + facts["users"], facts["last_user"]
        self._count = len(pages)
        return done, last

    def write(self, page: Sequence[Recommendation]) -> None:
        """See :class:`.Output`."""
        name = f"page-{self._count:06d}"
        with _writing(self._path), connect_duckdb() as db:
            db.register("page", _columns(page))
            temporary = self._parts / f"{name}.tmp"
            user, item = (_DUCK_TYPES[kind] for kind in self._kinds)
            db.execute(
                f"COPY (SELECT user_id::{user} AS user_id, rank, item_id::{item} AS item_id, "
                "score, source::VARCHAR AS source FROM page) "
                "TO $path (FORMAT parquet, COMPRESSION zstd)",
                {"path": str(temporary)},
            )
            sync(temporary)
            temporary.rename(self._parts / f"{name}.parquet")
            facts = {"users": len(page), "last_user": page[-1].user}
            write_text(self._parts / f"{name}.json", json.dumps(facts))
        self._count += 1

    def finish(self) -> None:
        """See :class:`.Output`."""
        parts = [str(self._parts / f"page-{at:06d}.parquet") for at in range(self._count)]
        missing = [part for part in parts if not Path(part).is_file()]
        if missing:
            raise CorruptData(
                f"{missing[0]} is gone; remove {self._parts} and start anew.", path=missing[0]
            )
        temporary = self._parts / "all.tmp"
        with _writing(self._path), connect_duckdb(memory_limit="1GB") as db:
            db.execute(
                "COPY (SELECT * FROM read_parquet($parts)) "
                "TO $path (FORMAT parquet, COMPRESSION zstd)",
                {"parts": [glob.escape(part) for part in parts], "path": str(temporary)},
            )
            sync(temporary)
            temporary.rename(self._path)
            shutil.rmtree(self._parts)


class TableOutput:
    """A SQL table with the columns user_id, rank (from 1), item_id, score, source, version.

    It is made where it is not there, in the database of the catalog's bookkeeping. Each page
    replaces the rows of its users, and of those who would come before them but have no events any
    more, in one transaction: at any moment a user's rows are of one job, whole.
    """

    def __init__(self, catalog: Catalog, name: str, version: int) -> None:
        self._catalog, self._name, self._version = catalog, name, version
        kinds = catalog.interactions.user_kind, catalog.items.id_kind
        self._table = Table(
            name,
            MetaData(),
            Column("user_id", id_type(kinds[0]), primary_key=True, autoincrement=False),
            Column("rank", Integer, primary_key=True, autoincrement=False),
            Column("item_id", id_type(kinds[1]), nullable=False),
            Column("score", Double, nullable=False),
            Column("source", String(16), nullable=False),
            Column("version", Integer, nullable=False),
        )
        self._done, self._last = 0, None

    def start(self, job: Job) -> tuple[int, Any]:
        """See :class:`.Output`; :class:`InvalidOption` where the table is somebody else's."""
        with writing(self._catalog.bookkeeping) as connection:
            mark = connection.execute(select(marks).where(marks.c.target == self._name)).first()
            there = inspect(connection).has_table(self._name)
            if there and mark is None:
                raise InvalidOption(
                    f"There is a table {self._name!r} already, which no recommendations went "
                    "into; name another.",
                    option="into",
                    received=self._name,
                )
            if not there:
                self._table.create(connection)
            fresh = {"job": dict(job), "users": 0, "last_user": None, **_now(False)}
            if mark is None:
                connection.execute(insert(marks).values(target=self._name, **fresh))
            elif there and not mark.finished and mark.job == json.loads(json.dumps(job)):
                self._done, self._last = mark.users, mark.last_user
            else:
                connection.execute(
                    update(marks).where(marks.c.target == self._name).values(**fresh)
                )
        return self._done, self._last

    def write(self, page: Sequence[Recommendation]) -> None:
        """See :class:`.Output`; :class:`PublishConflict` where another run fills the table."""
        columns = _columns(page)
        columns["version"] = np.full(len(columns["rank"]), self._version)
        rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
        last = page[-1].user
        self._replace(self._table.c.user_id <= last, list(columns), rows, len(page), last, False)

    def finish(self) -> None:
        """See :class:`.Output`."""
        self._replace(true(), [], [], 0, self._last, True)

    def _replace(
        self,
        until: ColumnElement[bool],
        columns: list[str],
        rows: list[tuple[Any, ...]],
        users: int,
        last: Any,
        finished: bool,
    ) -> None:
        """Rows in place of those of the users after the last page, in one transaction."""
        done = self._done + users
        mine = marks.c.target == self._name, marks.c.users == self._done
        moved = update(marks).where(*mine).values(users=done, last_user=last, **_now(finished))
        with writing(self._catalog.bookkeeping) as connection:
            if connection.execute(moved).rowcount != 1:
                raise PublishConflict(
                    f"Another run fills the table {self._name!r} at the same time; its rows stand."
                )
            after = true() if self._last is None else self._table.c.user_id > self._last
            connection.execute(delete(self._table).where(after, until))
            if rows:
                sender(connection, self._table, columns)(rows)
        self._done, self._last = done, last


_DUCK_TYPES: dict[IdKind, str] = {"int": "BIGINT", "str": "VARCHAR"}


def _columns(page: Sequence[Recommendation]) -> dict[str, npt.NDArray[Any]]:
    """A row for each item of each user."""
    counts = [len(one) for one in page]
    users = np.array([one.user for one in page])
    if users.dtype.kind == "U":
        users = users.astype(object)
    sources = np.array([one.source.value for one in page], dtype=object)
    ranks = [np.arange(1, count + 1, dtype=np.int32) for count in counts]
    return {
        "user_id": np.repeat(users, counts),
        "rank": np.concatenate(ranks),
        "item_id": np.concatenate([one.ids for one in page]),
        "score": np.concatenate([one.scores for one in page]),
        "source": np.repeat(sources, counts),
    }


def _now(finished: bool) -> dict[str, Any]:
    return {"updated_at": datetime.now(UTC), "finished": finished}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the disk says against it becomes :class:`InputError`."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        if isinstance(error, ItemspaceError):
            raise
        raise InputError(f"{path} cannot be written: {error}.", path=str(path)) from error
