"""The synthetic market keeps its promises: same seed same world, and the truth is the truth."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.market.actions import forward_factor
from tradewind.market.sectors import SECTORS
from tradewind.market.sources.base import SOURCES, Request

START, END = datetime(2012, 1, 1, tzinfo=UTC), datetime(2014, 6, 30, tzinfo=UTC)


def world(symbols=None, start=START, end=END, timeframe="1d", **options):
    source = SOURCES.create("synthetic", **{"n_symbols": 12, **options})
    request = Request(tuple(symbols or source.symbols(timeframe)), timeframe, start, end)
    deliveries = list(source.fetch(request))
    return tuple(pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))


def returns(bars, actions, symbol):
    """Log total returns of one stock, from raw closes and its actions."""
    one = bars.filter(symbol=symbol)
    at = {time: i for i, time in enumerate(one["time"])}
    split, dividend = np.ones((len(one), 1)), np.zeros((len(one), 1))
    for row in actions.filter(symbol=symbol).iter_rows(named=True):
        if row["kind"] in ("split", "dividend"):
            target = split if row["kind"] == "split" else dividend
            target[at[row["time"]], 0] = row["value"]
    close = one["close"].to_numpy()[:, None]
    factor = forward_factor(close, split, dividend, np.ones(close.shape, bool))
    return np.diff(np.log(close * factor)[:, 0])


def test_one_seed_is_one_world_and_another_seed_another():
    assert world()[0].equals(world()[0])
    assert not world(seed=8)[0].equals(world(seed=7)[0])


@given(st.dates(datetime(2012, 2, 1).date(), datetime(2014, 6, 1).date()))
@settings(deadline=None, max_examples=6)
def test_a_later_end_leaves_earlier_bars_alone(day):
    cut = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for long, short in zip(world(), world(end=cut), strict=True):
        assert short.equals(long.filter(pl.col("time") <= cut))


def test_more_symbols_leave_the_others_alone():
    few, many = world(), world(n_symbols=40)
    for part, whole in zip(few, many, strict=True):
        assert (
            part.sort("symbol", "time").equals(
                whole.filter(pl.col("symbol").is_in(part["symbol"].unique().to_list())).sort("symbol", "time")
            )
            or part.is_empty()
        )


@pytest.mark.parametrize("timeframe", ["5m", "15m", "30m", "1h"])
def test_bars_of_every_size_add_up_to_the_daily_bar(timeframe):
    month = {"symbols": ["SYN000", "SYN003"], "start": datetime(2012, 11, 1, tzinfo=UTC), "end": END.replace(year=2012)}
    month["end"] = datetime(2012, 12, 31, tzinfo=UTC)  # the day after Thanksgiving closes early
    daily, small = world(**month)[0], world(**month, timeframe=timeframe)[0]
    day = pl.col("time").dt.date().alias("day")
    added = small.group_by("symbol", day, maintain_order=True).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(), pl.col("time").last(),
    )  # fmt: skip
    for name in ("time", "open", "high", "low", "close", "volume"):
        assert added[name].to_list() == daily[name].to_list(), name


def test_the_truth_is_what_returns_scatter_around():
    source = SOURCES.create("synthetic", n_symbols=60, signal_strength=0.0)
    symbols = [s for s in source.symbols("1d") if s.startswith("SYN")]
    request = Request(tuple(symbols), "1d", START, END)
    truth = source.truth(request)
    bars, actions = world(symbols, n_symbols=60, signal_strength=0.0)
    scores = []
    for n, symbol in enumerate(symbols):
        live = np.flatnonzero(np.isfinite(truth.expected[:, n]))
        if len(live) < 100:
            continue
        got = returns(bars, actions, symbol)
        assert len(got) == len(live) - 1
        rows = live[1:]
        scores.append((got - truth.expected[rows, n] - truth.jump[rows, n]) / truth.sigma[rows, n])
    z = np.concatenate(scores)
    assert abs(z.mean()) < 0.06  # stocks share the market: some 600 independent days
    assert z.std() == pytest.approx(1.0, abs=0.03)
    assert (np.abs(z) > 4).mean() > 5e-4  # tails fatter than normal: 6e-5


def predictor_and_returns(strength):
    """Pooled over stocks: the known predictor, the expected return, and the return without jumps, in sigmas."""
    source = SOURCES.create("synthetic", n_symbols=60, signal_strength=strength)
    symbols = [s for s in source.symbols("1d") if s.startswith("SYN")]
    truth = source.truth(Request(tuple(symbols), "1d", START, END))
    bars, actions = world(symbols, n_symbols=60, signal_strength=strength)
    parts = []
    for n, symbol in enumerate(symbols):
        rows = np.flatnonzero(np.isfinite(truth.expected[:, n]))[1:]
        if len(rows) > 100:
            got = returns(bars, actions, symbol) - truth.jump[rows, n]
            expected = truth.expected[rows, n] - truth.expected[rows, n].mean()
            parts.append(np.stack([truth.predictor[rows, n], *(np.stack([expected, got]) / truth.sigma[rows, n])]))
    return np.concatenate(parts, axis=1)


def test_returns_follow_the_planted_signal_one_for_one():
    _, expected, got = predictor_and_returns(0.2)
    slope = expected @ got / (expected @ expected)
    assert slope == pytest.approx(1.0, abs=0.15)


def test_without_a_signal_the_predictor_predicts_nothing():
    predictor, _, got = predictor_and_returns(0.0)
    assert abs(np.corrcoef(predictor, got)[0, 1]) < 0.02


def test_ranges_agree_with_closes_about_volatility():
    """Parkinson's estimator on the intraday range and the open-to-close variance measure one thing."""
    bars = world()[0].filter(pl.col("symbol").str.starts_with("SYN") & (pl.col("close") > 10))
    logs = bars.select(
        span=(pl.col("high") / pl.col("low")).log() ** 2 / (4 * np.log(2)),
        move=(pl.col("close") / pl.col("open")).log() ** 2,
    )
    assert logs["span"].mean() / logs["move"].mean() == pytest.approx(1.0, abs=0.1)


def test_stocks_list_delist_split_and_pay_over_twenty_years():
    bars, actions = world(n_symbols=40, start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 1, tzinfo=UTC))
    kinds = set(actions["kind"])
    assert kinds == {"split", "dividend", "delist"}
    firsts = bars.group_by("symbol").agg(pl.col("time").min())["time"]
    assert (firsts > datetime(2000, 2, 1, tzinfo=UTC)).sum() > 3
    for row in actions.filter(kind="delist").iter_rows(named=True):
        mine = bars.filter(symbol=row["symbol"])
        assert mine["time"].max() < row["time"]
        assert 0 < row["value"] <= mine["close"][-1]


def test_vix_follows_the_volatility_of_the_index():
    bars, _ = world(["^GSPC", "^VIX"], start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 1, tzinfo=UTC))
    index, vix = (bars.filter(symbol=s)["close"].to_numpy() for s in ("^GSPC", "^VIX"))
    moves = np.abs(np.diff(np.log(index)))
    ahead = np.convolve(moves**2, np.ones(21) / 21, mode="valid")
    assert np.corrcoef(vix[: len(ahead)] ** 2, ahead)[0, 1] > 0.4
    realised = 100 * np.sqrt(252 * np.mean(moves**2))
    assert 0.8 < np.sqrt(np.mean(vix**2)) / realised < 1.4


def test_every_stock_has_a_sector_and_the_index_has_none():
    sectors = SOURCES.create("synthetic", n_symbols=200).sectors()
    assert set(sectors.values()) == set(SECTORS)
    assert len(sectors) == 200


def test_the_truth_of_an_index_cannot_be_asked():
    with pytest.raises(InputError, match="no stock"):
        SOURCES.create("synthetic").truth(Request(("^GSPC",), "1d", START, END))
