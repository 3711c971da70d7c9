"""The state of itemspace's own tables: made and upgraded by Alembic, checked on opening."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from ..core.errors import SchemaOutdated
from .bookkeeping import PREFIX, metadata
from .engines import shown, translated_errors, writing_alone

VERSION_TABLE = f"{PREFIX}alembic_version"
_UPGRADE = "run `itemspace database upgrade` (or itemspace.catalog.upgrade(engine))"


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """For a host's own Alembic ``env.py``: keeps autogenerate from dropping our tables.

    Pass it as ``context.configure(include_name=include_name, …)``.
    """
    return not (kind == "table" and name is not None and name.startswith(PREFIX))


def current(engine: Engine) -> str | None:
    """The revision of the tables in the database, ``None`` where there are none."""
    with translated_errors(engine), engine.connect() as connection:
        return _current(connection)


def head() -> str:
    """The revision that this release needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise SchemaOutdated("This installation of itemspace ships no migrations; reinstall it.")
    return revision


def check(engine: Engine) -> None:
    """Raise :class:`SchemaOutdated` unless the tables are those of this release."""
    found, needed = current(engine), head()
    if found == needed:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is None:
        text = f"The database {shown(engine)} holds no itemspace tables yet; {_UPGRADE}."
    elif found in known:
        text = (
            f"itemspace's tables are at revision {found}, this release needs {needed}; {_UPGRADE}."
        )
    else:
        text = (
            f"itemspace's tables are at revision {found}, which this release does not know: a "
            "newer release made them; upgrade itemspace."
        )
    raise SchemaOutdated(text)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision, in one transaction where the database can.

    Of several processes that do so at the same time, one does it, and the others wait for it.
    """
    with writing_alone(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the tables back to an older revision (``"base"``: none at all)."""
    with writing_alone(engine) as connection:
        command.downgrade(_config(connection), revision)


def ensure(engine: Engine) -> None:
    """Make the tables where there are none; leave older ones to a deliberate upgrade."""
    if current(engine) != head():
        with writing_alone(engine) as connection:  # maybe another process is making them
            names = inspect(connection).get_table_names()
            if _current(connection) is None and metadata.tables.keys().isdisjoint(names):
                command.upgrade(_config(connection), "head")
    check(engine)


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    folder = Path(__file__).parent.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
