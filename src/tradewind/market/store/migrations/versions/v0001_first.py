"""The first schema: runs, trials, jobs, predictions, signals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tradewind.market.store.schema import Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _runs_and_trials()
    _jobs()
    _predictions_and_signals()


def downgrade() -> None:
    """Drop every table, dependants first."""
    for table in ("signals", "predictions", "job_items", "jobs", "trials", "runs"):
        op.drop_table(table)


def _runs_and_trials() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("verb", sa.String(40), nullable=False),
        sa.Column("playbook", sa.String(200), nullable=False),
        sa.Column("lineage", sa.String(200), nullable=False),
        sa.Column("playbook_hash", sa.String(64), nullable=False),
        sa.Column("data_version", sa.String(64), nullable=False),
        sa.Column("code_version", sa.String(80), nullable=False),
        sa.Column("seeds", sa.JSON, nullable=False),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("started", Instant, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("manifest", sa.JSON, nullable=False),
        sa.Column("result_path", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_lineage", "runs", ["lineage"])
    op.create_index("ix_runs_started", "runs", ["started"])
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("lineage", sa.String(200), nullable=False),
        sa.Column("trial_key", sa.String(128), nullable=False),
        sa.Column("run", sa.String(120), nullable=False),
        sa.Column("sharpe", sa.Float),
        sa.Column("returns_path", sa.Text),
        sa.Column("first_seen", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("lineage", "trial_key", name="uq_trials_lineage_trial_key"),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("started", Instant, nullable=False),
        sa.Column("finished", Instant),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_key", "jobs", ["key"])
    op.create_table(
        "job_items",
        sa.Column("job", sa.Integer, nullable=False),
        sa.Column("item", sa.String(120), nullable=False),
        sa.Column("finished", Instant, nullable=False),
        sa.PrimaryKeyConstraint("job", "item", name="pk_job_items"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_job_items_job"),
    )


def _predictions_and_signals() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run", sa.String(120), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("target", sa.String(80), nullable=False),
        sa.Column("horizon_bars", sa.Integer, nullable=False),
        sa.Column("quantiles", sa.JSON, nullable=False),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("outcome", sa.Float),
        sa.Column("resolved_at", Instant),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.UniqueConstraint(
            "run", "symbol", "time", "target", "horizon_bars", name="uq_predictions_run_symbol_time_target_horizon_bars"
        ),
    )
    op.create_index("ix_predictions_time", "predictions", ["time"])
    op.create_table(
        "signals",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run", sa.String(120), nullable=False),
        sa.Column("symbol", sa.String(40), nullable=False),
        sa.Column("time", Instant, nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("horizon_bars", sa.Integer, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("weight", sa.Float),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signals"),
        sa.UniqueConstraint("run", "symbol", "time", "horizon_bars", name="uq_signals_run_symbol_time_horizon_bars"),
    )
    op.create_index("ix_signals_time", "signals", ["time"])
