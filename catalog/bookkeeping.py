"""itemspace's own tables; Alembic's migrations make them (see :mod:`.schema`)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

PREFIX = "itemspace_"
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

ingest_table = Table(
    "itemspace_ingest",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("source", String(1024), nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("target", String(255), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bad_rows", BigInteger, nullable=False),
    Column("ingested_at", DateTime(timezone=True), nullable=False),
)

build_table = Table(
    "itemspace_build",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("builder", String(255), nullable=False),
    Column("path", Text, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("item_count", BigInteger, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("metric", String(32), nullable=False),
    Column("lineage", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

space_table = Table(
    "itemspace_space",
    metadata,
    Column("name", String(255), primary_key=True),
    # The live pointer: a version's number; moved by compare-and-swap only.
    Column("live_version", Integer, nullable=True),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

version_table = Table(
    "itemspace_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("space", String(255), ForeignKey("itemspace_space.name"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("build_id", Integer, ForeignKey("itemspace_build.id"), nullable=True),
    Column("url", Text, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("item_count", BigInteger, nullable=False),
    Column("dim", Integer, nullable=False),
    Column("metric", String(32), nullable=False),
    Column("id_kind", String(8), nullable=False),
    Column("lineage", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # Where the users' vectors are, if the version has any.
    Column("users_url", Text, nullable=True),
    Column("users_checksum", String(64), nullable=True),
    Column("user_count", BigInteger, nullable=True),
    Column("user_id_kind", String(8), nullable=True),
    UniqueConstraint("space", "number"),
)

#: How far the filling of a table of recommendations has come; a row per table.
recommendation_table = Table(
    "itemspace_recommendation",
    metadata,
    Column("target", String(255), primary_key=True),
    # What is being recommended, and how: another job starts anew.
    Column("job", JSON, nullable=False),
    # The last user whose rows are in; null before the first.
    Column("last_user", JSON, nullable=True),
    Column("users", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("finished", Boolean, nullable=False),
)
