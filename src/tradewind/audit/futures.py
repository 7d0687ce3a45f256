"""Other futures: the same past followed by nothing, by something else, or by itself out of order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
Attack = Callable[[Panel, int, np.random.Generator], Panel]

Scalar = TypeVar("Scalar", bound=np.generic)
_SPLITS = (0.1, 0.5, 1.5, 2.0, 4.0)


def truncate(panel: Panel, row: int, rng: np.random.Generator | None = None) -> Panel:
    """Return the panel as it was known at the close of bar ``row``: nothing follows."""
    _check(panel, row)
    return panel.head(row + 1)


def perturb(panel: Panel, row: int, rng: np.random.Generator) -> Panel:
    """Return the panel with everything after bar ``row`` replaced by another, valid market.

    Prices wander off with three times the usual volatility (high and low around open and close), volumes are
    drawn anew, and so are the mask, the membership, splits, dividends and every market-wide series; a third of
    the symbols are delisted. Bars up to and including ``row`` keep their values, bit for bit.
    """
    _check(panel, row)
    later = slice(row + 1, None)
    shape = panel.mask[later].shape
    listed = _listed(shape, rng)
    mask = listed & (rng.random(shape) > 0.1)
    bars = _other_bars(panel, row, shape, rng)
    bars["split"] = np.where(rng.random(shape) < 0.03, rng.choice(_SPLITS, shape), 1.0)
    bars["dividend"] = np.where(rng.random(shape) < 0.05, rng.uniform(0.001, 0.03, shape) * bars["low"], 0.0)
    fields = {name: _joined(old, row, _masked(name, bars, mask)) for name, old in panel.fields.items()}
    context = {name: _joined(old, row, _other_series(old, row, rng)) for name, old in panel.context.items()}
    member = _joined(panel.member, row, listed & (rng.random(shape) > 0.3))
    other = replace(panel, fields=fields, context=context, member=member, mask=_joined(panel.mask, row, mask))
    return _with_possible_events(other, row)


def shuffle(panel: Panel, row: int, rng: np.random.Generator) -> Panel:
    """Return the panel with the bars after ``row`` in another order: same bars, same times, other sequence.

    Splits and dividends that the new order makes impossible (no bar, more than the price) are dropped or capped.
    """
    _check(panel, row)
    order = np.arange(len(panel))
    order[row + 1 :] = rng.permutation(order[row + 1 :])
    other = replace(
        panel,
        fields={name: values[order] for name, values in panel.fields.items()},
        mask=panel.mask[order],
        member=panel.member[order],
        context={name: values[order] for name, values in panel.context.items()},
    )
    return _with_possible_events(other, row)


ATTACKS: dict[str, Attack] = {"truncate": truncate, "perturb": perturb, "shuffle": shuffle}


def _check(panel: Panel, row: int) -> None:
    if not 0 <= row < len(panel):
        raise InputError(f"row {row} lies outside a panel of {len(panel)} bars")


def _joined(old: NDArray[Scalar], row: int, new: NDArray[Scalar]) -> NDArray[Scalar]:
    return np.concatenate([old[: row + 1], new])


def _with_possible_events(panel: Panel, row: int) -> Panel:
    """Return the panel with events after ``row`` only on bars, and dividends of a tenth of the price at most."""
    split, dividend = panel.split.copy(), panel.dividend.copy()
    last = _last_known(panel.close, row, np.nan)
    for t in range(row + 1, len(panel)):
        bar = panel.mask[t]
        split[t] = np.where(bar, split[t], 1.0)
        most = np.where(np.isfinite(last), 0.1 * last / split[t], 0.0)
        dividend[t] = np.where(bar, np.minimum(dividend[t], most), 0.0)
        last = np.where(bar, panel.close[t], last)
    return replace(panel, fields={**panel.fields, "split": split, "dividend": dividend})


def _other_bars(panel: Panel, row: int, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, FloatArray]:
    """Return open, high, low, close and volume of a wilder market that starts at the last known close."""
    close = _last_known(panel.close, row, 100.0) * np.exp(np.cumsum(rng.normal(0.0, 0.06, shape), axis=0))
    close = np.clip(close, 0.01, 1e9)
    first = close * np.exp(rng.normal(0.0, 0.02, shape))
    high = np.maximum(first, close) * np.exp(np.abs(rng.normal(0.0, 0.01, shape)))
    low = np.minimum(first, close) * np.exp(-np.abs(rng.normal(0.0, 0.01, shape)))
    volume = np.round(np.maximum(_last_known(panel.volume, row, 1e6), 1.0) * np.exp(rng.normal(0.0, 1.0, shape)))
    return {"open": first, "high": high, "low": low, "close": close, "volume": volume}


def _listed(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return False from the bar on at which a symbol is delisted: a third of them, at least one."""
    bars, symbols = shape
    leavers = rng.permutation(symbols)[: max(1, symbols // 3)]
    last = np.full(symbols, bars)
    last[leavers] = rng.integers(0, max(1, bars), leavers.size)
    return np.arange(bars)[:, None] < last


def _masked(name: str, bars: dict[str, FloatArray], mask: NDArray[np.bool_]) -> FloatArray:
    return bars[name] if name in ("split", "dividend") else np.where(mask, bars[name], np.nan)


def _last_known(values: FloatArray, row: int, otherwise: float) -> FloatArray:
    """Return each column's last finite value up to ``row``, ``(N,)``."""
    seen = values[: row + 1]
    finite = np.isfinite(seen)
    last = seen.shape[0] - 1 - np.argmax(finite[::-1], axis=0)
    return np.where(finite.any(axis=0), seen[last, np.arange(seen.shape[1])], otherwise)


def _other_series(old: FloatArray, row: int, rng: np.random.Generator) -> FloatArray:
    """Return a wandering continuation of a market-wide series, a tenth of it missing."""
    seen = old[: row + 1][np.isfinite(old[: row + 1])]
    start, spread = (float(seen[-1]), float(seen.std())) if seen.size else (1.0, 1.0)
    count = len(old) - row - 1
    path = start + np.cumsum(rng.normal(0.0, 0.2 * spread + 1e-3 * abs(start) + 1e-6, count))
    positive = bool(seen.size and (seen > 0.0).all())
    path = np.maximum(path, 0.01 * start) if positive else path
    return np.where(rng.random(count) < 0.1, np.nan, path)
