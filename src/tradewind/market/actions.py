"""Corporate actions: the forward adjustment factor, and what can be learnt from a back-adjusted close."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def forward_factor(close: FloatArray, split: FloatArray, dividend: FloatArray, mask: BoolArray) -> FloatArray:
    """Return the factor that turns raw prices into a total-return series without touching the past.

    ``factor[t] = factor[t-1] * split[t] / (1 - dividend[t] * split[t] / close_before)``: the dividend is
    reinvested at the last close before the ex-date less the dividend, which is known before the open of
    the ex-date. Row ``t`` depends on rows up to ``t`` only: a prefix of the data has a prefix of the factor.

    Parameters
    ----------
    close
        Raw closes ``(T, N)`` in currency; read only where ``mask`` is True.
    split
        Shares after one share before, effective before the open of the bar; 1 where none. ``(T, N)``.
    dividend
        Cash per share held after that bar's split, ex before the open of the bar; 0 where none. ``(T, N)``.
    mask
        True where the bar is fit for use. Events on other rows still count.

    Returns
    -------
    ``(T, N)`` float64, 1 up to and including each column's first valid bar.

    Raises
    ------
    DataError
        A split that is not positive, or a dividend that is negative or not below the previous close.
    """
    factor = np.ones(close.shape)
    row, column = _accumulate(close, split, dividend, mask, factor)
    if row >= 0:
        raise DataError(
            f"impossible corporate action at row {row}, column {column}: split {split[row, column]}, "
            f"dividend {dividend[row, column]}",
            hint="a split must be positive and a dividend must lie between 0 and the previous close; "
            "run `tradewind data check`",
        )
    return factor


@njit(cache=True)
def _accumulate(
    close: FloatArray, split: FloatArray, dividend: FloatArray, mask: BoolArray, factor: FloatArray
) -> tuple[int, int]:
    """Fill ``factor``; return the place of the first impossible event, or (-1, -1)."""
    bars, columns = close.shape
    last = np.full(columns, np.nan)
    for t in range(bars):
        for n in range(columns):
            known = not np.isnan(last[n])
            if t > 0:
                factor[t, n] = factor[t - 1, n]
            if known and (split[t, n] != 1.0 or dividend[t, n] != 0.0):
                before = last[n] / split[t, n] if split[t, n] > 0.0 else np.nan
                if not (0.0 <= dividend[t, n] < before):
                    return t, n
                factor[t, n] *= split[t, n] / (1.0 - dividend[t, n] / before)
                last[n] = before - dividend[t, n]
            if mask[t, n]:
                last[n] = close[t, n]
    return -1, -1


_LARGE = 0.2  # jumps of the log factor beyond this must show in the price

#: Ratios that companies split by (and their inverses); stock dividends such as 21:20 included.
_SPLITS = np.array(
    [
        *(float(n) for n in range(2, 31)),
        *(1.0 / n for n in (*range(2, 31), 35, 40, 50, 100)),
        *(35.0, 40.0, 50.0, 100.0),
        *(p / q for p, q in ((3, 2), (4, 3), (5, 4), (6, 5), (5, 2), (5, 3), (7, 2), (7, 4), (8, 5), (9, 4))),
        *(p / q for p, q in ((11, 10), (21, 20), (2, 3), (3, 4), (4, 5), (103, 100), (51, 50))),
    ]
)


class Reconstruction(NamedTuple):
    """What a back-adjusted close tells about one instrument's corporate actions.

    Attributes
    ----------
    split
        Shares after one share before, 1 where none. ``(T,)``.
    dividend
        Cash per share held after that split, 0 where none. ``(T,)``.
    ignored
        Jumps of the adjusted close that no event explains: they are left out, and should be reported.
    """

    split: FloatArray
    dividend: FloatArray
    ignored: int


def reconstruct(close: FloatArray, adjusted: FloatArray, split: FloatArray | None = None) -> Reconstruction:
    """Return the splits and dividends that explain a back-adjusted close, for one instrument.

    The factor ``adjusted / close`` jumps on ex-dates only. A jump to within rounding of a ratio that
    companies use is a split (together with a dividend when up to 10 % is left over); any other rise is a
    dividend. Jumps of more than 20 %, and all falls (reverse splits), count only where the raw price moved
    against them; what is left is ignored, as it must be in tables glued together from several days' snapshots,
    whose adjusted close falls back from one snapshot to the next.

    Accuracy: split ratios are exact, and so are cash amounts as far as the decimals of ``adjusted`` reach (on the
    sample's quotes to 0.1 %), where the vendor reinvests by one of the two usual conventions. Dividends whose factor
    jump drowns in the rounding of ``adjusted`` are lost.

    Parameters
    ----------
    close, adjusted
        Raw and back-adjusted closes ``(T,)`` of the usable bars, oldest first.
    split
        Splits where the source states them ``(T,)``; only dividends are then looked for.
    """
    jump, raw = np.ones(len(close)), np.ones(len(close))
    raw[1:] = close[1:] / close[:-1]
    jump[1:] = adjusted[1:] / adjusted[:-1] / raw[1:]
    noise = _rounding_noise(jump, close, adjusted)
    confirmed = np.abs(np.log(raw * jump)) < np.abs(np.log(raw))
    small = np.abs(np.log(jump)) <= _LARGE
    credible = np.where(small, jump > 1, confirmed) | (np.abs(jump - 1) <= noise)
    ignored = int(np.sum(~credible))
    jump = np.where(credible, jump, 1.0)
    splits = _split_part(jump, noise) if split is None else np.array(split, dtype=np.float64)
    left = jump / splits
    real = np.abs(left - 1) > noise
    if split is None:
        splits = np.where(real & (left < 1), splits * left, splits)
    paid = np.where(real & (left > 1), _amounts(left, close, splits), 0.0)
    return Reconstruction(splits, paid, ignored)


def _amounts(left: FloatArray, close: FloatArray, splits: FloatArray) -> FloatArray:
    """Return the cash behind each dividend's factor, by the convention that gives the rounder amounts.

    Vendors reinvest at the close before (Yahoo: ``1 / (1 - cash / before)``) or at the close of the ex-date
    (``1 + cash / close``); companies declare multiples of half a cent.
    """
    before = np.concatenate([close[:1], close[:-1]]) / splits
    candidates = (1 - 1 / left) * before, (left - 1) * close
    eventful = left > 1 + 1e-5
    odd = [float(np.mean(np.abs(200 * c - np.round(200 * c))[eventful])) if eventful.any() else 0.0 for c in candidates]
    return np.round(candidates[1] if odd[1] < 0.1 and odd[1] < odd[0] else candidates[0], 6)


def _rounding_noise(jump: FloatArray, close: FloatArray, adjusted: FloatArray) -> FloatArray:
    """Return how far each factor may stray from 1 by rounding alone, from the calmer half of the bars."""
    scale = 1 / np.minimum(adjusted, close)
    worst = np.maximum(scale, np.concatenate([scale[:1], scale[:-1]]))
    quantum = float(np.quantile(np.abs(jump - 1) / worst, 0.5, method="lower")) if len(jump) else 0.0
    return np.asarray(8 * quantum * worst + 2e-6)


def _split_part(jump: FloatArray, noise: FloatArray) -> FloatArray:
    """Return the split hidden in each factor jump, 1 where there is none."""
    left = jump[:, None] / _SPLITS[None, :]
    exact = np.abs(left - 1) <= np.minimum(noise, 5e-4)[:, None]
    large = (_SPLITS >= 1.25) | (_SPLITS <= 0.8)
    with_dividend = large & (left > 1) & (left < 1.1) & (np.abs(np.log(jump)) > _LARGE)[:, None]
    distance = np.where(exact, np.abs(left - 1), np.where(with_dividend, left, np.inf))
    best = np.argmin(distance, axis=1)
    found = np.isfinite(distance[np.arange(len(jump)), best]) & (np.abs(jump - 1) > noise)
    return np.where(found, _SPLITS[best], 1.0)


def later_splits(split: FloatArray) -> FloatArray:
    """Return the product of all splits after each row: what a split-adjusted price is to be multiplied by.

    ``split`` is ``(T,)`` or ``(T, N)``, 1 where none. Raw price = split-adjusted price × this; raw volume and
    raw share counts are divided by it; a dividend in today's shares is multiplied by it.
    """
    through = np.flip(np.cumprod(np.flip(split, axis=0), axis=0), axis=0)
    return np.asarray(through / split)


def usual_ratios(split: FloatArray) -> FloatArray:
    """Return splits with those within 1e-5 of a ratio that companies use set to that ratio.

    Single-precision tables write 7:1 as 7.000007 and 3:2 as 1.499999.
    """
    out = np.array(split, dtype=np.float64)
    stated = out[out != 1]
    nearest = _SPLITS[np.argmin(np.abs(stated[:, None] / _SPLITS - 1), axis=1)]
    out[out != 1] = np.where(np.abs(stated / nearest - 1) < 1e-5, nearest, stated)
    return out
