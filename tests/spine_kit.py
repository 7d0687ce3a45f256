"""Small parts that the tests of the spine share: a seeded market in a CSV file, and a playbook that is quick to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtri

from tradewind.decisions.settings import DecisionSection
from tradewind.decisions.signals import Belief, asks_members
from tradewind.evaluation.backtest import TrackRecord
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace
from tradewind.features.table import Features
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.playbook import load

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
BARS = 420

PLAYBOOK = """\
[playbook]
format = 1
description = "Four invented stocks, forecast and traded in a second"

[data]
source = "files"
context = {}

[features]
include = ["rsi_14", "price"]

[labels]
horizons_bars = [1, 5]

[models]
use = "ridge"
compare = []

[decision]
horizon_bars = 5
confidence_min = 0.5
confidence_exit = 0.45
every_bars = 2

[limits]
position_max = 0.2

[evaluation]
min_train_bars = 200
refit_bars = 100
bootstrap_samples = 100

[targets]
sharpe_min = 0.5
max_drawdown_max = 0.5
beats_index = true

[source.files.options]
path = "prices.csv"
survivorship_biased = false
"""


LEARNABLE = PLAYBOOK.replace('include = ["rsi_14", "price"]', 'include = ["core"]') + "[challenge]\nhorizon_bars = 1\n"
"""Of a market where a challenger can win: see :func:`learnable`."""


@dataclass(frozen=True)
class QuickRun:
    """A finished back-test with its files. Tests read it; whoever changes something makes a home of their own."""

    playbook: Path
    home: Path
    workspace: Workspace
    record: TrackRecord
    folder: Path


def sessions(count: int, first: str = "2014-01-02") -> list[str]:
    """Return trading days of New York."""
    days = np.arange(np.datetime64(first), np.datetime64(first) + 2 * count + 10)
    open_days = days[~np.isnat(calendar("XNYS").close_of(days))]
    return [str(day) for day in open_days[:count]]


def prices(bars: int = BARS, symbols: tuple[str, ...] = SYMBOLS, seed: int = 3) -> pl.DataFrame:
    """Return daily bars with a common factor, clustered volatility and a drift, the same for the same seed."""
    rng = np.random.default_rng(seed)
    market, parts = rng.standard_t(5, bars) * 0.006, []
    for number, symbol in enumerate(symbols):
        sigma = 0.008 * np.exp(np.sin(np.arange(bars) / 40 + number) / 2)
        move = 0.0008 + market + sigma * rng.standard_normal(bars)
        close = 20 * (number + 1) * np.exp(np.cumsum(move))
        opened = close * np.exp(-0.5 * move)
        parts.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * bars,
                    "date": sessions(bars),
                    "open": opened.round(4),
                    "high": (np.maximum(opened, close) * 1.004).round(4),
                    "low": (np.minimum(opened, close) * 0.996).round(4),
                    "close": close.round(4),
                    "volume": rng.integers(2_000_000, 9_000_000, bars),
                }
            )
        )
    return pl.concat(parts)


def learnable(bars: int = 520, seed: int = 3) -> pl.DataFrame:
    """Return bars whose next return can be forecast: three fifths of the last one come again."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, symbol in enumerate(SYMBOLS):
        noise, moves = 0.01 * rng.standard_normal(bars), np.zeros(bars)
        for t in range(1, bars):
            moves[t] = 0.6 * moves[t - 1] + noise[t]
        close = 20 * (number + 1) * np.exp(np.cumsum(moves))
        opened = close * np.exp(-0.5 * moves)
        columns = {
            "open": opened,
            "high": np.maximum(opened, close) * 1.002,
            "low": np.minimum(opened, close) * 0.998,
            "close": close,
        }
        rounded = {name: values.round(4) for name, values in columns.items()}
        volume = rng.integers(2_000_000, 9_000_000, bars)
        parts.append(pl.DataFrame({"symbol": [symbol] * bars, "date": sessions(bars), **rounded, "volume": volume}))
    return pl.concat(parts)


def system(folder: Path, table: pl.DataFrame | None = None, playbook: str = PLAYBOOK, name: str = "quick") -> Path:
    """Write a market and a playbook that reads it into a folder; return the playbook."""
    folder.mkdir(parents=True, exist_ok=True)
    csv = folder / "prices.csv"
    (prices() if table is None else table).write_csv(csv)
    path = folder / f"{name}.toml"
    path.write_text(playbook.replace('"prices.csv"', f'"{csv}"'))
    return path


def workspace(playbook: Path, home: Path, **overrides: object) -> Workspace:
    """Return the workspace of a playbook; overrides are written ``section__key``."""
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    return Workspace(Plan.of(load(playbook, overrides=flags)), home)


def instant(text: str) -> datetime:
    """Return an instant from its ISO form, ``Z`` included."""
    return datetime.fromisoformat(text)


def belief(
    medians: dict[int, object],
    sigmas: dict[int, object] | float = 0.02,
    *,
    close: object = 100.0,
    columns: dict[str, object] | None = None,
    cost: float = 0.001,
    sectors: tuple[str, ...] = (),
    **settings: object,
) -> Belief:
    """Return a belief made by hand: normal forecasts by horizon, ``(T, N)`` or anything that broadcasts to it.

    The normal-equivalent sigma of the forecast is ``sigmas`` exactly; a NaN median is a missing forecast. A rule that
    asks an ensemble's members is given two that both think so.
    """
    chosen = {"horizon_bars": max(medians), **settings}
    middle = {h: np.atleast_2d(np.asarray(m, dtype=float)) for h, m in medians.items()}
    shape = np.broadcast_shapes(*(m.shape for m in middle.values()), np.atleast_2d(np.asarray(close)).shape)
    spread = sigmas if isinstance(sigmas, dict) else dict.fromkeys(medians, sigmas)
    steps = ndtri(np.asarray(LEVELS))
    quantiles = [
        np.broadcast_to(middle[h], shape)[..., None] + np.broadcast_to(np.asarray(spread[h]), shape)[..., None] * steps
        for h in medians
    ]
    market = panel(np.broadcast_to(np.asarray(close, dtype=float), shape), sectors)
    score = np.stack([np.broadcast_to(m, shape) for m in middle.values()], axis=-1)
    forecast = Forecast(
        market.times, market.symbols, tuple(medians), LEVELS, np.stack(quantiles, axis=2), score, model="by hand"
    )
    values = [np.broadcast_to(np.asarray(v, dtype=np.float32), shape) for v in (columns or {}).values()]
    table = np.stack(values, axis=-1) if values else np.zeros((*shape, 0), dtype=np.float32)
    features = Features(market.times, market.symbols, tuple(columns or {}), table)
    section = DecisionSection.model_validate(chosen)
    members = {"first": forecast, "second": forecast} if asks_members(section.rule) else {}
    return Belief(market, features, forecast, cost, section, members=members)


def panel(close: np.ndarray, sectors: tuple[str, ...] = ()) -> Panel:
    """Return flat bars at these closes; a bar without a close is missing."""
    mask = np.isfinite(close)
    names = tuple(f"S{i}" for i in range(close.shape[1]))
    fields = {name: close.copy() for name in ("open", "high", "low", "close")}
    fields |= {"volume": np.where(mask, 1e6, np.nan), "split": np.ones(close.shape), "dividend": np.zeros(close.shape)}
    times = np.datetime64("2015-01-05T21:00:00", "us") + np.arange(len(close)) * np.timedelta64(1, "D")
    return Panel(times, names, names, fields, mask, np.ones(close.shape, dtype=bool), sectors=sectors)


def retold(record: TrackRecord, **changes: object) -> TrackRecord:
    """Return a record whose first system has another decision, other forecasts or another coverage."""
    first, *others = record.walked.sleeves
    return replace(record, walked=replace(record.walked, sleeves=(replace(first, **changes), *others)))
