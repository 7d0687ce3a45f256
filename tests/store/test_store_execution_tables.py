"""The tables of execution: an older database gets them with its rows untouched, and gives them back."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql
from store_kit import RECORDED

from tradewind.market.store import schema
from tradewind.market.store.database import Database
from tradewind.market.store.records import ModelRecord, Records

TABLES = {
    "orders", "order_events", "executions", "movements", "account_marks", "paper_books", "controls", "alerts",
}  # fmt: skip
LATER = {"manual_orders", "alert_deliveries", "live_sessions", "model_decisions"}
MODEL = ModelRecord("m1", "sample", "ridge", "1", RECORDED, RECORDED, "d", {"ic": 0.1})


def migrate(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with database.writing() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if version == "head" else command.downgrade)(config, version)


def tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_down_and_up_again_touches_nothing_else(records: Records) -> None:
    records.record_model(MODEL)
    before = tables(records.database)
    migrate(records.database, "0003")
    assert tables(records.database) == before - TABLES - LATER
    migrate(records.database, "head")
    assert tables(records.database) == before
    assert records.models() == [MODEL]


def test_opening_a_database_of_the_third_version_brings_it_up_to_date(records: Records) -> None:
    records.record_model(MODEL)
    migrate(records.database, "0003")
    records.close()
    again = Records(records.database.url)
    assert tables(again.database) >= TABLES
    assert again.models() == [MODEL]
    assert again.check() == []
    again.close()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_money_is_whole_cents_and_large_on_postgresql(name: str) -> None:
    statement = str(sa.schema.CreateTable(schema.metadata.tables[name]).compile(dialect=postgresql.dialect()))
    cents = [line for line in statement.splitlines() if "cents" in line]
    assert all("BIGINT NOT NULL" in line for line in cents)
    assert len(cents) == {"executions": 1, "movements": 1, "account_marks": 2}.get(name, 0)
