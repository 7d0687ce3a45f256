"""The registry of features as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tradewind.cli.main import app

#: Rows A1, B4, D3 and E3 of the playbooks, by our names.
NAMED = [
    "open",
    "high",
    "low",
    "close",
    "volume",
    "rsi_14",
    "macd",
    "macd_signal",
    "bollinger_upper_20",
    "bollinger_lower_20",
    "sma_20",
    "sma_50",
    "atr_14",
    "sentiment_score",
    "sentiment_momentum",
    "sentiment_volatility",
    "news_volume_24h",
    "vix",
    "sector_performance",
    "index_correlation_60",
    "ema_12",
    "ema_26",
    "minute_of_hour",
    "hour_of_day",
    "day_of_week",
    "return_1_lag_5",
    "sma_5",
    "stochastic_k_14",
    "roc_10",
    "obv",
    "volume_sma_20",
    "volume_ratio_20",
    "mfi_14",
    "cci_20",
    "williams_r_14",
    "return_1",
    "return_5",
    "return_20",
    "volatility_20",
    "high_low_spread",
    "close_open_spread",
    "adx_14",
    "aroon_up_14",
    "aroon_down_14",
    "stochrsi_k_14",
    "vwap",
    "pivot",
    "fibonacci_500_63",
    "ichimoku_base",
    "volume_profile_poc_60",
    "order_flow_proxy_5",
]


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, Any]]:
    found = json.loads(CliRunner().invoke(app, ["features", "list", "--json"]).stdout)
    assert found["count"] == len(found["features"]) >= 100
    return {row["name"]: row for row in found["features"]}


@pytest.mark.parametrize("name", NAMED)
def test_every_feature_that_a_playbook_row_names_is_listed(name: str, listed: dict[str, dict[str, Any]]) -> None:
    row = listed[name]
    assert row["unit"] and row["description"]
    assert row["look_back_bars"] > 0 or row["unavailable"] or row["family"] in ("calendar", "market")


def test_the_critical_ones_are_those_of_row_a1(listed: dict[str, dict[str, Any]]) -> None:
    assert {n for n, row in listed.items() if row["critical"]} == {"close", "volume", "sentiment_score", "rsi_14"}


def test_what_no_source_delivers_says_why() -> None:
    lines = CliRunner().invoke(app, ["features", "list", "--family", "sentiment"]).stdout.splitlines()
    assert all("not available: no source of scored news is connected" in line for line in lines[:-1])
    assert "[critical]" in lines[0]
    assert lines[-1] == "4 features in 1 families"


def test_a_playbook_lists_what_its_models_see_and_forecasts_are_last(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[playbook]\nformat = 1\n[features]\ninclude = ["rsi_14"]\nforecasts = ["har"]\n[labels]\nhorizons_bars = [5]\n'
        "[decision]\nhorizon_bars = 5\n"
    )
    found = json.loads(CliRunner().invoke(app, ["features", "list", "--playbook", str(mine), "--json"]).stdout)
    assert [row["name"] for row in found["features"]] == ["rsi_14", "forecast_har_5_score", "forecast_har_5_sigma"]
    assert {row["unit"] for row in found["features"][1:]} == {"log return"}
    assert found["families"] == ["forecasts", "momentum"]
