"""Trained models, and which of them is champion and challenger (append-only)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "models",
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("lineage", sa.String(200), nullable=False),
        sa.Column("model", sa.String(80), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("made", Instant, nullable=False),
        sa.Column("trained_until", Instant, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_lineage", "models", ["lineage"])
    op.create_table(
        "model_aliases",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("lineage", sa.String(200), nullable=False),
        sa.Column("alias", sa.String(40), nullable=False),
        sa.Column("model", sa.String(120)),
        sa.Column("at", Instant, nullable=False),
        sa.Column("why", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_aliases"),
        sa.ForeignKeyConstraint(["model"], ["models.id"], name="fk_model_aliases_model_models"),
    )
    op.create_index("ix_model_aliases_lineage", "model_aliases", ["lineage"])


def downgrade() -> None:
    """Drop both tables."""
    for table in ("model_aliases", "models"):
        op.drop_table(table)
