"""itemspace's own tables; Alembic's migrations make them (see :mod:`.schema`)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

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
    # Of the last change; whoever adds one locks the row, so revisions come into sight in order.
    Column("revision", BigInteger, nullable=False, server_default="0"),
    # Who publishes, and until when that holds by the database's clock.
    Column("publisher", String(255), nullable=True),
    Column("publisher_until", Double, nullable=True),
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
    # "loading", "ready", "removing" or "removed".
    Column("state", String(16), nullable=False, server_default="ready"),
    # The first version with vectors of the same training: only these can be compared.
    Column("training", Integer, nullable=False, server_default="0"),
    # Changes up to this revision are in the version itself, or are not for it.
    Column("base_revision", BigInteger, nullable=False, server_default="0"),
    # What was measured when it was published.
    Column("measures", JSON, nullable=True),
    # When it was last made live; null: never.
    Column("activated_at", DateTime(timezone=True), nullable=True),
    # Until when somebody reads it, by the database's clock.
    Column("read_until", Double, nullable=False, server_default="0"),
    UniqueConstraint("space", "number"),
)

#: What was upserted and deleted between publishes; rows are only added, and removed when no version
#: needs them.
change_table = Table(
    "itemspace_change",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("space", String(255), ForeignKey("itemspace_space.name"), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("training", Integer, nullable=False),
    # Ids, a JSON list.
    Column("ids", Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
    # A little-endian float32 matrix with a row for each; null: they were deleted.
    Column(
        "vectors",
        LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"),
        nullable=True,
    ),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("space", "revision"),
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
