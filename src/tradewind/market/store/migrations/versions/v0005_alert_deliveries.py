"""Which alerts went to which destination."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("alert", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_deliveries"),
        sa.UniqueConstraint("destination", "alert", name="uq_alert_deliveries_destination_alert"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("alert_deliveries")
