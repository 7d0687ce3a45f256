"""The synthetic market keeps its promises: same seed same world, and the truth is the truth."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.market.actions import forward_factor
from tradewind.market.calendar import calendar
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


# --- indices, here and abroad

YEARS = {"start": datetime(2004, 1, 1, tzinfo=UTC), "end": datetime(2014, 1, 1, tzinfo=UTC)}


def digest(frame, *order):
    """A hash of every number of a table, to the last bit."""
    rows = repr(frame.sort(*order).rows()).encode()
    return hashlib.blake2b(rows, digest_size=8).hexdigest()


def test_the_world_is_the_one_it_always_was():
    """Results of years rest on these very numbers: what is added to the world must leave them alone."""
    names = [*(f"SYN{i:03d}" for i in range(12)), "^GSPC", "^VIX"]
    bars, actions = world(names)
    assert (digest(bars, "symbol", "time"), digest(actions, "symbol", "time", "kind")) == GOLDEN["1d"]
    autumn = {"start": datetime(2012, 11, 1, tzinfo=UTC), "end": datetime(2012, 11, 30, tzinfo=UTC)}
    assert digest(world(names[:-1], timeframe="5m", **autumn)[0], "symbol", "time") == GOLDEN["5m"]


GOLDEN = {"1d": ("1db6c22a9f4fc128", "80e4c60a435e8e95"), "5m": "00a52eb476eb12f9"}


def index_moves(symbol, bars):
    one = bars.filter(symbol=symbol)
    return one.select("time", day=pl.col("time").dt.date(), move=pl.col("close").log().diff()).drop_nulls()


def correlation(left, right):
    both = left.join(right, on="day")
    return np.corrcoef(both["move"], both["move_right"])[0, 1]


def test_the_technology_index_moves_with_its_sector_more_than_the_market_does():
    names = [s for s, sector in SOURCES.create("synthetic", n_symbols=60).sectors().items() if "Tech" in sector]
    bars, _ = world(["^GSPC", "^IXIC", *names], n_symbols=60, **YEARS)
    market, technology = index_moves("^GSPC", bars), index_moves("^IXIC", bars)
    assert 0.85 < correlation(market, technology) < 0.99
    stocks = [index_moves(s, bars).filter(pl.col("move").abs() < 0.2) for s in names]
    closer = [correlation(technology, s) > correlation(market, s) for s in stocks if len(s) > 1000]
    assert np.mean(closer) > 0.9


def test_indices_abroad_close_when_their_own_exchange_does():
    bars, _ = world(["^FTSE", "^AORD"], **YEARS)
    for symbol, exchange in (("^FTSE", "XLON"), ("^AORD", "XASX")):
        closes = calendar(exchange).bar_closes("1d", YEARS["start"], YEARS["end"])
        stamps = bars.filter(symbol=symbol)["time"].dt.replace_time_zone(None).to_numpy()
        assert np.array_equal(stamps.astype("datetime64[us]"), closes)


def test_what_london_closed_at_knows_new_yorks_past_and_not_its_future():
    bars, _ = world(["^GSPC", "^FTSE", "^AORD"], start=datetime(2000, 1, 1, tzinfo=UTC), end=YEARS["end"])
    new_york = bars.filter(symbol="^GSPC").with_columns(
        overnight=(pl.col("open") / pl.col("close").shift(1)).log(),
        day=pl.col("time").dt.date(),
        move=(pl.col("close") / pl.col("open")).log(),
    )
    london, sydney = index_moves("^FTSE", bars), index_moves("^AORD", bars)
    after_open = new_york.select("day", "move").drop_nulls()
    assert abs(correlation(london, after_open)) < 0.04  # 3,400 days: three standard errors are 0.05
    assert correlation(london, new_york.select("day", move="overnight").drop_nulls()) > 0.3
    same_day = index_moves("^GSPC", bars)
    assert abs(correlation(sydney, same_day)) < 0.04
    day_after = same_day.with_columns(day=pl.col("day").shift(-1)).drop_nulls()
    assert 0.4 < correlation(sydney, day_after) < 0.8


def test_the_context_of_smaller_bars_stands_at_each_sessions_close_alone():
    autumn = {"start": datetime(2012, 11, 1, tzinfo=UTC), "end": datetime(2012, 11, 30, tzinfo=UTC)}
    names = ["^VIX", "^FTSE", "^AORD"]
    small, daily = world(names, timeframe="5m", **autumn)[0], world(names, **autumn)[0]
    assert small.select("symbol", "time", "close").equals(daily.select("symbol", "time", "close"))
    assert small["high"].null_count() == len(small) and set(small["marks"]) == {"close-only"}


# --- weeks


def test_weeks_add_up_to_their_days_with_splits_restated_inside_of_them():
    bars, actions = world(n_symbols=60, **YEARS)
    weeks, week_actions = world(n_symbols=60, timeframe="1w", **YEARS)
    assert week_actions.equals(actions.filter(pl.col("time") >= week_actions["time"].min()))
    inside = 0
    for row in actions.filter(kind="split").iter_rows(named=True):
        days = week_of(bars.filter(symbol=row["symbol"]), row["time"])
        (week,) = weeks.filter(symbol=row["symbol"], time=days["time"][-1]).iter_rows(named=True)
        shares = pl.when(pl.col("time") < row["time"]).then(row["value"]).otherwise(1.0)
        prices = days.select((pl.col("open", "high", "low", "close") / shares), pl.col("volume") * shares)
        assert (week["open"], week["close"]) == (prices["open"][0], prices["close"][-1])
        assert (week["high"], week["low"]) == (prices["high"].max(), prices["low"].min())
        assert week["volume"] == prices["volume"].sum()
        inside += days["time"][0] < row["time"]
    assert inside > 3


def week_of(days, time):
    monday = time.date() - timedelta(days=time.weekday())
    return days.filter(pl.col("time").dt.date().is_between(monday, monday + timedelta(days=4)))


def test_a_week_is_there_once_it_has_closed_and_whole_however_late_it_is_asked_for():
    whole, _ = world(["SYN000", "^VIX", "^FTSE"], timeframe="1w")
    wednesday = datetime(2013, 3, 27, 22, tzinfo=UTC)  # before Good Friday
    part, _ = world(["SYN000", "^VIX", "^FTSE"], timeframe="1w", end=wednesday)
    assert part.equals(whole.filter(pl.col("time") <= wednesday))
    thursday = datetime(2013, 3, 28, 20, tzinfo=UTC)
    assert world(["SYN000"], timeframe="1w", end=thursday)[0]["time"][-1] == thursday
    assert world(["SYN000"], timeframe="1w", start=wednesday)[0].equals(
        whole.filter((pl.col("time") >= wednesday) & (pl.col("symbol") == "SYN000"))
    )
