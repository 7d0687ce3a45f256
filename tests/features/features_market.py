"""A seeded market for the tests of this folder: gaps, late starts, splits, dividends, context, sectors."""

from dataclasses import replace

import numpy as np

from tradewind.market.panel import Panel


def session_closes(bars):
    days = np.arange("2004-01-05", "2040-01-01", dtype="datetime64[D]")
    weekdays = days[((days.astype(int) + 3) % 7) < 5]
    return (weekdays[:bars] + np.timedelta64(21, "h")).astype("datetime64[us]")


def market(bars=300, symbols=8, *, seed=0, gaps=True, events=True, context=True):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(bars, 1)) * 0.008
    returns = common + rng.standard_t(5, size=(bars, symbols)) * 0.012
    close = 50.0 * np.exp(np.cumsum(returns, axis=0))
    opens = close * np.exp(-0.5 * returns + rng.normal(size=(bars, symbols)) * 0.004)
    high = np.maximum(opens, close) * np.exp(np.abs(rng.normal(size=(bars, symbols))) * 0.006)
    low = np.minimum(opens, close) * np.exp(-np.abs(rng.normal(size=(bars, symbols))) * 0.006)
    volume = np.round(1e6 * np.exp(rng.normal(size=(bars, symbols)) * 0.4))
    mask = np.ones((bars, symbols), dtype=bool)
    if gaps:
        start = rng.integers(0, max(bars // 4, 1), symbols)
        start[0] = 0
        mask = (rng.random((bars, symbols)) > 0.03) & (np.arange(bars)[:, None] >= start)
    fields = {"open": opens, "high": high, "low": low, "close": close, "volume": volume}
    fields = {name: np.where(mask, values, np.nan) for name, values in fields.items()}
    busy = rng.random((2, bars, symbols))
    fields["split"] = np.where(events & (busy[0] < 0.003), 2.0, 1.0)
    fields["dividend"] = np.where(events & (busy[1] < 0.01), 0.1, 0.0)
    series = {
        "vix": 20.0 * np.exp(0.1 * rng.normal(size=bars)),
        "index": 1000.0 * np.exp(np.cumsum(common[:, 0] + 0.003 * rng.normal(size=bars))),
    }
    names = tuple(f"S{i}" for i in range(symbols))
    return Panel(
        session_closes(bars),
        names,
        names,
        fields,
        mask,
        rng.random((bars, symbols)) > 0.1 if symbols > 5 else np.ones((bars, symbols), dtype=bool),
        series if context else {},
        tuple(("Energy", "Financials", "unknown")[i % 3] for i in range(symbols)) if symbols > 1 else (),
    )


def scaled(panel, price, volume):
    """Return the panel in another unit of price and of volume."""
    factor = dict.fromkeys(("open", "high", "low", "close", "dividend"), price) | {"volume": volume, "split": 1.0}
    return replace(panel, fields={name: values * factor[name] for name, values in panel.fields.items()})
