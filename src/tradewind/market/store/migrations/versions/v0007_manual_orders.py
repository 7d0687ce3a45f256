"""What a person ordered by hand, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "manual_orders",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("side", sa.String(10), nullable=False),
        sa.Column("weight", sa.Float),
        sa.Column("stop", sa.Float),
        sa.Column("target", sa.Float),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.String(120), nullable=False),
        sa.Column("asked_at", Instant, nullable=False),
        sa.Column("seen", Instant, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("effective", Instant),
        sa.PrimaryKeyConstraint("number", name="pk_manual_orders"),
        sa.UniqueConstraint("account", "id", name="uq_manual_orders_account_id"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("manual_orders")
