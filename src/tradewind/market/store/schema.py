"""The tables of the records database, the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

#: Every schema version this code can read, oldest first; one file each in `migrations/versions/`.
VERSIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")


class Instant(TypeDecorator[datetime]):
    """A UTC instant: aware in Python, naive UTC in SQLite, ``timestamptz`` in PostgreSQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be recorded: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _json(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


runs: Final = Table(
    "runs",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("verb", String(40), nullable=False),
    Column("playbook", String(200), nullable=False),
    Column("lineage", String(200), nullable=False, index=True),
    Column("playbook_hash", String(64), nullable=False),
    Column("data_version", String(64), nullable=False),
    Column("code_version", String(80), nullable=False),
    _json("seeds"),
    _json("environment"),
    Column("started", Instant, nullable=False, index=True),
    Column("seconds", Float),
    Column("status", String(20), nullable=False),
    _json("manifest"),
    Column("result_path", Text),
)

trials: Final = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("lineage", String(200), nullable=False),
    Column("trial_key", String(128), nullable=False),
    Column("run", String(120), nullable=False),
    Column("sharpe", Float),
    Column("returns_path", Text),
    Column("first_seen", Instant, nullable=False),
    UniqueConstraint("lineage", "trial_key"),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("key", String(64), nullable=False, index=True),
    Column("status", String(20), nullable=False),
    Column("started", Instant, nullable=False),
    Column("finished", Instant),
    _json("detail"),
)

job_items: Final = Table(
    "job_items",
    metadata,
    Column("job", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("item", String(120), primary_key=True),
    Column("finished", Instant, nullable=False),
)

predictions: Final = Table(
    "predictions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(120), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("time", Instant, nullable=False, index=True),
    Column("target", String(80), nullable=False),
    Column("horizon_bars", Integer, nullable=False),
    _json("quantiles"),
    _json("probabilities"),
    Column("outcome", Float),
    Column("resolved_at", Instant),
    Column("seat", String(200)),
    Column("model", String(120)),
    Column("regime", String(40)),
    Column("scale", Float),
    UniqueConstraint("run", "symbol", "time", "target", "horizon_bars"),
    Index("ix_predictions_symbol_time", "symbol", "time"),
    Index("ix_predictions_seat_time", "seat", "time"),
)
Index(
    "ix_predictions_unresolved",
    predictions.c.time,
    sqlite_where=predictions.c.outcome.is_(None),
    postgresql_where=predictions.c.outcome.is_(None),
)

signals: Final = Table(
    "signals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(120), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("time", Instant, nullable=False, index=True),
    Column("action", String(20), nullable=False),
    Column("horizon_bars", Integer, nullable=False),
    Column("confidence", Float),
    Column("weight", Float),
    _json("detail"),
    UniqueConstraint("run", "symbol", "time", "horizon_bars"),
)

index_snapshots: Final = Table(
    "index_snapshots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("index_name", String(40), nullable=False),
    Column("known_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    _json("members"),
    _json("detail"),
    UniqueConstraint("index_name", "recorded_at"),
)

sector_fits: Final = Table(
    "sector_fits",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("lake", String(120), nullable=False, index=True),
    Column("as_of", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    _json("sectors"),
    _json("provenance"),
)

models: Final = Table(
    "models",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("lineage", String(200), nullable=False, index=True),
    Column("model", String(80), nullable=False),
    Column("version", String(80), nullable=False),
    Column("made", Instant, nullable=False),
    Column("trained_until", Instant, nullable=False),
    Column("digest", String(64), nullable=False),
    _json("metrics"),
    _json("detail"),
)

model_aliases: Final = Table(
    "model_aliases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("lineage", String(200), nullable=False, index=True),
    Column("alias", String(40), nullable=False),
    Column("model", String(120), ForeignKey("models.id")),
    Column("at", Instant, nullable=False),
    Column("why", String(40), nullable=False),
)

orders: Final = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("client_order_id", String(40), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("side", String(10), nullable=False),
    Column("quantity", Float, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("time_in_force", String(20), nullable=False),
    Column("limit_price", Float),
    Column("stop_price", Float),
    Column("trail", Float),
    Column("reduce_only", Boolean, nullable=False),
    Column("sleeve", String(80), nullable=False),
    Column("decided_at", Instant),
    Column("intended_at", Instant, nullable=False),
    Column("finished", Boolean, nullable=False, index=True),
    UniqueConstraint("account", "client_order_id"),
)

order_events: Final = Table(
    "order_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", Integer, ForeignKey("orders.id"), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("broker_order_id", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("filled", Float, nullable=False),
    Column("number", Integer, nullable=False),
)

executions: Final = Table(
    "executions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("execution_id", String(120), nullable=False),
    Column("order_id", Integer, ForeignKey("orders.id"), index=True),
    Column("client_order_id", String(40), nullable=False),
    Column("broker_order_id", String(120), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("quantity", Float, nullable=False),
    Column("price", Float, nullable=False),
    Column("fee", Float, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("time", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    UniqueConstraint("account", "execution_id"),
)

movements: Final = Table(
    "movements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("movement_id", String(120), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("quantity", Float, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("time", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    UniqueConstraint("account", "movement_id"),
)

account_marks: Final = Table(
    "account_marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("time", Instant, nullable=False),
    Column("cash_cents", BigInteger, nullable=False),
    Column("equity_cents", BigInteger, nullable=False),
    _json("detail"),
    UniqueConstraint("account", "time"),
)

paper_books: Final = Table(
    "paper_books",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("bar", Integer, nullable=False),
    Column("time", Instant, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", LargeBinary, nullable=False),
    UniqueConstraint("account", "bar"),
)

manual_orders: Final = Table(
    "manual_orders",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("account", String(120), nullable=False),
    Column("id", String(80), nullable=False),
    Column("symbol", String(40), nullable=False),
    Column("side", String(10), nullable=False),
    Column("weight", Float),
    Column("stop", Float),
    Column("target", Float),
    Column("reason", Text, nullable=False),
    Column("by", String(120), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("seen", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("why", Text),
    Column("effective", Instant),
    UniqueConstraint("account", "id"),
)

controls: Final = Table(
    "controls",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("action", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(120), nullable=False),
)

alerts: Final = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Instant, nullable=False, index=True),
    Column("level", String(20), nullable=False),
    Column("kind", String(60), nullable=False),
    Column("what", Text, nullable=False),
    _json("detail"),
)

alert_deliveries: Final = Table(
    "alert_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("destination", String(64), nullable=False),
    Column("alert", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("destination", "alert"),
)

live_sessions: Final = Table(
    "live_sessions",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("playbook", String(200), nullable=False, index=True),
    Column("playbook_hash", String(64), nullable=False),
    Column("mode", String(20), nullable=False),
    Column("source", String(200), nullable=False),
    Column("started", Instant, nullable=False),
    Column("stopped", Instant),
    _json("detail"),
)

model_decisions: Final = Table(
    "model_decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seat", String(200), nullable=False),
    Column("key", String(64)),
    Column("at", Instant, nullable=False),
    Column("decision", String(20), nullable=False),
    Column("champion", String(120)),
    Column("challenger", String(120)),
    _json("reasons"),
    _json("evidence"),
    Column("by", String(120), nullable=False),
    UniqueConstraint("seat", "key"),
)
