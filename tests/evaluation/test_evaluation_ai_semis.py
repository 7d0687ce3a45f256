"""The shipped ai-semis, all of it: three timeframes in one account, every limit, and the same days on paper."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

from tradewind.api import open_playbook
from tradewind.cli.main import app
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.account import Clock, opening_row, trade
from tradewind.evaluation.backtest import TrackRecord, backtest, clean
from tradewind.evaluation.book_result import limits_result
from tradewind.evaluation.corridor import silent
from tradewind.evaluation.paper import paper
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.positions import last_decisions
from tradewind.evaluation.sleeves import walk
from tradewind.evaluation.stress import _targets
from tradewind.evaluation.surroundings import of_panel
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.trading import Trading
from tradewind.portfolio.settings import USUAL_REACTION, LimitsSection

FloatArray = NDArray[np.float64]

QUICK = {
    "source.synthetic.options.n_symbols": 5,
    "data.start": '"2017-01-03"',
    "data.end": '"2021-04-30"',
    "timeframes.scalper.data.start": '"2021-01-04"',
    "timeframes.scalper.evaluation.min_train_bars": 2000,
    "timeframes.scalper.evaluation.refit_bars": 2000,
    "evaluation.min_train_bars": 300,
    "evaluation.bootstrap_samples": 200,
    "models.use": "naive_normal",
    "timeframes.scalper.models.use": "har",
    "regimes.starts": 1,
    "regimes.refit_sessions": 126,
}
"""A smaller world and quicker models; every rule, limit and calendar is the shipped one."""

SEAM = datetime(2021, 1, 4, tzinfo=UTC)
TIGHT = {
    "position_max": {"position_max": 0.02},
    "sector_max": {"sector_max": 0.02},
    "gross_max": {"gross_max": 0.05},
    "net_max": {"net_max": 0.04},
    "beta_max": {"beta_max": 0.03},
    "var_max": {"var_max": 0.0006},
    "correlation_max": {"correlation_max": 0.2, "correlated_max": 0.04},
    "liquidity_max": {"liquidity_max": 0.0005},
}


def semis(home: Path, **more: object) -> Workspace:
    flags = {key.replace(".", "__"): value for key, value in {**QUICK, **more}.items()}
    return open_playbook("ai-semis", source="synthetic", home=home, **flags)


@dataclass(frozen=True)
class Run:
    """One back-test of the small world; tests read it, and trade its decisions again under other limits."""

    home: Path
    workspace: Workspace
    record: TrackRecord

    @property
    def plan(self) -> Plan:
        return self.workspace.plan

    @property
    def result(self) -> dict[str, Any]:
        return dict(self.record.result)

    @property
    def clock(self) -> Clock:
        return Clock.of([one.wanted for one in self.record.walked.sleeves])

    def under(self, limits: LimitsSection) -> tuple[Plan, Trading]:
        """Trade what was wished in an account with other limits."""
        plan = replace(self.plan, limits=limits)
        return plan, trade(plan, [one.wanted for one in self.record.walked.sleeves])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("semis")
    used = semis(home)
    return Run(home, used, backtest(used))


def cents(amount: float) -> int:
    return round(amount * 100)


# -- what the issue asks of the result -------------------------------------------------------------------------------


def test_all_three_timeframes_trade_in_one_account_under_the_coordinator(run: Run) -> None:
    frames = run.result["timeframes"]
    assert {name: (own["available"], own["timeframe"]) for name, own in frames.items()} == {
        "position": (True, "1w"), "swing": (True, "1d"), "scalper": (True, "5m"),
    }  # fmt: skip
    assert {name: own["rule"] for name, own in frames.items()} == {name: name for name in frames}
    assert [own["capital"] for own in frames.values()] == [0.2, 0.5, 0.3]
    assert sum(own["capital_now"] for own in frames.values()) <= 1.0 + 1e-9
    fills = run.record.tradings["base"].simulation.fills["symbol"].to_list()
    assert {name.partition("@")[2] for name in fills} == set(frames)
    assert run.record.walked.primary.name == "swing", "judged by its daily bars"


def test_what_is_put_to_the_test_of_stress_is_what_the_back_test_wants_with_its_guards(run: Run) -> None:
    swing = run.record.walked.primary
    panel, wanted = swing.world.panel, np.nan_to_num(swing.wanted.targets.weight)
    place = replace(run.workspace, plan=run.plan.timeframes["swing"])
    row = int(np.flatnonzero(wanted.any(axis=1))[-1])
    np.testing.assert_array_equal(_targets(place, panel.head(row + 1), (), silent), wanted[row])
    unguarded = corridor.act(
        replace(swing.world, surroundings=of_panel(place.plan, panel)), swing.decision.belief.forecast
    )
    assert not np.array_equal(np.nan_to_num(unguarded[2].weight), wanted), "its calendars matter"


def test_the_result_has_the_keys_of_the_issue_as_json_says_them(run: Run) -> None:
    found = json.loads(json.dumps(clean(run.result), allow_nan=False))
    assert set(USUAL_REACTION) <= set(found["limits"])
    assert all({"limit", "reaction", "times_bound"} <= set(one) for one in found["limits"].values())
    assert all(one["limit"] is not None for one in found["limits"].values()), "every limit of the playbook is active"
    assert set(found["regimes"]["share_of_time"]) == {"bull", "bear", "volatile", "range"}
    assert found["var"]["level"] == 0.95 and 0 <= found["var"]["kupiec_p"] <= 1
    assert found["var"]["exceptions"] <= found["var"]["sessions"]
    for name in ("gross", "net"):
        assert found[name]["min"] <= found[name]["mean"] <= found[name]["max"]
    assert found["beta"]["error"] > 0
    assert len(found["ledger_hash"]) == 64
    assert "np." not in json.dumps(found)


def test_profits_add_up_to_the_cent_however_they_are_told_apart(run: Run) -> None:
    told, base = run.result["attribution"], run.record.tradings["base"].simulation
    total = cents(told["total"])
    assert total == cents(base.equity[-1]) - cents(base.start_capital) != 0
    for name in ("timeframe", "model", "sector", "symbol", "cost", "factor"):
        assert sum(map(cents, told[f"by_{name}"].values())) == total, name
    assert sum(cents(year["total"]) for year in told["by_year"].values()) == total
    assert all(told["by_timeframe"][name] for name in ("position", "swing", "scalper"))


def test_each_position_and_decision_names_the_forecast_that_asked_and_what_bound_it(run: Run) -> None:
    decisions = last_decisions(run.record.walked, run.record.tradings["base"], run.clock, most=10_000)
    assert len(decisions) > 200 and {row["timeframe"] for row in decisions} == {"position", "swing", "scalper"}
    assert run.result["decisions"] == decisions[: len(run.result["decisions"])]
    asked = [row for row in decisions if row["asked_by"] is not None]
    assert len(asked) > 0.8 * len(decisions)
    for row in asked:
        by, plan = row["asked_by"], run.plan.timeframes[row["timeframe"]]
        assert (by["model"], by["rule"]) == (plan.models.use, row["timeframe"])
        assert by["horizon_bars"] == plan.decision.horizon_bars and by["decided_at"] <= row["time"]
        assert by["action"] != "BUY" or by["confidence"] >= plan.decision.confidence_min
        assert by["interval_80"][0] < by["median"] < by["interval_80"][1]
    assert all(row["why"] for row in decisions if row["asked_by"] is None), (
        "what no forecast asked for has another cause"
    )
    for row in run.result["positions"]:
        assert row["asked_by"]["decided_at"] < row["entered"] and row["sized_by"]
        assert set(row["bound_since"]) <= set(run.result["limits"])


# -- limits ----------------------------------------------------------------------------------------------------------


def by_symbol(run: Run, weights: FloatArray) -> FloatArray:
    """Return what was sent of each symbol, its timeframes together, ``(D, N)``."""
    together = np.zeros((len(weights), len(run.clock.panel.symbols)))
    np.add.at(together, (slice(None), run.clock.symbol_of), np.nan_to_num(weights))
    return together


@pytest.mark.parametrize("name", TIGHT)
def test_a_tight_limit_binds_is_counted_and_named_and_no_order_passes_it(run: Run, name: str) -> None:
    limits = run.plan.limits.model_copy(update={"drift_tolerance": 0.0, **TIGHT[name]})
    plan, tight = run.under(limits)
    counted = limits_result(plan, tight)[name]
    assert counted["limit"] == TIGHT[name][name] and counted["times_bound"] > 0
    decisions = last_decisions(run.record.walked, tight, run.clock, most=10_000)
    bound = [row for row in decisions if row["bound_by"] == name]
    assert bound
    assert all(abs(row["sent"]) < abs(row["wished"]) for row in bound if row["sent"] is not None and row["wished"])
    sent = by_symbol(run, tight.sent)
    largest = {
        "position_max": np.abs(sent).max(),
        "gross_max": np.abs(sent).sum(axis=1).max(),
        "net_max": np.abs(sent.sum(axis=1)).max(),
    }
    assert largest.get(name, 0.0) <= TIGHT[name][name] + 1e-9
    usual = run.record.tradings["base"].simulation.gross_exposure
    assert tight.simulation.gross_exposure.sum() < usual.sum()


@pytest.mark.parametrize("sessions", [None, 15])
def test_a_drawdown_halts_the_account_and_nothing_opens_before_its_release(run: Run, sessions: int | None) -> None:
    limits = run.plan.limits.model_copy(update={"drawdown_max": 0.004, "release_after_sessions": sessions})
    plan, halted = run.under(limits)
    stops = [alert.row for alert in halted.alerts if alert.kind == "drawdown_max"]
    assert stops and limits_result(plan, halted)["drawdown_max"]["times_bound"] == len(stops)
    fills, ends = halted.simulation.fills, np.asarray(halted.session_rows)
    held = halted.simulation.shares
    opened = [
        row
        for row, symbol, quantity in zip(fills["row"], fills["symbol"], fills["quantity"], strict=True)
        if quantity > 0 and held[row, halted.simulation.symbols.index(symbol)] > 0
    ]
    for number, stop in enumerate(stops):
        later = ends[ends >= stop]
        free = len(held) if sessions is None or len(later) <= sessions else int(later[sessions])
        assert not [row for row in opened if stop + 1 < row <= free], "an order of the same close may still fill"
        assert sessions is None or number + 1 == len(stops) or stops[number + 1] > free
    assert max(opened) > stops[0] + 1 if sessions else halted.state.gate.halted == "drawdown_max"


# -- the same days on paper ------------------------------------------------------------------------------------------

WINDOWS = {
    "daily bars only": (datetime(2020, 6, 1, tzinfo=UTC), datetime(2020, 12, 30, 23, tzinfo=UTC)),
    "across the seam": (datetime(2020, 12, 1, tzinfo=UTC), datetime(2021, 3, 15, 23, tzinfo=UTC)),
    "five-minute bars": (datetime(2021, 3, 15, tzinfo=UTC), datetime(2021, 4, 30, 23, tzinfo=UTC)),
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_replay_on_paper_has_the_ledger_of_the_back_test_of_the_same_days(run: Run, window: str) -> None:
    since, until = WINDOWS[window]
    used = semis(run.home)
    walked = walk(used, as_of=until)
    wanted = [one.wanted for one in walked.sleeves]
    tested = trade(used.plan, wanted, start=opening_row(Clock.of(wanted), since)).simulation
    found = paper(used, replay=True, opened=since, as_of=until)
    assert found["ledger_hash"] == tested.ledger_hash == found["backtest_ledger_hash"]
    assert found["equal"] and found["fills"] == len(tested.fills) > 10
    assert datetime.fromisoformat(found["from"]) >= since and datetime.fromisoformat(found["to"]) <= until
    scalped = any("scalper" in symbol for symbol in tested.fills["symbol"])
    assert scalped is (until > datetime(2021, 2, 28, tzinfo=UTC))
    assert list(found["unavailable"]) == ([] if until > SEAM else ["scalper"])
    used.records.close()


# -- a timeframe at a time -------------------------------------------------------------------------------------------


def test_a_rule_that_never_fires_leaves_its_timeframe_out_with_the_reason(run: Run) -> None:
    used = semis(run.home, **{"timeframes.swing.decision.confidence_min": 0.95})
    walked = walk(used)
    assert {one.name for one in walked.sleeves} == {"position", "scalper"}
    assert "'swing' never fired" in walked.unavailable["swing"]
    everybody = {f"timeframes.{name}.decision.confidence_min": 0.95 for name in run.plan.timeframes}
    with pytest.raises(DataError) as refused:
        walk(semis(run.home, **everybody))
    assert all(f"{name}: the rule '{name}' never fired" in refused.value.what for name in run.plan.timeframes)


def test_an_empty_home_says_what_brings_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["backtest", "ai-semis", "--json"], catch_exceptions=False)
    assert result.exit_code == 3
    refused = json.loads(result.stdout)["error"]
    assert all(f"{name}: none of 10 symbols" in refused["what"] for name in ("position", "swing", "scalper"))
    assert "tradewind sync" in refused["hint"]


def test_a_recommended_weight_is_of_the_account_and_any_timeframe_can_be_looked_at(run: Run) -> None:
    shares = {"position": 0.2, "swing": 0.5, "scalper": 0.3}
    for name, share in shares.items():
        led = run.record.led_by(name)
        assert led.world.plan is run.plan.timeframes[name] or led.walked.primary.name == name
        assert led.decision.share == share
        weight = led.decision.targets.weight
        row = int(np.flatnonzero((weight > 0).any(axis=1))[-1])
        said = {one["symbol"]: one for one in led.decision.recommendations(row)}
        column = int(np.flatnonzero(weight[row] > 0)[0])
        one = said[led.world.panel.symbols[column]]
        assert one["weight"] == pytest.approx(share * weight[row, column])
        close = led.world.panel.close[row, column]
        assert one["shares"] == pytest.approx(100_000 * one["weight"] / close, rel=1e-3)
    with pytest.raises(InputError, match="scalpr"):
        run.record.led_by("scalpr")


# -- the open data, by the words of the command line -----------------------------------------------------------------

OPEN = Path(__file__).parents[2] / "../shared/data"

DAILY = (
    "source.files.options.path=daily/sp500_ohlcv_2005_2016.parquet",
    "source.files.options.sectors_path=reference/sp500_constituents_gics_2021.csv",
    'source.files.options.context={index = "macro/gspc_close.csv.gz", vix = "macro/vix_daily.csv.gz"}',
    "source.files.options.fundamentals_path=reference/xbrl_fundamentals_2015_2016.parquet",
)
FIVE_MINUTES = (
    "source.files.options.path=intraday/us_5min_2025H2.parquet",
    "source.files.options.timeframe=5m",
    "source.files.options.stamp=start",
    "source.files.options.prices=split",
    "source.files.options.sectors_path=reference/us_symbols_sector_2022-12.parquet",
    'data.context={index = "SPY", nasdaq = "QQQ"}',
    # 98 sessions: regimes and the swing timeframe have to learn from 60 and 80 of them
    "regimes.look_back_sessions=60",
    "regimes.refit_sessions=20",
    "regimes.covariance=diag",
    "timeframes.swing.evaluation.min_train_bars=80",
    "timeframes.swing.evaluation.refit_bars=20",
    "timeframes.swing.decision.selection=none",
)
QUICKER = (
    "models.use=naive_normal",
    "timeframes.scalper.models.use=har",
    "regimes.starts=1",
    "evaluation.bootstrap_samples=200",
)


def tradewind(home: Path, monkeypatch: pytest.MonkeyPatch, verb: str, settings: tuple[str, ...], *words: str) -> Any:
    """Run a verb of the command line on ai-semis with the open files and return its one object."""
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    sets = [word for one in (f"source.files.options.base={OPEN}", *settings, *QUICKER) for word in ("--set", one)]
    command = [verb, "ai-semis", "--source", "files", *sets, *words, "--json"]
    result: Result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def need(file: str) -> None:
    if not (OPEN / file).is_file():
        pytest.skip(f"the open data are not beside the project: no {OPEN / file}")


@pytest.mark.data
def test_the_open_daily_panel_trades_with_the_names_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("daily/sp500_ohlcv_2005_2016.parquet")
    settings = (*DAILY, "data.start=2012-01-03", "evaluation.min_train_bars=300")
    days = ("--from", "2015-06-01")
    found = tradewind(tmp_path, monkeypatch, "backtest", settings, *days, "--no-report")
    frames = found["timeframes"]
    assert set(found["universe"]["dropped"]) == {"AMD", "ASML", "TSM", "SMCI", "ARM"}
    assert any(note.startswith("AMD, ASML, TSM, SMCI, ARM were dropped: never stored") for note in found["notes"])
    for name in ("position", "swing"):
        assert frames[name]["symbols"] == ["NVDA", "INTC", "QCOM", "AVGO", "MU"]
    assert frames["scalper"] == {"available": False, "why": "source 'files' has no '5m' bars"}
    told = found["attribution"]
    assert sum(map(cents, told["by_timeframe"].values())) == cents(told["total"]) != 0
    assert {row["timeframe"] for row in found["decisions"]} == {"position", "swing"}
    assert all(row["asked_by"]["model"] == "naive_normal" for row in found["decisions"] if row["asked_by"])
    replayed = tradewind(tmp_path, monkeypatch, "paper", settings, "--replay", *days)
    assert replayed["ledger_hash"] == found["ledger_hash"] and replayed["equal"] and replayed["fills"] > 50


@pytest.mark.data
def test_the_five_minute_sample_scalps_and_swings_on_days_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("intraday/us_5min_2025H2.parquet")
    days = ("--from", "2025-09-02")
    found = tradewind(tmp_path, monkeypatch, "backtest", FIVE_MINUTES, *days, "--no-report")
    frames = found["timeframes"]
    for name in ("scalper", "swing"):
        assert frames[name]["available"] and frames[name]["symbols"] == ["NVDA", "AMD", "INTC"]
    assert frames["position"]["why"].startswith("no walk-forward: 20 bars are too few")
    assert "1d bars are made of the source's 5m bars" in found["notes"]
    assert len(found["universe"]["dropped"]) == 7
    assert any(
        "rows lie outside of the exchange's sessions" in note and "(first: AMD 2025" in note for note in found["notes"]
    )
    assert all(found["attribution"]["by_timeframe"][name] for name in ("scalper", "swing"))
    replayed = tradewind(tmp_path, monkeypatch, "paper", FIVE_MINUTES, "--replay", *days)
    assert replayed["ledger_hash"] == found["ledger_hash"] and replayed["equal"] and replayed["fills"] > 10
