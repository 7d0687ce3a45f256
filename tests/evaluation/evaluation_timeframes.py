"""A small market with an index and sectors, and a playbook that trades it on days and on weeks in one account."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from spine_kit import prices, system

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
SECTORS = ("Energy", "Energy", "Energy", "Financials", "Financials", "Utilities")
BARS = 640

PLAYBOOK = """\
[playbook]
format = 1
description = "Six invented stocks on days and on weeks"

[universe]
symbols = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF"]

[data]
source = "files"
context = { index = "IDX", nasdaq = "NDX" }

[features]
include = ["rsi_14", "price"]

[labels]
horizons_bars = [1, 4]

[models]
use = "ridge"
compare = []

[ensemble]
members = ["ridge", "naive_t"]

[regimes]
use = true
look_back_sessions = 80
refit_sessions = 250
starts = 1

[risk]
volatility_target = 0.12

[limits]
position_max = 0.25
sector_max = 0.4
net_max = 0.6
drawdown_max = 0.3

[coordinator]
capital = { days = 0.6, weeks = 0.4 }
rebalance_sessions = 5

[execution]
short_allowed = true
cash_interest_rate = 0.01

[evaluation]
min_train_bars = 250
refit_bars = 200
bootstrap_samples = 100

[timeframes.days.models]
use = "ensemble"
[timeframes.days.decision]
horizon_bars = 4
confidence_min = 0.5
confidence_exit = 0.45
every_bars = 2
take_profit = true
[timeframes.weeks.data]
timeframe = "1w"
[timeframes.weeks.decision]
horizon_bars = 4
confidence_min = 0.5
confidence_exit = 0.45
[timeframes.weeks.evaluation]
min_train_bars = 60
refit_bars = 60

[source.files.options]
path = "prices.csv"
sectors_path = "sectors.csv"
survivorship_biased = false
"""


def two_timeframes(folder: Path, *, bars: int = BARS, playbook: str = PLAYBOOK) -> Path:
    """Write the market and the playbook into a folder; return the playbook."""
    folder.mkdir(parents=True, exist_ok=True)
    sectors = folder / "sectors.csv"
    pl.DataFrame({"symbol": SYMBOLS, "sector": SECTORS}).write_csv(sectors)
    named = playbook.replace('"sectors.csv"', f'"{sectors}"')
    return system(folder, market(bars), named, name="two_timeframes")


def market(bars: int = BARS) -> pl.DataFrame:
    """Return daily bars of six stocks, and of two indices that are their means."""
    stocks = prices(bars, SYMBOLS, seed=5)
    close = stocks["close"].to_numpy().reshape(len(SYMBOLS), bars)
    moves = np.diff(np.log(close), axis=1, prepend=np.log(close[:, :1]))
    indices = [
        _index(stocks, name, own) for name, own in (("IDX", moves.mean(axis=0)), ("NDX", moves[:2].mean(axis=0)))
    ]
    return pl.concat([stocks, *indices])


def _index(stocks: pl.DataFrame, name: str, moves: np.ndarray) -> pl.DataFrame:
    level = (1000 * np.exp(np.cumsum(moves))).round(4)
    dates = stocks.filter(pl.col("symbol") == SYMBOLS[0])["date"]
    prices = dict.fromkeys(("open", "high", "low", "close"), level)
    return pl.DataFrame({"symbol": [name] * len(level), "date": dates, **prices, "volume": [1_000_000] * len(level)})
