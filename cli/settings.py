"""Settings: a flag, else an environment variable, else ``itemspace.toml``, else a default."""

from __future__ import annotations

import os
import tomllib
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ..catalog import Catalog, ensure, open_engine
from ..core.errors import InvalidOption

FILE = "itemspace.toml"
DEFAULTS = {
    "database": "sqlite:///itemspace.db",
    "home": "itemspace-data",
    "space": "items",
    "to": None,
    "users_to": None,
    "items": "item",
    "id_column": "item_id",
    "interactions": "interaction",
    "user_column": "user_id",
    "item_column": "item_id",
    "time_column": "timestamp",
    "order_column": None,
    "kind_column": None,
    "value_column": None,
    "dwell_column": None,
    "tables": None,
    "reader": None,
    "bookkeeping": None,
}

_MAPPING = list(DEFAULTS)[list(DEFAULTS).index("items") :]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database", "-d", help="SQLAlchemy URL (ITEMSPACE_DATABASE).", show_default=False
    ),
]
SpaceOption = Annotated[
    str | None,
    typer.Option("--space", help="Name of the space (ITEMSPACE_SPACE).", show_default=False),
]


@dataclass(frozen=True)
class Settings:
    """What a command runs with."""

    database: str
    home: Path
    space: str
    to: str
    users_to: str | None
    mapping: dict[str, Any]

    @classmethod
    def load(cls, **flags: Any) -> Settings:
        """Resolve every setting; flags that are ``None`` were not given, empty texts are none."""
        given = {name: value for name, value in flags.items() if value is not None}
        variables = {f"ITEMSPACE_{name.upper()}": name for name in DEFAULTS}
        environment = {
            name: os.environ[key] for key, name in variables.items() if key in os.environ
        }
        found = ChainMap(given, environment, _read_file(), DEFAULTS)
        to = found["to"] or f"lsh:{found['home']}/published"
        return cls(
            database=found["database"],
            home=Path(found["home"]),
            space=found["space"],
            to=to,
            users_to=found["users_to"] or None,
            mapping={
                **{name: found[name] or None for name in _MAPPING},
                "tables": [name.strip() for name in (found["tables"] or "").split(",") if name],
            },
        )

    @property
    def bookkeeping(self) -> str:
        """The URL of the database that holds itemspace's own tables."""
        return self.mapping["bookkeeping"] or self.database

    def new_build_path(self, builder: str) -> Path:
        """A place for a new vector set, named by the time."""
        return self._new_path("builds", builder)

    def new_tuning_path(self, builder: str) -> Path:
        """A folder for what a search finds, named by the time."""
        return self._new_path("tunings", builder)

    def _new_path(self, folder: str, builder: str) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        return self.home / folder / f"{stamp}-{builder}"

    @contextmanager
    def catalog(self, *, create: bool = False) -> Iterator[Catalog]:
        """The catalog; with ``create``, a new database gets itemspace's tables."""
        engine = open_engine(self.database, create=create)
        try:
            if create:
                self._ensure()
            with Catalog(engine, **self.mapping) as catalog:
                yield catalog
        finally:
            engine.dispose()

    def _ensure(self) -> None:
        engine = open_engine(self.bookkeeping, create=True)
        try:
            ensure(engine)
        finally:
            engine.dispose()


def _read_file() -> dict[str, Any]:
    path = Path(FILE)
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidOption(
            f"{FILE} is not valid TOML: {error}.", option=FILE, received=None
        ) from error
    for name, value in found.items():
        if not isinstance(value, str):
            raise InvalidOption(
                f"{FILE}: {name} is a text in quotes; received {value!r}.",
                option=name,
                received=value,
            )
    unknown = sorted(set(found) - set(DEFAULTS))
    if unknown:
        raise InvalidOption(
            f"{FILE} has the unknown setting {unknown[0]!r}; it may have: {', '.join(DEFAULTS)}.",
            option=unknown[0],
            received=found[unknown[0]],
        )
    return found
