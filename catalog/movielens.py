"""A MovieLens folder (``movies.csv``, ``ratings.csv``) into the tables of :mod:`.ingest`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from ..core.duck import quoted
from ..core.errors import InputError, MissingColumn
from ..core.progress import Progress
from .ingest import IngestReport, Load, load
from .mapping import INTERACTION, ITEM
from .reading import ColumnType, Field
from .sources import open_source

_YEAR = r"nullif(regexp_extract(title, '\((\d{4})\)\s*$', 1), '')"
_MOVIES = [
    Field("item_id", quoted("movieId"), "id"),
    Field("title", quoted("title"), type=ColumnType.TEXT),
    Field("year", _YEAR, type=ColumnType.INTEGER),
    Field("genres", "nullif(genres, '(no genres listed)')", type=ColumnType.TEXT),
]
_RATINGS = [
    Field("item_id", quoted("movieId"), "id"),
    Field("user_id", quoted("userId"), "id"),
    Field("timestamp", quoted("timestamp"), "time"),
    Field("rating", quoted("rating"), type=ColumnType.NUMBER),
]


def ingest_movielens(
    engine: Engine,
    folder: Path | str,
    *,
    skip_bad_rows: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Load ``item(item_id, title, year, genres)`` and ``interaction(…, timestamp, rating)``.

    The year is the one in brackets at the title's end, else NULL; genres keep their ``|``, and
    "(no genres listed)" is NULL. One of the two files may be absent, which the notes tell; tags
    and links are not read. Otherwise as :func:`~itemspace.catalog.ingest.ingest`.

    Raises
    ------
    InputError
        Not a folder, or neither file is in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"There is no folder {root}; check the path.", path=str(root))
    wanted = {"movies.csv": (ITEM, _MOVIES), "ratings.csv": (INTERACTION, _RATINGS)}
    loads = [
        _load(table, root / name, fields)
        for name, (table, fields) in wanted.items()
        if (root / name).exists()
    ]
    if not loads:
        raise InputError(
            f"{root} holds neither movies.csv nor ratings.csv; expected an unpacked MovieLens "
            "archive such as ml-latest-small.",
            path=str(root),
        )
    report = load(engine, loads, skip_bad_rows=skip_bad_rows, again=again, progress=progress)
    report.notes.extend(
        f"{root} has no {name}; the table {table} was left as it is."
        for name, (table, _) in wanted.items()
        if not (root / name).exists()
    )
    return report


def _load(table: str, path: Path, fields: list[Field]) -> Load:
    source = open_source(path)
    movies, ratings = ("movieId", "title", "genres"), ("userId", "movieId", "rating", "timestamp")
    for name in movies if table == ITEM else ratings:
        if name not in source.columns:
            raise MissingColumn(
                f"{path} has no column {name!r}; it has: {', '.join(source.columns)}. Expected "
                "the files of MovieLens 20M or later.",
                path=str(path),
                column=name,
                columns=list(source.columns),
            )
    return Load(table, [source], lambda _source, _notes: fields)
