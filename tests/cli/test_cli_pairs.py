"""`tradewind pairs` as a program and as a reader sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from spine_kit import QuickRun, instant, sessions, system, workspace
from tradewind.cli import pairs
from tradewind.evaluation.pairs import find_pairs

BARS = 1300
NAMES = ("AAA", "BBB", "CCC", "DDD")


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    pairs.add_to(made)
    return made


def market(follows: bool, seed: int = 1) -> pl.DataFrame:
    """Return four names, the last of which follows the first or walks on its own."""
    rng = np.random.default_rng(seed)
    log = np.cumsum(rng.normal(0, 0.012, (BARS, 4)), axis=0) + np.log([30, 40, 50, 25])
    spread = np.zeros(BARS)
    for t in range(1, BARS):
        spread[t] = 0.85 * spread[t - 1] + 0.012 * rng.normal()
    if follows:
        log[:, 3] = 0.4 + 0.8 * log[:, 0] + spread
    days, close = sessions(BARS), np.exp(log)
    parts = []
    for n, name in enumerate(NAMES):
        prices = {"open": close[:, n], "high": close[:, n] * 1.004, "low": close[:, n] * 0.996, "close": close[:, n]}
        rows = {key: values.round(4) for key, values in prices.items()}
        parts.append(pl.DataFrame({"symbol": [name] * BARS, "date": days, **rows, "volume": [5_000_000] * BARS}))
    return pl.concat(parts)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return system(tmp_path_factory.mktemp("planted"), market(follows=True))


@pytest.fixture(scope="module")
def found(planted: Path) -> dict[str, Any]:
    return find_pairs(workspace(planted, planted.parent / "home"))


def call(app: typer.Typer, home: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    result = CliRunner().invoke(app, ["pairs", *(str(w) for w in words)], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_the_sample_honestly_has_no_pairs(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = call(app, tmp_path, monkeypatch, "sample", "--json")
    result = json.loads(text)
    assert (code, result["pairs"], result["symbols"]) == (0, [], 5)
    assert "6 pairs tested" in result["reason"] and "FB" in result["left_out"]
    assert result["trials"] == sum(row["tests"] for row in result["windows"]) == 45
    assert result["track_record"]["reason"].startswith("no pair was traded")
    assert result["track_record"]["sharpe_ci"] == [None, None]
    assert "selection" in result["flags"] and any("assumed_borrow" in note for note in result["notes"])
    text = call(app, tmp_path, monkeypatch, "sample")[1]
    assert "No pairs" in text and "Nearest to being found" in text and "45 pairs tested" in text


def test_a_planted_pair_is_found_with_its_tests_and_what_it_would_do(found: dict[str, Any]) -> None:
    (pair,) = found["pairs"]
    assert {pair["dependent"], pair["other"]} == {"AAA", "DDD"} and found["reason"] is None
    assert pair["p"] <= pair["q"] <= 0.05 and pair["johansen_trace"] > 15.4943
    ratio = pair["hedge_ratio"] if pair["dependent"] == "DDD" else 1 / pair["hedge_ratio"]
    assert ratio == pytest.approx(0.8, rel=0.1)
    assert 2 < pair["half_life_bars"] < 10 and abs(pair["z"]) < 6
    assert pair["action"] in ("stay out", "hold AAA long, DDD short", "hold AAA short, DDD long")


def test_survivors_stand_beside_chance(found: dict[str, Any]) -> None:
    total = found["survival"]
    assert total["expected_by_chance"] == 0.05 and total["survived"] <= total["retested"]
    assert total["windows"] == len([row for row in found["windows"] if row["retested"] is not None])
    assert [row["tests"] for row in found["windows"]] == [6] * len(found["windows"])
    assert found["trials"] == 6 * len(found["windows"])


def test_the_record_is_after_costs_and_borrow_with_its_interval(found: dict[str, Any]) -> None:
    record = found["track_record"]
    low, high = record["sharpe_ci"]
    assert low < record["sharpe"] < high and record["trades_of_pairs"] > 5
    assert record["trades_of_legs"] >= 2 * (record["trades_of_pairs"] - 1)
    assert record["costs"]["borrow"] > 0 and record["costs"]["commission"] > 0
    assert 0 < record["deflated_sharpe"] < 1
    assert record["gross_max"] < 0.3 and record["net_max"] < 0.1
    assert record["assumptions"]["borrow_bps_per_year"] == 20


def test_an_earlier_moment_sees_a_prefix_of_the_windows(planted: Path, found: dict[str, Any]) -> None:
    day = found["windows"][1]["formed_on"]
    early = find_pairs(workspace(planted, planted.parent / "home"), as_of=instant(f"{day}T23:00:00+00:00"))
    assert early["windows"][0] == found["windows"][0]
    assert [row["formed_on"] for row in early["windows"]] == [row["formed_on"] for row in found["windows"][:2]]
    assert early["formed_on"][:10] == day and early["windows"][1]["survived"] is None


def asked(planted: Path, **settings: object) -> dict[str, Any]:
    return find_pairs(workspace(planted, planted.parent / "home", **settings))


def test_stock_that_nobody_lends_is_not_traded(planted: Path) -> None:
    result = asked(planted, borrow__unavailable=["AAA", "DDD"])
    assert result["pairs"] and result["track_record"]["trades_of_pairs"] == 0
    assert result["track_record"]["reason"].startswith("no pair was traded")


def test_stock_that_is_hard_to_borrow_costs_what_it_costs(planted: Path, found: dict[str, Any]) -> None:
    dear = asked(planted, borrow__hard_to_borrow_bps={"AAA": 2020.0, "DDD": 2020.0})["track_record"]
    plain = found["track_record"]
    assert dear["costs"]["borrow"] == pytest.approx(101 * plain["costs"]["borrow"], rel=0.02)
    assert dear["annual_return"] < plain["annual_return"]


def test_settings_come_from_the_playbook(planted: Path) -> None:
    result = asked(planted, pairs__false_discovery_rate=0.001, pairs__correction="benjamini_yekutieli")
    assert result["settings"]["correction"] == "benjamini_yekutieli"
    assert all(row["q"] <= 0.001 for row in result["pairs"])


def test_a_reader_sees_the_pairs_and_the_windows(
    app: typer.Typer, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = call(app, tmp_path, monkeypatch, planted)
    assert code == 0
    assert "Pairs formed on" in text and "half-life" in text and "chance alone lets" in text
    assert "Sharpe ratio" in text and "pairs tested" in text


def test_a_history_shorter_than_a_window_says_what_to_do(
    app: typer.Typer, quick: QuickRun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = call(app, home, monkeypatch, quick.playbook, "--json")
    error = json.loads(text)["error"]
    assert code == 3 and "420 bars are fewer than the 756" in error["what"]
    assert "pairs.formation_bars" in error["hint"]


def test_a_universe_of_one_name_has_no_pair(
    app: typer.Typer, quick: QuickRun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (quick.playbook, "--set", 'universe.symbols=["AAA"]', "--json")
    code, text = call(app, home, monkeypatch, *words)
    assert code == 3 and "a pair takes two names" in json.loads(text)["error"]["what"]
