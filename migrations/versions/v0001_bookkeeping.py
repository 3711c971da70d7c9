"""Ingests, builds, spaces and versions.

Revision: 0001, the first; 2026-11-24.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "itemspace_ingest",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(1024), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bad_rows", sa.BigInteger, nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_itemspace_ingest"),
    )
    op.create_index("ix_itemspace_ingest_sha256", "itemspace_ingest", ["sha256"])
    op.create_table(
        "itemspace_build",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("builder", sa.String(255), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("item_count", sa.BigInteger, nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("lineage", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_itemspace_build"),
    )
    op.create_table(
        "itemspace_space",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("live_version", sa.Integer, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_itemspace_space"),
    )
    op.create_table(
        "itemspace_version",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("space", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("build_id", sa.Integer, nullable=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("item_count", sa.BigInteger, nullable=False),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("id_kind", sa.String(8), nullable=False),
        sa.Column("lineage", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_itemspace_version"),
        sa.UniqueConstraint("space", "number", name="uq_itemspace_version_space"),
        sa.ForeignKeyConstraint(
            ["space"], ["itemspace_space.name"], name="fk_itemspace_version_space"
        ),
        sa.ForeignKeyConstraint(
            ["build_id"], ["itemspace_build.id"], name="fk_itemspace_version_build_id"
        ),
    )


def downgrade() -> None:
    op.drop_table("itemspace_version")
    op.drop_table("itemspace_space")
    op.drop_table("itemspace_build")
    op.drop_index("ix_itemspace_ingest_sha256", "itemspace_ingest")
    op.drop_table("itemspace_ingest")
