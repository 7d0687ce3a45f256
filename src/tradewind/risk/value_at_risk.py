"""Value at risk and expected shortfall of a book, by five methods and as a compiled walk over history.

A loss is positive and a fraction of equity. Returns are *simple* one-session returns (the book's return is their
weighted sum). What is not known is NaN with its reason, never a guess.

*Missing returns.* A session counts where every held name (weight other than zero) has a return; other sessions are
left out and their neighbours become neighbours. With ``coverage`` below 1 a session also counts where the names that do
have one carry at least this share of the gross weight; its return is then scaled up to the whole gross, and how many
sessions were is reported. A flat book loses nothing: its value at risk is 0, not unknown.

*Quantile.* The empirical one lies at the place ``(n + 1) level`` (Hyndman & Fan 1996, type 6): the next of exchangeable
losses exceeds it with probability ``1 - level`` exactly, in small samples too. Expected shortfall is the mean of the
worst ``n (1 - level)`` losses, a fraction of one where it isn't whole (Acerbi & Tasche 2002, def. 2.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.correlation_matrix import positive_semidefinite
from tradewind.stats.volatility import decay_of

FloatArray = NDArray[np.float64]

Method = Literal["historical", "filtered_historical", "parametric", "student_t"]
METHODS: tuple[Method, ...] = get_args(Method)

LEAST_SESSIONS = 60
"""Sessions that any estimate from history needs."""

STALE_SESSIONS = 10
"""Where none of so many newest sessions counts, the book's risk is unknown: something held no longer trades."""

HALF_LIFE_SESSIONS = 11.0
"""Of the EWMA volatility that returns are filtered by: RiskMetrics' daily decay of 0.94 (1996, section 5.3.2)."""

_WARM_UP = 20
_OK, _WEIGHT, _FEW, _STALE, _STILL = range(5)

#: Degrees of freedom that a Student-t is fitted among.
FREEDOM = np.array([2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 60.0])


@dataclass(frozen=True, slots=True)
class ValueAtRisk:
    """The loss that is exceeded with probability ``1 - level``, and the mean of those beyond.

    Attributes
    ----------
    var, cvar
        Losses as fractions of equity, positive for a loss; NaN where unknown, and ``reason`` says why.
    level
        Confidence in (0.5, 1).
    horizon_sessions
        Sessions that the loss is over.
    method
        How it was estimated.
    sessions
        Sessions of history (or simulated draws) behind it.
    reason
        Why there is none; empty where there is.
    notes
        What had to be repaired or filled in on the way.
    """

    var: float
    cvar: float
    level: float
    horizon_sessions: int
    method: str
    sessions: int
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TailPath:
    """Value at risk and expected shortfall at each row, ``(T,)``, over the session after it.

    Attributes
    ----------
    sessions, partial
        Sessions behind each number, and those of them that were scaled up.
    code
        0 where there is a number; else the place of its reason in :data:`REASONS`.
    """

    var: FloatArray
    cvar: FloatArray
    sessions: NDArray[np.int64]
    partial: NDArray[np.int64]
    code: NDArray[np.int64]


REASONS = (
    "",
    "a weight is unknown",
    "too few sessions have returns of every held name",
    f"none of the last {STALE_SESSIONS} sessions has returns of every held name",
    "the book's past returns do not vary",
)


@njit(cache=True)
def _gather(
    returns: FloatArray, weights: FloatArray, first: int, stop: int, coverage: float, out: FloatArray
) -> tuple[int, int, int]:
    """Write the book's returns of the sessions that count; return how many, how many scaled up and the last row."""
    held = np.flatnonzero(weights != 0.0)
    gross = 0.0
    for j in held:
        gross += abs(weights[j])
    n, partial, last = 0, 0, -1
    for s in range(first, stop):
        total, known, complete = 0.0, 0.0, True
        for j in held:
            if np.isfinite(returns[s, j]):
                total += weights[j] * returns[s, j]
                known += abs(weights[j])
            else:
                complete = False
        if complete or (known > 0.0 and known >= coverage * gross):
            out[n] = total if complete else total * gross / known
            partial += 0 if complete else 1
            n, last = n + 1, s
    return n, partial, last


@njit(cache=True)
def _empirical_tail(rising: FloatArray, level: float) -> tuple[float, float]:
    """Return the quantile of type 6 and the mean of the worst ``n (1 - level)`` of rising losses."""
    n = len(rising)
    place = (n + 1) * level
    below = min(max(int(np.floor(place)), 1), n)
    above = min(below + 1, n)
    var = rising[below - 1] + (place - below) * (rising[above - 1] - rising[below - 1])
    mass = n * (1.0 - level)
    whole = min(int(np.floor(mass)), n)
    total = 0.0
    for i in range(whole):
        total += rising[n - 1 - i]
    if whole < n:
        total += (mass - whole) * rising[n - 1 - whole]
    return var, max(total / mass, var)


@njit(cache=True)
def _standardise(own: FloatArray, decay: float, out: FloatArray) -> tuple[int, float]:
    """Divide each return by its EWMA forecast made before it; return how many and the next session's deviation."""
    floor = 1e-4 * np.mean(own**2)
    variance = max(np.mean(own[:_WARM_UP] ** 2), floor)
    for s in range(len(own)):
        if s >= _WARM_UP:
            out[s - _WARM_UP] = own[s] / np.sqrt(variance)
            variance = max(decay * variance + (1.0 - decay) * own[s] ** 2, floor)
    return len(own) - _WARM_UP, np.sqrt(variance)


@njit(cache=True)
def _best_freedom(unit: FloatArray, grid: FloatArray, constant: FloatArray) -> int:
    """Return the place of the likeliest degrees of freedom of unit-variance returns."""
    best, found = -np.inf, 0
    for g in range(len(grid)):
        total = 0.0
        for z in unit:
            total += np.log1p(z * z / (grid[g] - 2.0))
        likelihood = len(unit) * constant[g] - 0.5 * (grid[g] + 1.0) * total
        if likelihood > best:
            best, found = likelihood, g
    return found


@njit(cache=True)
def _row(
    returns: FloatArray,
    weights: FloatArray,
    t: int,
    method: int,
    level: float,
    window: int,
    decay: float,
    coverage: float,
    least: int,
    grid: FloatArray,
    unit_tails: FloatArray,
    own: FloatArray,
    unit: FloatArray,
) -> tuple[float, float, int, int, int]:
    """Return ``var, cvar, sessions, partial, code`` at one row, from rows ``<= t`` alone."""
    flat = True
    for w in weights:
        if not np.isfinite(w):
            return np.nan, np.nan, 0, 0, _WEIGHT
        flat = flat and w == 0.0
    if flat:
        return 0.0, 0.0, 0, 0, _OK
    n, partial, last = _gather(returns, weights, max(0, t + 1 - window), t + 1, coverage, own)
    if n < least + (_WARM_UP if method else 0):
        return np.nan, np.nan, n, partial, _FEW
    if last <= t - STALE_SESSIONS:
        return np.nan, np.nan, n, partial, _STALE
    mine = own[:n]
    if np.max(mine) == np.min(mine):
        return np.nan, np.nan, n, partial, _STILL
    if method == 0:
        var, cvar = _empirical_tail(np.sort(-mine), level)
        return var, cvar, n, partial, _OK
    count, sigma = _standardise(mine, decay, unit)
    if method == 1:
        var, cvar = _empirical_tail(np.sort(-unit[:count]), level)
    elif method == 2:
        var, cvar = unit_tails[1, len(grid)], unit_tails[2, len(grid)]
    else:
        best = _best_freedom(unit[:count], grid, unit_tails[0])
        var, cvar = unit_tails[1, best], unit_tails[2, best]
    return sigma * var, sigma * cvar, n, partial, _OK


@njit(cache=True)
def _walk(
    returns: FloatArray,
    weights: FloatArray,
    first: int,
    method: int,
    level: float,
    window: int,
    decay: float,
    coverage: float,
    least: int,
    grid: FloatArray,
    unit_tails: FloatArray,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return ``(T - first, 2)`` tails and ``(T - first, 3)`` sessions, partial and code of the rows from ``first``."""
    rows = len(returns)
    tails = np.empty((rows - first, 2))
    said = np.empty((rows - first, 3), np.int64)
    own, unit = np.empty(window), np.empty(window)
    for t in range(first, rows):
        var, cvar, n, partial, code = _row(
            returns, weights[t - first], t, method, level, window, decay, coverage, least, grid, unit_tails, own, unit
        )
        tails[t - first] = var, cvar
        said[t - first] = n, partial, code
    return tails, said


def tail_path(
    returns: FloatArray,
    weights: FloatArray,
    level: float = 0.95,
    method: Method = "filtered_historical",
    window: int = 504,
    half_life: float = HALF_LIFE_SESSIONS,
    *,
    coverage: float = 1.0,
) -> TailPath:
    """Return value at risk and expected shortfall at each row, over the session after it.

    Row ``t`` sees the returns of rows ``t - window + 1 … t`` and the weights held at ``t``, so a prefix of the data
    gives a prefix of the path. The book of row ``t`` is carried back over the window: what it would have lost.

    Parameters
    ----------
    returns
        ``(T, N)`` simple returns of the session ending at each row, NaN where missing.
    weights
        ``(T, N)`` fractions of equity held after the close of each row, shorts negative; or ``(N,)``, held at all rows.
    level
        Confidence in (0.5, 1).
    method
        ``historical``: the book's own losses. ``filtered_historical``: the same, each divided by its EWMA volatility
        forecast and multiplied by the newest (Barone-Adesi, Giannopoulos & Vosper 1999; Hull & White 1998).
        ``parametric``: normal with EWMA volatility (RiskMetrics 1996). ``student_t``: a Student-t in its place, its
        degrees of freedom the likeliest for the window. All but the first take the mean return as zero.
    window
        Sessions looked back on.
    half_life
        Of the EWMA volatility, in sessions.
    coverage
        Least share of the gross weight that must have a return for a session to count; see the module.

    Raises
    ------
    InputError
        Shapes that do not fit, or a parameter out of its range.
    """
    settings = _settings(level, method, window, half_life, coverage)
    table = _table(returns)
    held = np.array(np.broadcast_to(np.asarray(weights, dtype=np.float64), table.shape), order="C")
    tails, said = _walk(table, held, 0, *settings)
    return TailPath(tails[:, 0], tails[:, 1], said[:, 0], said[:, 1], said[:, 2])


def var_now(
    returns: FloatArray,
    weights: FloatArray,
    level: float = 0.95,
    method: Method = "filtered_historical",
    window: int = 504,
    half_life: float = HALF_LIFE_SESSIONS,
    *,
    coverage: float = 1.0,
    symbols: Sequence[str] = (),
) -> ValueAtRisk:
    """Return what :func:`tail_path` has at the last row of the returns, bit for bit, from the newest window alone.

    Parameters
    ----------
    returns
        ``(T, N)`` simple returns up to now.
    weights
        ``(N,)`` fractions of equity held.
    symbols
        Names of the columns, for the reason where something is missing.
    """
    settings = _settings(level, method, window, half_life, coverage)
    table = _table(returns[-window:])
    held = _held(weights, table.shape[1])
    tails, said = _walk(table, held[None, :], len(table) - 1, *settings)
    n, partial, code = (int(value) for value in said[0])
    reason = REASONS[code]
    if code in (_FEW, _STALE):
        reason += f" ({_shortest(table, held, symbols)})"
    notes = (f"{partial} of {n} sessions lack a return of a held name and were scaled up",) if partial else ()
    return ValueAtRisk(float(tails[0, 0]), float(tails[0, 1]), level, 1, method, n, reason, notes)


def book_returns(returns: FloatArray, weights: FloatArray, *, coverage: float = 1.0) -> FloatArray:
    """Return what a book of ``weights (N,)`` would have made in the sessions of ``(T, N)`` that count, ``(S,)``."""
    table = _table(returns)
    out = np.empty(len(table))
    count, _, _ = _gather(table, _held(weights, table.shape[1]), 0, len(table), coverage, out)
    return out[:count]


def historical(
    returns: FloatArray,
    weights: FloatArray,
    *,
    level: float = 0.95,
    horizon_sessions: int = 1,
    symbols: Sequence[str] = (),
    method: str = "historical",
) -> ValueAtRisk:
    """Return historical value at risk of a book that is brought back to its weights every session.

    Over more sessions than one the losses are of overlapping stretches, compounded; they share sessions, so the
    evidence is nearer to ``T / horizon`` than to ``T``.
    """
    _check(level, horizon_sessions)
    table = _table(returns)
    held = _held(weights, table.shape[1])
    if (unknown := _unknown_weights(held, symbols)) or not held.any():
        return _none(level, horizon_sessions, method, unknown)
    own = book_returns(table, held)
    if len(own) < needed_sessions(level) + horizon_sessions - 1:
        reason = f"{REASONS[_FEW]} ({_shortest(table, held, symbols)})"
        return _none(level, horizon_sessions, method, reason, len(own))
    var, cvar = _empirical_tail(np.sort(-_compounded(own, horizon_sessions)), level)
    return ValueAtRisk(float(var), float(cvar), level, horizon_sessions, method, len(own))


def filtered_historical(
    returns: FloatArray,
    weights: FloatArray,
    sigma: FloatArray,
    sigma_next: ArrayLike,
    *,
    level: float = 0.95,
    horizon_sessions: int = 1,
    symbols: Sequence[str] = (),
) -> ValueAtRisk:
    """Return historical value at risk of returns rescaled to the volatility expected now (Hull & White 1998, eq. 1).

    Parameters
    ----------
    sigma
        ``(T, N)`` (or ``(T,)``, one for all names) volatility of each session as it was forecast before it, by EWMA,
        GARCH or whatever else. Where it is missing or zero the session's return counts as missing.
    sigma_next
        ``(N,)`` or a number: the volatility expected of the next session, and of all of the horizon.
    """
    table = _table(returns)
    past = np.asarray(sigma, dtype=np.float64)
    past = past[:, None] if past.ndim == 1 else past
    if past.shape not in (table.shape, (len(table), 1)):
        raise InputError(f"sigma has shape {past.shape}, the returns {table.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = table * np.asarray(sigma_next, dtype=np.float64) / np.where(past > 0, past, np.nan)
    return historical(
        scaled,
        weights,
        level=level,
        horizon_sessions=horizon_sessions,
        symbols=symbols,
        method="filtered_historical",
    )


def parametric(
    covariance: FloatArray,
    weights: FloatArray,
    *,
    level: float = 0.95,
    horizon_sessions: int = 1,
    freedom: float | None = None,
    symbols: Sequence[str] = (),
) -> ValueAtRisk:
    """Return value at risk of a normal or multivariate Student-t book with mean zero.

    Parameters
    ----------
    covariance
        ``(N, N)`` of one-session returns. Singular is fine; one that is not positive semi-definite is repaired, and a
        note says so.
    freedom
        Degrees of freedom above 2; None: normal. Over ``h`` sessions the variance is ``h`` times as large and the
        excess kurtosis ``h`` times as small.
    """
    _check(level, horizon_sessions)
    method = "parametric" if freedom is None else "student_t"
    held = _held(weights, len(covariance))
    if (reason := _unknown_risk(covariance, held, symbols)) or not held.any():
        return _none(level, horizon_sessions, method, reason)
    matrix, notes = _sound(covariance, held)
    sigma = math.sqrt(max(float(held @ matrix @ held), 0.0) * horizon_sessions)
    nu = math.inf if freedom is None else _summed_freedom(freedom, horizon_sessions)
    var, cvar = unit_tail(level, nu)
    return ValueAtRisk(sigma * var, sigma * cvar, level, horizon_sessions, method, 0, "", notes)


def monte_carlo(
    covariance: FloatArray,
    weights: FloatArray,
    *,
    level: float = 0.95,
    horizon_sessions: int = 1,
    freedom: float | None = 5.0,
    samples: int = 20_000,
    seed: int = 0,
    symbols: Sequence[str] = (),
) -> ValueAtRisk:
    """Return value at risk over draws of :func:`simulate_returns`; two calls with one seed agree."""
    _check(level, horizon_sessions)
    held = _held(weights, len(covariance))
    if (reason := _unknown_risk(covariance, held, symbols)) or not held.any():
        return _none(level, horizon_sessions, "monte_carlo", reason)
    matrix, notes = _sound(covariance, held)
    generator = np.random.default_rng(seed)
    draws = simulate_returns(matrix, samples, generator, horizon_sessions=horizon_sessions, freedom=freedom)
    var, cvar = _empirical_tail(np.sort(-(draws @ held)), level)
    return ValueAtRisk(float(var), float(cvar), level, horizon_sessions, "monte_carlo", samples, "", notes)


def simulate_returns(
    covariance: FloatArray,
    samples: int,
    generator: np.random.Generator,
    *,
    horizon_sessions: int = 1,
    freedom: float | None = 5.0,
) -> FloatArray:
    """Draw returns ``(samples, N)`` over a horizon: sums of multivariate Student-t sessions (None: normal), mean zero.

    The covariance must be positive semi-definite; a singular one is drawn from as it is. No draw is below -1: a
    share cannot lose more than everything.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    total = np.zeros((samples, len(covariance)))
    for _ in range(horizon_sessions):
        step = generator.standard_normal((samples, len(covariance))) @ root.T
        if freedom is not None:
            step *= np.sqrt((freedom - 2.0) / generator.chisquare(freedom, (samples, 1)))
        total += step
    return np.maximum(total, -1.0)


def copula(
    uniforms: FloatArray,
    margins: FloatArray | Sequence[Callable[[FloatArray], FloatArray]],
    weights: FloatArray,
    *,
    level: float = 0.95,
    horizon_sessions: int = 1,
    symbols: Sequence[str] = (),
) -> ValueAtRisk:
    """Return value at risk of names whose dependence a copula says and whose own tails their margins.

    Parameters
    ----------
    uniforms
        ``(n, N)`` simulated from the copula.
    margins
        ``(T, N)`` past returns of the horizon's length, whose empirical quantiles are taken (type 6, so that the tails
        end at the worst seen); or one quantile function a name.
    """
    _check(level, horizon_sessions)
    held = _held(weights, uniforms.shape[1])
    reason = _unknown_weights(held, symbols)
    if reason or not held.any():
        return _none(level, horizon_sessions, "copula", reason)
    draws = np.zeros(len(uniforms))
    for column in np.flatnonzero(held).tolist():
        if isinstance(margins, np.ndarray):
            past = margins[np.isfinite(margins[:, column]), column]
            if len(past) < needed_sessions(level):
                reason = f"{_name(column, symbols)} has {len(past)} returns, {needed_sessions(level)} are needed"
                return _none(level, horizon_sessions, "copula", reason, len(past))
            own = np.quantile(past, uniforms[:, column], method="weibull")
        else:
            own = margins[column](uniforms[:, column])
        draws += held[column] * own
    if not np.isfinite(draws).all():
        return _none(level, horizon_sessions, "copula", "a simulated uniform or a margin's quantile is not finite")
    var, cvar = _empirical_tail(np.sort(-draws), level)
    return ValueAtRisk(float(var), float(cvar), level, horizon_sessions, "copula", len(uniforms))


def ewma_covariance(returns: FloatArray, weights: FloatArray, *, half_life: float = 60.0) -> tuple[FloatArray, int]:
    """Return the exponentially weighted covariance around zero ``(N, N)`` and the sessions behind it.

    Over the sessions in which every held name has a return, so it is positive semi-definite whatever is missing (and
    singular with fewer sessions than names). Rows and columns of names that are not held are NaN.
    """
    table, held = _table(returns), np.flatnonzero(np.nan_to_num(weights) != 0)
    rows = table[:, held][np.isfinite(table[:, held]).all(axis=1)]
    found = np.full((table.shape[1],) * 2, np.nan)
    if len(rows):
        age = 0.5 ** (np.arange(len(rows))[::-1, None] / half_life)
        found[np.ix_(held, held)] = (rows * age).T @ rows / age.sum()
    return found, len(rows)


def fit_freedom(returns: FloatArray, half_life: float = HALF_LIFE_SESSIONS) -> float:
    """Return the likeliest degrees of freedom of a book's returns ``(S,)`` once divided by their EWMA volatility."""
    if len(returns) < LEAST_SESSIONS or np.ptp(returns) == 0:
        return math.nan
    unit = np.empty(len(returns))
    count, _ = _standardise(np.ascontiguousarray(returns), decay_of(half_life), unit)
    return float(FREEDOM[_best_freedom(unit[:count], FREEDOM, _unit_tails(0.95)[0])])


def unit_tail(level: float, freedom: float = math.inf) -> tuple[float, float]:
    """Return value at risk and expected shortfall of a unit-variance Student-t loss (infinite freedom: normal)."""
    from scipy import special

    if math.isinf(freedom):
        place = float(special.ndtri(level))
        return place, math.exp(-0.5 * place**2) / math.sqrt(2 * math.pi) / (1 - level)
    if freedom <= 2:
        raise InputError(f"a Student-t with {freedom} degrees of freedom has no variance", hint="take more than 2")
    place = float(special.stdtrit(freedom, level))
    height = math.exp(_constant(freedom) - 0.5 * (freedom + 1) * math.log1p(place**2 / freedom))
    height *= math.sqrt((freedom - 2) / freedom)  # the constant is that of unit variance
    unit = math.sqrt((freedom - 2) / freedom)
    return place * unit, height * (freedom + place**2) / ((freedom - 1) * (1 - level)) * unit


def needed_sessions(level: float) -> int:
    """Return the sessions without which an empirical quantile of this level is not inside the sample."""
    return max(LEAST_SESSIONS, math.ceil(level / (1.0 - level) - 1e-9))


def _constant(freedom: float) -> float:
    """Return the log density of a unit-variance Student-t at its middle."""
    return math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi * (freedom - 2))


def _unit_tails(level: float) -> FloatArray:
    """Return log densities at the middle, quantiles and shortfalls of :data:`FREEDOM` and, last, the normal."""
    tails = [unit_tail(level, float(nu)) for nu in (*FREEDOM, math.inf)]
    constants = [*map(_constant, FREEDOM.tolist()), 0.0]
    return np.array([constants, [var for var, _ in tails], [cvar for _, cvar in tails]])


def _settings(
    level: float, method: Method, window: int, half_life: float, coverage: float
) -> tuple[int, float, int, float, float, int, FloatArray, FloatArray]:
    """Return the kernel's parameters, checked."""
    _check(level, 1)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}", hint=f"known: {', '.join(METHODS)}")
    least = needed_sessions(level) if method in ("historical", "filtered_historical") else LEAST_SESSIONS
    if window < least + _WARM_UP or half_life <= 0 or not 0 < coverage <= 1:
        raise InputError(
            f"a window of {window} sessions with a half-life of {half_life} and a coverage of {coverage} cannot be",
            hint=f"the window must be at least {least + _WARM_UP}, the half-life positive, the coverage in (0, 1]",
        )
    code = METHODS.index(method)
    return code, level, window, decay_of(half_life), coverage, least, FREEDOM, _unit_tails(level)


def _check(level: float, horizon_sessions: int) -> None:
    if not 0.5 < level < 1:
        raise InputError(f"the level of value at risk is {level}", hint="it must lie in (0.5, 1), as in 0.95")
    if horizon_sessions < 1:
        raise InputError(f"a horizon of {horizon_sessions} sessions cannot be", hint="take 1 or more")


def _table(returns: FloatArray) -> FloatArray:
    table = np.ascontiguousarray(returns, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise InputError(f"returns have shape {table.shape}, they must be (session, name) with at least one session")
    return table


def _held(weights: FloatArray, names: int) -> FloatArray:
    held = np.ascontiguousarray(weights, dtype=np.float64)
    if held.shape != (names,):
        raise InputError(f"weights have shape {held.shape}, there are {names} names")
    return held


def _none(level: float, horizon: int, method: str, reason: str, sessions: int = 0) -> ValueAtRisk:
    """Return nothing with its reason; without a reason the book is flat and loses nothing."""
    value = math.nan if reason else 0.0
    return ValueAtRisk(value, value, level, horizon, method, sessions, reason)


def _name(column: int, symbols: Sequence[str]) -> str:
    return symbols[column] if symbols else f"column {column}"


def _unknown_weights(held: FloatArray, symbols: Sequence[str]) -> str:
    lost = np.flatnonzero(~np.isfinite(held))
    return f"the weight of {_name(int(lost[0]), symbols)} is unknown" if lost.size else ""


def _unknown_risk(covariance: FloatArray, held: FloatArray, symbols: Sequence[str]) -> str:
    if covariance.shape != (len(held),) * 2:
        raise InputError(f"the covariance has shape {covariance.shape}, there are {len(held)} weights")
    if reason := _unknown_weights(held, symbols):
        return reason
    mine = np.flatnonzero(held)
    lost = mine[~np.isfinite(covariance[np.ix_(mine, mine)]).all(axis=1)]
    return f"the covariance of {_name(int(lost[0]), symbols)} is unknown" if lost.size else ""


def _sound(covariance: FloatArray, held: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the covariance of what is held, zero elsewhere, repaired where it is not positive semi-definite."""
    mine = np.flatnonzero(held)
    matrix = np.zeros(covariance.shape)
    part = covariance[np.ix_(mine, mine)]
    largest = float(np.abs(part).max(initial=0.0))
    if np.abs(part - part.T).max(initial=0.0) > 1e-9 * largest or (np.diag(part) < 0).any():
        raise InputError("a covariance is symmetric and has no negative variance", hint="look at how it was made")
    lowest = float(np.linalg.eigvalsh(part)[0])
    notes: tuple[str, ...] = ()
    if lowest < -1e-9 * largest * len(mine):
        notes = (f"the covariance was not positive semi-definite (least eigenvalue {lowest:.3g}): repaired",)
        scale = np.sqrt(np.diag(part))
        unit = np.where(scale > 0, scale, 1.0)
        correlation = part / np.outer(unit, unit)
        np.fill_diagonal(correlation, 1.0)
        part = positive_semidefinite((correlation + correlation.T) / 2) * np.outer(scale, scale)
    matrix[np.ix_(mine, mine)] = part
    return matrix, notes


def _compounded(own: FloatArray, sessions: int) -> FloatArray:
    """Return compounded returns of all stretches of so many sessions."""
    if sessions == 1:
        return own
    return np.asarray(np.prod(np.lib.stride_tricks.sliding_window_view(1.0 + own, sessions), axis=1) - 1.0)


def _summed_freedom(freedom: float, sessions: int) -> float:
    """Return the freedom of a sum: 1/h of the excess kurtosis where there is one, as in models.garch."""
    return 4.0 + (freedom - 4.0) * sessions if freedom > 4.0 else freedom + 0.5 * (sessions - 1)


def _shortest(returns: FloatArray, held: FloatArray, symbols: Sequence[str]) -> str:
    mine = np.flatnonzero(held)
    count = np.isfinite(returns[:, mine]).sum(axis=0)
    least = int(np.argmin(count))
    return f"fewest: {_name(int(mine[least]), symbols)} with {int(count[least])} of {len(returns)}"
