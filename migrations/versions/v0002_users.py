"""The users' vectors of a version, and how far tables of recommendations are filled.

Revision: 0002, after 0001; 2026-11-28.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("itemspace_version", sa.Column("users_url", sa.Text, nullable=True))
    op.add_column("itemspace_version", sa.Column("users_checksum", sa.String(64), nullable=True))
    op.add_column("itemspace_version", sa.Column("user_count", sa.BigInteger, nullable=True))
    op.add_column("itemspace_version", sa.Column("user_id_kind", sa.String(8), nullable=True))
    op.create_table(
        "itemspace_recommendation",
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("job", sa.JSON, nullable=False),
        sa.Column("last_user", sa.JSON, nullable=True),
        sa.Column("users", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_itemspace_recommendation"),
    )


def downgrade() -> None:
    op.drop_table("itemspace_recommendation")
    for name in ("user_id_kind", "user_count", "users_checksum", "users_url"):
        op.drop_column("itemspace_version", name)
