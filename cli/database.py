"""``itemspace database``: the state of itemspace's own tables."""

from __future__ import annotations

import typer

from ..catalog import check as check_schema
from ..catalog import current as current_revision
from ..catalog import open_engine
from ..catalog import upgrade as upgrade_schema
from .output import say
from .settings import DatabaseOption, Settings

app = typer.Typer(help="Make, upgrade and check itemspace's own tables.", no_args_is_help=True)


@app.command()
def upgrade(database: DatabaseOption = None) -> None:
    """Bring the tables to what this release needs."""
    engine = open_engine(Settings.load(database=database).bookkeeping, create=True)
    try:
        before = current_revision(engine)
        upgrade_schema(engine)
        say(f"itemspace's tables: {before or 'none'} → {current_revision(engine)}")
    finally:
        engine.dispose()


@app.command()
def current(database: DatabaseOption = None) -> None:
    """Print the tables' revision."""
    engine = open_engine(Settings.load(database=database).bookkeeping)
    try:
        print(current_revision(engine) or "none")
    finally:
        engine.dispose()


@app.command()
def check(database: DatabaseOption = None) -> None:
    """Exit with 0 if the tables are those of this release, else say what to do."""
    engine = open_engine(Settings.load(database=database).bookkeeping)
    try:
        check_schema(engine)
    finally:
        engine.dispose()
    say("itemspace's tables are up to date")
