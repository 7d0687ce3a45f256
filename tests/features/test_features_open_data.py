"""Real quotes, oddities included: features stay finite and within bounds, and know the size of tomorrow's move."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.features import compute, registry
from tradewind.market.panel import Panel

QUOTES = Path(__file__).parents[2] / "../shared/data/daily/sp500_ohlcv_2005_2016.parquet"
TICKERS = ("AAPL", "AIG", "BAC", "C", "GE", "IBM", "JNJ", "KO", "MSFT", "NVDA", "XOM")
LACKING = {"vix", "index"}

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not QUOTES.exists(), reason="the open daily panel is not beside the project"),
]


@pytest.fixture(scope="module")
def panel():
    frame = pl.read_parquet(QUOTES).filter(pl.col("ticker").is_in(TICKERS))
    days = frame["date"].unique().sort()
    rows = days.search_sorted(frame["date"]).to_numpy()
    symbols = tuple(sorted(frame["ticker"].unique()))
    columns = np.array([symbols.index(t) for t in frame["ticker"]])
    empty = {"split": 1.0, "dividend": 0.0}
    sources = {"split": "split_coefficient", "dividend": "dividend_amount"}
    fields = {}
    for name in ("open", "high", "low", "close", "volume", "split", "dividend"):
        fields[name] = np.full((len(days), len(symbols)), empty.get(name, np.nan))
        fields[name][rows, columns] = frame[sources.get(name, name)].cast(pl.Float64).to_numpy()
    mask = np.isfinite(fields["close"]) & (fields["close"] > 0.0)
    times = days.to_numpy().astype("datetime64[us]") + np.timedelta64(21, "h")
    return Panel(times, symbols, symbols, fields, mask, mask, sectors=("Energy",) * len(symbols))


@pytest.fixture(scope="module")
def table(panel):
    return compute(panel, registry.select(["all"]))


def test_nothing_is_infinite(table):
    assert not np.isinf(table.values).any()


@pytest.mark.parametrize("unit", ["0..1", "-1..1", "0..100"])
def test_bounded_units_keep_their_bounds(table, unit):
    low, high = (float(v) for v in unit.split(".."))
    slack = 1e-5 * (high - low)
    for spec in registry.specs().values():
        if spec.unit == unit and spec.expression is not None and not spec.inputs & LACKING:
            values = table.column(spec.name)
            known = values[np.isfinite(values)]
            assert known.size, spec.name
            assert known.min() >= low - slack, spec.name
            assert known.max() <= high + slack, spec.name


def test_most_features_are_there_after_their_look_back(table, panel):
    for name in table.names:
        spec = registry.get(name)
        if not spec.inputs & LACKING:
            there = np.isfinite(table.column(name)[spec.look_back_bars + 20 :])
            assert there[panel.mask[spec.look_back_bars + 20 :]].mean() > 0.95, name


def test_volatility_knows_the_size_of_tomorrows_move_and_direction_is_nearly_unknown(table, panel):
    close = table.column("log_close")
    tomorrow = np.roll(np.diff(close, axis=0, prepend=np.nan), -1, axis=0)[:-1]
    for name, least in (("ewma_volatility_21", 0.3), ("yang_zhang_21", 0.3), ("volatility_to_market", 0.03)):
        size = _correlation(table.column(name)[:-1], np.abs(tomorrow))
        assert size > least, name
    for name in registry.select(["model"]):
        assert abs(_correlation(table.column(name)[:-1], tomorrow)) < 0.1, f"{name} knows too much"


def _correlation(x, y):
    both = np.isfinite(x) & np.isfinite(y)
    return np.corrcoef(x[both], y[both])[0, 1] if both.sum() > 1000 and x[both].std() > 0 else 0.0
