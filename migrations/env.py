"""Alembic's environment: runs on the connection that :mod:`itemspace.catalog.schema` hands over."""

from __future__ import annotations

from alembic import context
from itemspace.catalog.bookkeeping import metadata
from itemspace.catalog.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=lambda name, kind, _: kind != "table" or name in metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
