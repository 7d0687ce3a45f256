"""Members of indices as they were read, and sector baselines as they were fitted: both append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "index_snapshots",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("index_name", sa.String(40), nullable=False),
        sa.Column("known_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("members", sa.JSON, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_index_snapshots"),
        sa.UniqueConstraint("index_name", "recorded_at", name="uq_index_snapshots_index_name_recorded_at"),
    )
    op.create_table(
        "sector_fits",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("lake", sa.String(120), nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("sectors", sa.JSON, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sector_fits"),
    )
    op.create_index("ix_sector_fits_lake", "sector_fits", ["lake"])


def downgrade() -> None:
    """Drop both tables."""
    for table in ("sector_fits", "index_snapshots"):
        op.drop_table(table)
