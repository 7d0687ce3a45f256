"""Row C9: what scalper, swing and position keep beside the contract of every rule, and the guards on their entries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.guards import gap_sigmas
from tradewind.decisions.pyramid import built_up
from tradewind.decisions.rules.position import rotation
from tradewind.decisions.rules.scalper import repeated
from tradewind.decisions.rules.swing import persists
from tradewind.decisions.session import bars_left, ends_session
from tradewind.decisions.signals import RULES, Action, Belief, Signals, decide
from tradewind.decisions.surroundings import Surroundings
from tradewind.errors import DataError
from tradewind.execution.plan import TradePlan
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.execution.simulator import simulate
from tradewind.market.calendar import calendar
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.portfolio.sizing import size

TIMEFRAMES = {"scalper": "5m", "swing": "1d", "position": "1w"}
SHAPE = (60, 6)
HOUR = 12
few = settings(max_examples=15)
# two short sessions, the second one closes early
CLOSES = calendar("XNYS").bar_closes("5m", datetime(2023, 11, 22, tzinfo=UTC), datetime(2023, 11, 27, 20, tzinfo=UTC))
SURE = {"recalibration": "none", "confidence_min": 0.5, "confidence_exit": 0.45}


def at(believed: Belief, times: np.ndarray, timeframe: str) -> Belief:
    """Return the belief with its bars closing at other times."""
    moved = replace(believed.panel, times=times, timeframe=timeframe)
    parts = {name: replace(getattr(believed, name), times=times) for name in ("features", "forecast")}
    return replace(believed, panel=moved, **parts)


def shaken(believed: Belief, seed: int, size: float = 0.01) -> Belief:
    """Return it with prices that move, gap, and are missing now and then."""
    rng, shape = np.random.default_rng(seed), believed.panel.shape
    close = 50 * np.exp(np.cumsum(size * rng.standard_normal(shape), axis=0))
    opened = close * np.exp(0.3 * size * rng.standard_normal(shape))
    mask = rng.random(shape) > 0.05
    prices = {
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(0.2 * size),
        "low": np.minimum(opened, close) * np.exp(-0.2 * size),
        "close": close,
        "volume": np.full(shape, 1e7),
    }
    fields = {name: np.where(mask, values, np.nan) for name, values in prices.items()}
    return replace(believed, panel=replace(believed.panel, fields={**believed.panel.fields, **fields}, mask=mask))


def invented(name: str, seed: int, bars: int = SHAPE[0], **wanted: object) -> Belief:
    """Forecasts over three horizons with every feature that the rule needs, on bars of its own size."""
    rng, shape = np.random.default_rng(seed), (bars, SHAPE[1])
    gone = rng.random(shape) < 0.1
    medians = {h: np.where(gone, np.nan, rng.normal(0, 0.004, shape)) for h in (1, 4, HOUR)}
    sigmas = {h: rng.uniform(0.004, 0.02, shape) for h in (1, 4, HOUR)}
    columns = {
        "rsi_14": rng.uniform(0, 100, shape),
        "adx_14": rng.uniform(0, 60, shape),
        "roc_20": rng.normal(0, 5, shape),
    }
    chosen = {"stop_minimum": 0.001, "confidence_min": 0.45, "rotation_bars": 5, "every_bars": 1, **wanted}
    sectors = ("Energy", "Energy", "Utilities", "Utilities", "Materials", "Financials")
    made = belief(medians, sigmas, columns=columns, rule=name, sectors=sectors, cost=0.0006, **chosen)
    timeframe = TIMEFRAMES[name]
    times = CLOSES[:bars] if timeframe == "5m" else made.panel.times
    return shaken(at(made, times, timeframe), seed, 0.003 if timeframe == "5m" else 0.02)


def head(believed: Belief, bars: int) -> Belief:
    """Return what was known at the close of so many bars."""
    forecast = believed.forecast
    part = replace(
        forecast, times=forecast.times[:bars], quantiles=forecast.quantiles[:bars], score=forecast.score[:bars]
    )
    return replace(
        believed,
        panel=believed.panel.head(bars),
        features=believed.features.head(bars),
        forecast=part,
        surroundings=believed.surroundings.head(bars),
    )


@pytest.mark.parametrize("name", TIMEFRAMES)
@few
@given(seed=st.integers(0, 10_000), keep=st.integers(8, 50))
def test_a_prefix_of_what_is_believed_gives_a_prefix_of_what_is_said(name: str, seed: int, keep: int) -> None:
    rng = np.random.default_rng(seed)
    believed = invented(
        name, seed, pyramid_steps=3, earnings_sessions=3, gap_sigma_max=2.0, price_earnings_max=25.0, growth_min=0.0
    )
    around = Surroundings(
        earnings_in=np.where(rng.random(SHAPE) < 0.5, np.nan, rng.integers(1, 30, SHAPE)),
        price_earnings=np.where(rng.random(SHAPE) < 0.3, np.nan, rng.uniform(5, 40, SHAPE)),
        growth=rng.normal(0.2, 0.2, SHAPE),
    )
    believed = replace(believed, surroundings=around)
    rule = RULES.create(name)
    for say in (rule.decide, decide):
        try:
            whole, part = say(believed), say(head(believed, keep))
        except DataError:  # nothing fires in the prefix
            continue
        for field in ("action", "decided", "close", "cover", "horizon_bars", "confidence", "stop", "target"):
            np.testing.assert_array_equal(getattr(whole, field)[:keep], getattr(part, field), err_msg=field)
        if whole.scale is not None and part.scale is not None:
            np.testing.assert_array_equal(whole.scale[:keep], part.scale)


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_each_rule_fires_on_either_side_in_a_market_of_every_kind(name: str) -> None:
    said = decide(invented(name, 3, bars=len(CLOSES) if name == "scalper" else SHAPE[0]))
    assert (said.action > 0).any() and (said.action < 0).any() and (said.action == 0).any()


def test_the_bars_left_in_a_session_are_counted_to_its_close_early_ones_included() -> None:
    panel = invented("scalper", 0, bars=len(CLOSES)).panel
    session = calendar("XNYS").session_of(panel.times)
    left = [int(np.sum((session == session[t]) & (panel.times > panel.times[t]))) for t in range(len(panel))]
    last = session == session[-1]  # the sample ends within it
    assert {int(np.sum(session == s)) for s in np.unique(session[~last])} == {78, 42}
    np.testing.assert_array_equal(bars_left(panel)[~last], np.array(left)[~last])
    np.testing.assert_array_equal(ends_session(panel), bars_left(panel) == 0)


@few
@given(seed=st.integers(0, 10_000))
def test_a_scalper_is_never_in_after_the_hour_nor_after_the_session(seed: int) -> None:
    believed = invented("scalper", seed, bars=len(CLOSES), confidence_min=0.3, win_loss_min=0.5)
    said = decide(believed)
    weight = np.where(said.action > 0, 0.1, np.where(said.close & said.decided, 0.0, np.nan))
    plan = TradePlan(weight, said.stop, said.target, max_bars=said.horizon_bars.astype(float))
    done = simulate(believed.panel, plan, ExecutionSection(), AccountSection())
    last = bars_left(believed.panel) == 0
    present = believed.panel.mask | (done.shares == 0)
    assert not done.shares[last & present.all(axis=1)].any(), "nothing is held at a session's close"
    longest = max(_ages(done.shares), default=0)
    assert 0 < longest <= HOUR + _longest_gap(believed.panel.mask), "an hour, and what a missing close adds"


def _ages(shares: np.ndarray) -> list[int]:
    """Return over how many closes in a row each position was held; the last one is that of its exit."""
    ages = []
    for column in shares.T:
        run = 0
        for held in column:
            if held == 0 and run:
                ages.append(run + 1)
            run = run + 1 if held != 0 else 0
    return ages


def _longest_gap(mask: np.ndarray) -> int:
    return max((len(run) for column in mask.T for run in "".join("01"[int(x)] for x in column).split("1")), default=0)


@few
@given(seed=st.integers(0, 10_000), bars=st.integers(1, 9), every=st.integers(1, 3))
def test_a_signal_that_goes_on_is_one_trade(seed: int, bars: int, every: int) -> None:
    action = np.random.default_rng(seed).integers(-1, 2, (80, 4)).astype(np.int8)
    due = np.arange(80) % every == 0
    again = repeated(action, due, bars)
    acted = np.where(again, 0, action)
    for column in range(4):
        opened = [(t, acted[t, column]) for t in range(80) if due[t] and acted[t, column]]
        assert all(b[0] - a[0] >= bars or a[1] != b[1] for a, b in pairwise(opened))
    assert not again[action == 0].any()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"win_loss_min": 3.0}, r"win_loss_min=3 on 0\.0%"),
        ({"expected_move_min": 0.5}, r"expected_move_min=0\.5 on 0\.0%"),
        ({"interval_width_max": 0.0001}, r"interval_width_max=0\.0001 on 0\.0%"),
    ],
)
def test_a_scalper_that_never_fires_names_the_threshold(changes: dict[str, float], named: str) -> None:
    with pytest.raises(DataError, match=named) as refusal:
        decide(invented("scalper", 1, bars=len(CLOSES), **changes))
    assert f"decision.{next(iter(changes))}" in str(refusal.value.hint)


def test_a_scalper_with_daily_bars_says_that_no_bar_is_left_in_the_session() -> None:
    with pytest.raises(DataError, match=r"left in the session on 0\.0%"):
        decide(belief({5: [[0.01]] * 6}, rule="scalper", stop_minimum=0.001, **SURE))


def test_the_round_trip_s_cost_is_the_least_move_worth_its_costs() -> None:
    believed = invented("scalper", 2, bars=len(CLOSES), expected_move_min=0.0)
    dear = replace(believed, round_trip_cost=0.05)
    assert "expected_move_min=0.05" in RULES.create("scalper").thresholds(dear)


# --- swing ---------------------------------------------------------------------------------------------------


def trending(adx: float, momentum: float, rsi: float, median: float = 0.01, **wanted: object) -> Belief:
    """Return eight bars of one name with this trend and this forecast."""
    columns = {"adx_14": adx, "roc_20": momentum, "rsi_14": rsi}
    return belief({5: [[median]] * 8}, columns=columns, rule="swing", **{**SURE, **wanted})


@pytest.mark.parametrize(
    ("adx", "momentum", "rsi", "median", "action"),
    [
        (30, 4, 60, 0.01, Action.BUY),
        (15, 4, 60, 0.01, Action.HOLD),
        (30, -1, 60, 0.01, Action.HOLD),
        (30, 4, 45, 0.01, Action.HOLD),
        (30, 4, 90, 0.01, Action.HOLD),
        (30, 4, 60, -0.01, Action.HOLD),
        (30, -4, 40, -0.01, Action.SELL),
        (30, -4, 10, -0.01, Action.HOLD),
        (np.nan, 4, 60, 0.01, Action.HOLD),
    ],
)
def test_a_swing_needs_trend_and_confidence_on_one_side(
    adx: float, momentum: float, rsi: float, median: float, action: Action
) -> None:
    assert np.all(RULES.create("swing").decide(trending(adx, momentum, rsi, median)).action == action)


def test_a_falling_confidence_alone_closes_nothing_while_the_trend_persists() -> None:
    weak = RULES.create("swing").decide(trending(30, 4, 85, -0.01))
    assert not weak.close.any(), "the trend goes on, though it is too late to enter"
    assert RULES.create("swing").decide(trending(30, -4, 60, -0.01)).close.all(), "the trend has ended"
    assert persists(trending(30, 4, 85))[0].all()


def test_the_fixed_exits_of_row_c9_are_said_in_words_and_the_playbook_s_come_first() -> None:
    said = RULES.create("swing").decide(trending(30, 4, 60))
    assert (said.exits[1].target, said.exits[1].stop) == ("2.50% of the entry", "1.50% of the entry, at least 0.5%")
    np.testing.assert_array_equal(said.target, 0.025)
    np.testing.assert_array_equal(said.stop, 0.015)
    own = RULES.create("swing").decide(trending(30, 4, 60, target_fraction=0.04, stop_fraction=0.02))
    assert (own.target[0, 0], own.stop[0, 0]) == (0.04, 0.02)


def test_a_trend_that_is_not_known_is_said() -> None:
    said = RULES.create("swing").decide(trending(np.nan, 4, 60))
    assert "the trend is not known at 100% of the decisions" in said.notes[0]


# --- guards --------------------------------------------------------------------------------------------------


def test_nothing_is_opened_within_three_sessions_of_known_earnings() -> None:
    due = np.array([[9.0], [4.0], [3.0], [2.0], [1.0], [np.nan], [np.nan], [40.0]])
    believed = replace(trending(30, 4, 60, earnings_sessions=3), surroundings=Surroundings(earnings_in=due))
    np.testing.assert_array_equal(decide(believed).action[:, 0] > 0, [1, 1, 0, 0, 0, 1, 1, 1])
    assert "no date of the next earnings was known at 25%" in decide(believed).notes[-1]
    wary = replace(believed, settings=believed.settings.model_copy(update={"earnings_unknown": "hold"}))
    np.testing.assert_array_equal(decide(wary).action[:, 0] > 0, [1, 1, 0, 0, 0, 0, 0, 1])


def test_without_any_calendar_a_rule_that_must_know_says_so() -> None:
    blind = trending(30, 4, 60, earnings_sessions=3, earnings_unknown="hold")
    with pytest.raises(DataError, match=r"earnings_sessions=3 on 0\.0%") as refusal:
        decide(blind)
    assert 'decision.earnings_unknown = "trade"' in str(refusal.value.hint)


def test_a_gap_is_held_off_and_a_split_is_none() -> None:
    rng = np.random.default_rng(5)
    calm = belief({5: np.full((60, 2), 0.01)}, rule="probability", gap_sigma_max=3.0, **SURE)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((60, 2)), axis=0))
    close[40:, 0] *= 1.10  # jumps overnight
    opened = np.concatenate([close[:1], close[:-1]])
    opened[40, 0] = close[40, 0]
    split = np.ones((60, 2))
    split[40, 1] = 4.0
    raw = {"open": opened.copy(), "close": close.copy()}
    for values in raw.values():
        values[40:, 1] /= 4.0
    fields = {**calm.panel.fields, **raw, "split": split}
    fields["high"], fields["low"] = (f(fields["open"], fields["close"]) for f in (np.maximum, np.minimum))
    believed = replace(calm, panel=replace(calm.panel, fields=fields))
    held = decide(believed).action == 0
    assert held[40, 0] and held.sum() == 1
    assert gap_sigmas(believed)[40, 0] > 5 and abs(gap_sigmas(believed)[40, 1]) < 1e-6


def filed(multiple: object, growth: object, **wanted: object) -> Belief:
    made = belief({5: np.full((4, 1), 0.01)}, rule="probability", price_earnings_max=30.0, growth_min=0.0, **SURE)
    around = Surroundings(price_earnings=np.full((4, 1), multiple), growth=np.full((4, 1), growth))
    return replace(made, surroundings=around, settings=made.settings.model_copy(update=wanted))


@pytest.mark.parametrize(("multiple", "growth"), [(31.0, 0.1), (np.inf, 0.1), (20.0, -0.1), (np.nan, 0.1)])
def test_what_is_dear_loses_shrinks_or_is_unknown_is_not_bought(multiple: float, growth: float) -> None:
    with pytest.raises(DataError, match=r"fundamentals on 0\.0%"):
        decide(filed(multiple, growth))
    assert (decide(filed(20.0, 0.1)).action > 0).all()


def test_unknown_filings_are_bought_where_the_playbook_says_so_and_a_known_bad_one_never() -> None:
    assert (decide(filed(np.nan, 0.1, fundamentals_unknown="trade")).action > 0).all()
    with pytest.raises(DataError, match=r"fundamentals on 0\.0%"):
        decide(filed(np.nan, -0.1, fundamentals_unknown="trade"))


# --- position ------------------------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 10_000), top=st.integers(1, 4))
def test_only_names_of_the_strongest_sectors_lead(seed: int, top: int) -> None:
    believed = invented("position", seed, bars=20, sectors_top=top)
    leads, trails = rotation(believed)
    close = np.log(believed.panel.adjusted("close"))
    for t in range(5, 20):
        own = np.where(believed.tradable[t], close[t] - close[t - 5], np.nan)
        mean = {s: np.nanmean(o) for s in set(believed.panel.sectors) if np.isfinite(o := _of(own, believed, s)).any()}
        best = sorted(mean, key=lambda s: -mean[s])[:top]
        worst = sorted(mean, key=lambda s: mean[s])[:top]
        for n, sector in enumerate(believed.panel.sectors):
            assert leads[t, n] == (sector in best and np.isfinite(own[n]))
            assert trails[t, n] == (sector in worst and np.isfinite(own[n]))
    assert not leads[:5].any(), "momentum is not known yet"


def _of(values: np.ndarray, believed: Belief, sector: str) -> np.ndarray:
    return values[[s == sector for s in believed.panel.sectors]]


def test_in_one_sector_the_names_own_momentum_stands_in_and_it_is_said() -> None:
    believed = invented("position", 4)
    alone = replace(believed, panel=replace(believed.panel, sectors=("Energy",) * 6, mask=np.ones(SHAPE, bool)))
    full = shaken(alone, 4)
    full = replace(full, panel=replace(full.panel, mask=np.isfinite(full.panel.close)))
    leads, _ = rotation(full)
    close = np.log(full.panel.close)
    moved = np.where(full.tradable[30] & np.isfinite(close[25]), close[30] - close[25], np.nan)
    np.testing.assert_array_equal(leads[30], moved >= np.nanmedian(moved))
    assert "one sector (Energy)" in decide(full).notes[0]


def walk(prices: list[float], **wanted: object) -> tuple[Belief, Signals]:
    """Return a BUY at every close of one name with these prices."""
    own = {"pyramid_steps": 3, "pyramid_gain": 0.02, "stop_fraction": 0.05, "every_bars": 1, **SURE, **wanted}
    close = np.array(prices)[:, None]
    believed = belief({4: np.full(close.shape, 0.01)}, close=close, rule="probability", **own)
    return believed, RULES.create("probability").decide(believed)


def test_a_position_grows_in_parts_only_while_it_is_in_profit_and_begins_anew_after_its_stop() -> None:
    scale = built_up(*walk([100, 99, 102, 103, 105, 112, 106, 106, 110], trailing_stop=True))
    assert scale is not None
    parts = np.rint(scale[:, 0] * 3).astype(int).tolist()
    #      open  no  +2 %  no  +2 %  full  trailed out: anew  no  +2 %
    assert parts == [1, 1, 2, 2, 3, 3, 1, 1, 2]


def test_all_at_once_is_no_pyramid() -> None:
    assert built_up(*walk([100.0, 110.0], pyramid_steps=1)) is None


@few
@given(seed=st.integers(0, 10_000), steps=st.integers(2, 6), every=st.integers(1, 3))
def test_a_pyramid_takes_its_steps_one_at_a_time(seed: int, steps: int, every: int) -> None:
    believed = invented("position", seed, pyramid_steps=steps, every_bars=every, confidence_min=0.3)
    said = RULES.create("position").decide(believed)
    assert said.scale is not None
    parts = said.scale * steps
    np.testing.assert_allclose(parts, np.rint(parts), atol=1e-12)
    assert parts.min() >= 1 - 1e-12 and parts.max() <= steps + 1e-12
    sized = size(believed, said, SizingSection(), LimitsSection())
    bought = said.action > 0
    np.testing.assert_allclose(sized.after["pyramid"][bought], (sized.after["position_max"] * said.scale)[bought])
