"""States and readers of versions, the publisher of a space, and the log of changes.

Revision: 0003, after 0002; 2026-11-28.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    long_text = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    long_bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    _add("itemspace_space", "revision", sa.BigInteger, "0")
    _add("itemspace_space", "publisher", sa.String(255))
    _add("itemspace_space", "publisher_until", sa.Double)
    _add("itemspace_version", "state", sa.String(16), "ready")
    _add("itemspace_version", "training", sa.Integer, "0")
    _add("itemspace_version", "base_revision", sa.BigInteger, "0")
    _add("itemspace_version", "measures", sa.JSON)
    _add("itemspace_version", "activated_at", sa.DateTime(timezone=True))
    _add("itemspace_version", "read_until", sa.Double, "0")
    # Up to now every version had vectors of its own, and was made live when it was published.
    op.execute("UPDATE itemspace_version SET training = number, activated_at = created_at")
    op.create_table(
        "itemspace_change",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("space", sa.String(255), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("training", sa.Integer, nullable=False),
        sa.Column("ids", long_text, nullable=False),
        sa.Column("vectors", long_bytes, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_itemspace_change"),
        sa.UniqueConstraint("space", "revision", name="uq_itemspace_change_space"),
        sa.ForeignKeyConstraint(
            ["space"], ["itemspace_space.name"], name="fk_itemspace_change_space"
        ),
    )


def downgrade() -> None:
    op.drop_table("itemspace_change")
    for name in ("read_until", "activated_at", "measures", "base_revision", "training", "state"):
        op.drop_column("itemspace_version", name)
    for name in ("publisher_until", "publisher", "revision"):
        op.drop_column("itemspace_space", name)


def _add(table: str, name: str, kind: Any, default: str | None = None) -> None:
    """A column; one with a default is never null."""
    column: sa.Column[Any] = sa.Column(name, kind, nullable=default is None, server_default=default)
    op.add_column(table, column)
