"""Whether value at risk was exceeded as often as it promised, and not in clusters: Kupiec, Christoffersen, McNeil–Frey.

Every test of exceptions states two p-values. ``p_value`` is exact: the probability, under the null, of a likelihood
ratio at least as large as the one seen, summed over all samples that could have come. ``p_asymptotic`` is the
chi-square of the papers. With ten exceptions and more they agree; with two or three only the exact one can be trusted
(at 99 % a year has 2.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_TIE = 1e-9
_NEGLIGIBLE = -42.0
"""Log probability (6e-19) below which a number of exceptions is not summed over."""


@dataclass(frozen=True, slots=True)
class ExceptionTest:
    """A likelihood-ratio test.

    Attributes
    ----------
    statistic
        The likelihood ratio; NaN where it is not defined, and ``reason`` says why.
    p_value, p_asymptotic
        Exact and by the chi-square distribution.
    exceptions, sessions
        What was counted.
    expected
        Exceptions promised.
    """

    statistic: float
    p_value: float
    p_asymptotic: float
    exceptions: int
    sessions: int
    expected: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShortfallTest:
    """Whether losses beyond value at risk are on average what expected shortfall said.

    Attributes
    ----------
    mean_excess
        Mean of ``(loss - cvar) / (cvar)`` over exceptions; positive: shortfall was too small.
    p_value
        One-sided, by bootstrap (McNeil & Frey 2000, section 4.2); NaN where ``reason`` says why.
    acerbi_szekely
        ``sum(loss / cvar over exceptions) / (sessions (1 - level)) - 1`` (Acerbi & Szekely 2014, test 2 with the sign
        turned): 0 as promised, positive for too little risk; -0.7 and below, or 0.7 and above, are bad on a year.
    """

    mean_excess: float
    p_value: float
    acerbi_szekely: float
    exceptions: int
    reason: str = ""


def hits(losses: ArrayLike, var: ArrayLike) -> BoolArray:
    """Return which of the sessions that count exceeded value at risk, in order.

    Parameters
    ----------
    losses
        ``(T,)`` realised losses as fractions of equity.
    var
        ``(T,)`` value at risk *of the same session*, forecast before it: shift a path of forecasts by one.

    A session counts where both are known and something was held (value at risk above 0); the others are left out and
    their neighbours become neighbours.
    """
    loss, said = np.asarray(losses, dtype=np.float64), np.asarray(var, dtype=np.float64)
    if loss.shape != said.shape or loss.ndim != 1:
        raise InputError(f"losses {loss.shape} and value at risk {said.shape} must be series of one length")
    counted = np.isfinite(loss) & np.isfinite(said) & (said > 0)
    return np.asarray(loss[counted] > said[counted])


def kupiec(exceeded: ArrayLike, level: float) -> ExceptionTest:
    """Test the number of exceptions (Kupiec 1995: proportion of failures).

    Parameters
    ----------
    exceeded
        ``(n,)`` True where value at risk was exceeded; see :func:`hits`.
    level
        Confidence of value at risk, in (0.5, 1).
    """
    hit = _series(exceeded, level)
    n, k = len(hit), int(hit.sum())
    if not n:
        return _nothing(n, k, level)
    ratios = _unconditional(np.arange(n + 1), n, 1.0 - level)
    chance = np.exp(_log_binomial(n, np.arange(n + 1), 1.0 - level))
    exact = float(chance[ratios >= ratios[k] - _TIE].sum())
    return _result(float(ratios[k]), exact, 1, n, k, level)


def independence(exceeded: ArrayLike, level: float) -> ExceptionTest:
    """Test whether an exception makes another one the session after it likelier (Christoffersen 1998, eq. 7).

    The exact p-value is conditional on the number of exceptions: every order of them is then equally likely.
    """
    hit = _series(exceeded, level)
    n, k = len(hit), int(hit.sum())
    if k == 0 or k == n:
        return _nothing(n, k, level, "there are no exceptions" if not k else "every session is an exception")
    seen = _clustering(*(np.array(count) for count in _transitions(hit)))
    ratios, log_ways = _orders(n, k)
    chance = np.exp(log_ways - _log_choose(n, k))
    return _result(float(seen), float(chance[ratios >= seen - _TIE].sum()), 1, n, k, level)


def conditional_coverage(exceeded: ArrayLike, level: float) -> ExceptionTest:
    """Test number and independence of exceptions at once (Christoffersen 1998, eq. 9): the sum of both ratios."""
    hit = _series(exceeded, level)
    n, k = len(hit), int(hit.sum())
    if not n:
        return _nothing(n, k, level)
    p = 1.0 - level
    clustering = 0.0 if k in (0, n) else float(_clustering(*(np.array(count) for count in _transitions(hit))))
    seen = float(_unconditional(np.array(k), n, p)) + clustering
    counts = np.arange(n + 1)
    log_chance = _log_binomial(n, counts, p)
    exact = 0.0
    for count in counts[log_chance > _NEGLIGIBLE].tolist():
        within, log_ways = _orders(n, count)
        total = float(_unconditional(np.array(count), n, p)) + within
        chance = np.exp(log_ways - _log_choose(n, count) + log_chance[count])
        exact += float(chance[total >= seen - _TIE].sum())
    return _result(seen, exact, 2, n, k, level)


def shortfall(
    losses: ArrayLike, var: ArrayLike, cvar: ArrayLike, level: float, *, samples: int = 5000, seed: int = 0
) -> ShortfallTest:
    """Test expected shortfall by the losses beyond value at risk; sessions count as in :func:`hits`."""
    loss, said, beyond = (np.asarray(v, dtype=np.float64) for v in (losses, var, cvar))
    counted = np.isfinite(loss) & np.isfinite(said) & np.isfinite(beyond) & (said > 0)
    loss, said, beyond = loss[counted], said[counted], beyond[counted]
    hit = loss > said
    k = int(hit.sum())
    if not loss.size:
        return ShortfallTest(math.nan, math.nan, math.nan, 0, "no session has a loss and a value at risk")
    second = float((loss[hit] / beyond[hit]).sum() / (loss.size * (1.0 - level)) - 1.0)
    excess = (loss[hit] - beyond[hit]) / beyond[hit]
    if k < 5 or np.ptp(excess) == 0:
        mean = float(excess.mean()) if k else math.nan
        return ShortfallTest(mean, math.nan, second, k, f"{k} exceptions: 5 that differ are needed")
    drawn = np.random.default_rng(seed).integers(0, k, (samples, k))
    seen = _t_statistic(excess[None, :])[0]
    null = _t_statistic((excess - excess.mean())[drawn])
    p_value = (1.0 + float(np.sum(null >= seen - _TIE))) / (samples + 1.0)
    return ShortfallTest(float(excess.mean()), p_value, second, k)


def _t_statistic(rows: FloatArray) -> FloatArray:
    spread = rows.std(axis=1, ddof=1)
    return np.asarray(rows.mean(axis=1) / np.maximum(spread, 1e-12) * math.sqrt(rows.shape[1]))


def _series(exceeded: ArrayLike, level: float) -> BoolArray:
    hit = np.asarray(exceeded)
    if hit.dtype != np.bool_ or hit.ndim != 1:
        raise InputError(
            f"exceptions are {hit.dtype} {hit.shape}", hint="pass a series of True and False, as by hits()"
        )
    if not 0.5 < level < 1:
        raise InputError(f"the level of value at risk is {level}", hint="it must lie in (0.5, 1), as in 0.95")
    return hit


def _result(statistic: float, exact: float, degrees: int, n: int, k: int, level: float) -> ExceptionTest:
    from scipy import special

    asymptotic = float(special.chdtrc(degrees, max(statistic, 0.0)))
    return ExceptionTest(statistic, min(exact, 1.0), asymptotic, k, n, n * (1.0 - level))


def _nothing(n: int, k: int, level: float, reason: str = "no session has a loss and a value at risk") -> ExceptionTest:
    return ExceptionTest(math.nan, math.nan, math.nan, k, n, n * (1.0 - level), reason)


def _unconditional(k: NDArray[np.int64], n: int, p: float) -> FloatArray:
    """Return the likelihood ratio of ``k`` of ``n`` exceptions against probability ``p``."""
    free = _x_log(k, k / n) + _x_log(n - k, (n - k) / n)
    return np.asarray(2.0 * (free - k * math.log(p) - (n - k) * math.log1p(-p)))


def _clustering(n00: FloatArray, n01: FloatArray, n10: FloatArray, n11: FloatArray) -> FloatArray:
    """Return the likelihood ratio of a first-order Markov chain against independence, from its transitions."""
    quiet, loud, total = n00 + n01, n10 + n11, n00 + n01 + n10 + n11
    chain = _share(n00, quiet) + _share(n01, quiet) + _share(n10, loud) + _share(n11, loud)
    return np.asarray(2.0 * (chain - _share(n00 + n10, total) - _share(n01 + n11, total)))


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return _x_log(part, part / np.maximum(whole, 1))


def _transitions(hit: BoolArray) -> tuple[int, int, int, int]:
    before, after = hit[:-1], hit[1:]
    return tuple(int(np.sum((before == a) & (after == b))) for a in (False, True) for b in (False, True))  # type: ignore[return-value]


def _orders(n: int, k: int) -> tuple[FloatArray, FloatArray]:
    """Return the clustering ratio, and the log number, of every kind of order of ``k`` exceptions in ``n`` sessions.

    ``r`` runs of exceptions and ``z`` runs of quiet sessions can be laid in ``C(k-1, r-1) C(n-k-1, z-1)`` ways, which
    alternate; so ``z`` is ``r - 1``, ``r`` (twice: either may begin) or ``r + 1``, and ends fix the transitions.
    """
    if k == 0 or k == n:
        return np.zeros(1), np.zeros(1)
    m = n - k
    ratios, ways = [], []
    runs = np.arange(1, k + 1)
    for quiet, begins, ends in ((runs - 1, 1, 1), (runs, 1, 0), (runs, 0, 1), (runs + 1, 0, 0)):
        there = (quiet >= 1) & (quiet <= m)
        r, z = runs[there], quiet[there]
        ratios.append(_clustering(*(np.asarray(c, float) for c in (m - z, r - begins, r - ends, k - r))))
        ways.append(_log_choose(k - 1, r - 1) + _log_choose(m - 1, z - 1))
    return np.concatenate(ratios), np.concatenate(ways)


def _x_log(count: ArrayLike, share: ArrayLike) -> FloatArray:
    """Return ``count log(share)``, 0 where there are none."""
    from scipy import special

    return np.asarray(special.xlogy(count, share))


def _log_choose(n: ArrayLike, k: ArrayLike) -> FloatArray:
    from scipy import special

    n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    return np.asarray(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1))


def _log_binomial(n: int, k: NDArray[np.int64], p: float) -> FloatArray:
    return np.asarray(_log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p))
