"""Running corridors, what was decided about models and why, and whose forecasts are stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ABOUT_FORECASTS = (("seat", sa.String(200)), ("model", sa.String(120)), ("regime", sa.String(40)), ("scale", sa.Float))


def upgrade() -> None:
    """Create both tables, and say of forecasts whose they are."""
    _live_sessions()
    _model_decisions()
    for name, kind in _ABOUT_FORECASTS:
        op.add_column("predictions", sa.Column(name, kind))
    op.create_index("ix_predictions_symbol_time", "predictions", ["symbol", "time"])
    op.create_index("ix_predictions_seat_time", "predictions", ["seat", "time"])
    open_ = sa.text("outcome IS NULL")
    op.create_index("ix_predictions_unresolved", "predictions", ["time"], sqlite_where=open_, postgresql_where=open_)


def downgrade() -> None:
    """Take all of it away."""
    for name in ("ix_predictions_unresolved", "ix_predictions_seat_time", "ix_predictions_symbol_time"):
        op.drop_index(name, "predictions")
    for name, _ in reversed(_ABOUT_FORECASTS):
        op.drop_column("predictions", name)
    for table in ("model_decisions", "live_sessions"):
        op.drop_table(table)


def _live_sessions() -> None:
    op.create_table(
        "live_sessions",
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("playbook", sa.String(200), nullable=False),
        sa.Column("playbook_hash", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(20), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("started", Instant, nullable=False),
        sa.Column("stopped", Instant),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_live_sessions"),
    )
    op.create_index("ix_live_sessions_playbook", "live_sessions", ["playbook"])


def _model_decisions() -> None:
    op.create_table(
        "model_decisions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("seat", sa.String(200), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("at", Instant, nullable=False),
        sa.Column("decision", sa.String(20), nullable=False),
        sa.Column("champion", sa.String(120)),
        sa.Column("challenger", sa.String(120)),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("by", sa.String(120), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_decisions"),
        sa.UniqueConstraint("seat", "key", name="uq_model_decisions_seat_key"),
    )
