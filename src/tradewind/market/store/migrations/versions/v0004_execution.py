"""Orders and what came of them, accounts, and the switches that stop trading."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _orders()
    _executions()
    _accounts()
    _safety()


def downgrade() -> None:
    """Drop every table, dependants first."""
    tables = ("alerts", "controls", "paper_books", "account_marks", "movements", "executions", "order_events", "orders")
    for table in tables:
        op.drop_table(table)


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("client_order_id", sa.String(40), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("side", sa.String(10), nullable=False),
        sa.Column("quantity", sa.Float, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("time_in_force", sa.String(20), nullable=False),
        sa.Column("limit_price", sa.Float),
        sa.Column("stop_price", sa.Float),
        sa.Column("trail", sa.Float),
        sa.Column("reduce_only", sa.Boolean, nullable=False),
        sa.Column("sleeve", sa.String(80), nullable=False),
        sa.Column("decided_at", Instant),
        sa.Column("intended_at", Instant, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint("account", "client_order_id", name="uq_orders_account_client_order_id"),
    )
    op.create_index("ix_orders_finished", "orders", ["finished"])
    op.create_table(
        "order_events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("order_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("broker_order_id", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("filled", sa.Float, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_order_events"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_order_events_order_id"),
    )
    op.create_index("ix_order_events_order_id", "order_events", ["order_id"])


def _executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("execution_id", sa.String(120), nullable=False),
        sa.Column("order_id", sa.Integer),
        sa.Column("client_order_id", sa.String(40), nullable=False),
        sa.Column("broker_order_id", sa.String(120), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("quantity", sa.Float, nullable=False),
        sa.Column("price", sa.Float, nullable=False),
        sa.Column("fee", sa.Float, nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_executions_order_id"),
        sa.UniqueConstraint("account", "execution_id", name="uq_executions_account_execution_id"),
    )
    op.create_index("ix_executions_order_id", "executions", ["order_id"])
    op.create_table(
        "movements",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("movement_id", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("quantity", sa.Float, nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_movements"),
        sa.UniqueConstraint("account", "movement_id", name="uq_movements_account_movement_id"),
    )


def _accounts() -> None:
    op.create_table(
        "account_marks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("cash_cents", sa.BigInteger, nullable=False),
        sa.Column("equity_cents", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account_marks"),
        sa.UniqueConstraint("account", "time", name="uq_account_marks_account_time"),
    )
    op.create_table(
        "paper_books",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.String(120), nullable=False),
        sa.Column("bar", sa.Integer, nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_paper_books"),
        sa.UniqueConstraint("account", "bar", name="uq_paper_books_account_bar"),
    )


def _safety() -> None:
    op.create_table(
        "controls",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_controls"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("level", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_at", "alerts", ["at"])
