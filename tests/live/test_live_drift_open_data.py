"""The monitor on real years: the autumn of 2008 is drift, ordinary years are quiet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.live.drift_monitor import DriftMonitor
from tradewind.live.drift_reference import drift_reference

FILE = Path(__file__).parents[2] / "../shared/data/daily/sp500_ohlcv_2005_2016.parquet"
NAMES = (
    "AAPL",
    "AMAT",
    "AMGN",
    "AXP",
    "C",
    "GE",
    "HAL",
    "HD",
    "HPQ",
    "IBM",
    "INTC",
    "JNJ",
    "JPM",
    "MSFT",
    "PFE",
    "XOM",
)
SPANS = (1, 5, 20, 60)
TRAIN, LIFE, WINDOW = 756, 63, 5


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return closes, features ``(T, N, F)`` made by hand, and their names."""
    if not FILE.is_file():
        pytest.skip(f"the open data are not beside the project: no {FILE}")
    frame = pl.read_parquet(FILE).filter(pl.col("ticker").is_in(NAMES)).sort("date")
    wide = {
        name: frame.pivot("ticker", index="date", values=name).sort("date").select(NAMES).cast(pl.Float64).to_numpy()
        for name in ("adjusted_close", "high", "low", "close", "volume")
    }
    times = frame["date"].unique().sort().to_numpy().astype("datetime64[us]")
    moves = np.diff(np.log(wide["adjusted_close"]), axis=0, prepend=np.nan)
    made = {"range": np.log(wide["high"] / wide["low"])}
    for span in SPANS:
        made[f"return_{span}"] = rolled(moves, span, np.sum)
        if span > 1:
            made[f"volatility_{span}"] = np.log(rolled(moves, span, np.std))
            made[f"volume_{span}"] = np.log(wide["volume"]) - rolled(np.log(wide["volume"]), span, np.mean)
    return times, np.stack(list(made.values()), axis=-1).astype(np.float32), tuple(made)


def rolled(values: np.ndarray, span: int, how: object) -> np.ndarray:
    parts = np.lib.stride_tricks.sliding_window_view(values, span, axis=0)
    return np.concatenate([np.full((span - 1, values.shape[1]), np.nan), how(parts, axis=-1)])  # type: ignore[operator]


def lived(market: tuple[np.ndarray, np.ndarray, tuple[str, ...]], first: str) -> list[str]:
    """Return the levels of a quarter whose monitor learnt from the three years before it."""
    times, features, names = market
    row = int(np.searchsorted(times, np.datetime64(first)))
    reference = drift_reference(features[row - TRAIN : row], names, WINDOW, LIFE)
    monitor = DriftMonitor(reference)
    state = monitor.start(features.shape[1], features[row - TRAIN : row])
    return [one.level for one in monitor.step(state, times[row : row + LIFE], features[row : row + LIFE])[1]]


@pytest.mark.data
def test_the_autumn_of_2008_is_drift(market: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    found = lived(market, "2008-09-15")
    assert found.count("drift") > 20 and found.index("drift") < 20


@pytest.mark.data
def test_ordinary_quarters_are_quiet(market: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    quarters = [f"{year}-{month:02}-01" for year in (2010, 2012, 2013, 2014) for month in (1, 4, 7)]
    assert sum("drift" in lived(market, first) for first in quarters) == 0
