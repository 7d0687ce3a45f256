"""P-values of unit-root and residual-based cointegration tests, and how they are adjusted for their number."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

#: MacKinnon (1994, tables 3 and 4), with a constant, by the number of series: where each approximation holds (least,
#: turn, most), the polynomial of the small tail, and that of the large one, constant first.
_SURFACES = {
    1: ((-18.83, -1.61, 2.74), (2.1659, 1.4412, 0.038269), (1.7339, 0.93202, -0.12745, -0.010368)),
    2: ((-18.86, -2.62, 0.92), (2.92, 1.5012, 0.039796), (2.1945, 0.64695, -0.29198, -0.042377)),
}

Correction = Literal["benjamini_hochberg", "benjamini_yekutieli"]


def p_value(t: FloatArray, series: Literal[1, 2]) -> FloatArray:
    """Return the probability of a Dickey–Fuller t statistic this low under a unit root, elementwise.

    Parameters
    ----------
    t
        Statistics of regressions with a constant; NaN stays NaN.
    series
        1: a series that was given (a spread whose hedge ratio was fixed before); 2: residuals of a regression of
        one series on another over the same bars (Engle & Granger 1987), whose statistic is lower by construction.

    Notes
    -----
    Response surfaces of MacKinnon (1994), as in Stata and statsmodels.
    """
    from scipy.special import ndtr

    (least, turn, most), small, large = _SURFACES[series]
    held = np.clip(t, least, most)
    found = np.where(held <= turn, ndtr(_polynomial(small, held)), ndtr(_polynomial(large, held)))
    found = np.where(t > most, 1.0, np.where(t < least, 0.0, found))
    return np.asarray(np.where(np.isnan(t), np.nan, found))


def _polynomial(coefficients: tuple[float, ...], x: FloatArray) -> FloatArray:
    return np.asarray(np.polynomial.polynomial.polyval(x, coefficients))


def adjusted(p: FloatArray, correction: Correction) -> FloatArray:
    """Return q-values: rejecting all with ``q <= a`` keeps the expected share of false ones at or below ``a``.

    Parameters
    ----------
    p
        ``(m,)`` p-values of all tests made; NaN is no test and stays NaN.
    correction
        ``benjamini_hochberg`` (1995) holds for independent and positively dependent tests (Benjamini & Yekutieli
        2001, theorem 1.2), ``benjamini_yekutieli`` for any dependence, its q-values being ``1 + 1/2 + … + 1/m`` times
        as large.

    Raises
    ------
    InputError
        A p-value outside of [0, 1], or an unknown correction.
    """
    if correction not in ("benjamini_hochberg", "benjamini_yekutieli"):
        raise InputError(f"unknown correction {correction!r}", hint="benjamini_hochberg or benjamini_yekutieli")
    if ((p < 0) | (p > 1)).any():
        raise InputError(f"p-values lie in [0, 1], these in [{np.nanmin(p)}, {np.nanmax(p)}]")
    found = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    if not tested.size:
        return found
    order = tested[np.argsort(p[tested], kind="stable")]
    rank = np.arange(1, tested.size + 1)
    price = float(np.sum(1.0 / rank)) if correction == "benjamini_yekutieli" else 1.0
    scaled = p[order] * (tested.size * price) / rank
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
