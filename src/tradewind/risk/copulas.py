"""What moves together, apart from how much each moves: Gaussian, Student-t and truncated vine copulas of many names.

A copula is fitted to standardised residuals (returns over the volatility that was expected of them), so that quiet and
wild times count alike. A Gaussian copula has no tail dependence: far enough out, falls come alone. The Student-t one
lets names fall together with a single further number, its degrees of freedom; the vine (Aas et al. 2009) gives each
pair of its trees its own, and may let falling together be likelier than rising together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import DataError, InputError

FloatArray = NDArray[np.float64]
Kind = Literal["gaussian", "student", "vine"]

ENOUGH_ROWS = 500
"""Rows from which on a pair has a tail of its own; with fewer, one shape is shared by all."""

LEAST_ROWS = 60
"""Rows below which nothing is said about dependence."""

FREEDOM = (1.5, 60.0)
"""Degrees of freedom that are looked for; at the upper end a Student-t copula is as good as Gaussian."""

AS_ONE = 0.9999
"""Kendall's tau from which on two names are taken for the same one."""

_LEAST_EIGENVALUE = 1e-4
_MOST_PAIRS = 2000


@dataclass(frozen=True, eq=False)
class CopulaFit:
    """A fitted copula of ``N`` names.

    Attributes
    ----------
    kind
        What was fitted; not what was asked for where ``notes`` say so.
    columns
        ``(M,)`` columns of the residuals that it is about, rising; the others are in ``notes``.
    correlation
        ``(M, M)`` positive definite: the copula's own, from Kendall's tau.
    kendall
        ``(M, M)`` Kendall's tau-b, each pair over the rows that both have.
    freedom
        Degrees of freedom; infinite for a Gaussian copula, NaN for a vine and where all names are the same one.
    log_likelihood
        Of the pseudo-observations it was fitted to, in nats.
    observations
        Rows with at least two names.
    notes
        Everything that was left out, repaired or pooled, in words.
    vine
        A ``pyvinecopulib.Vinecop``, for a vine.
    """

    kind: Kind
    columns: NDArray[np.int64]
    correlation: FloatArray
    kendall: FloatArray
    freedom: float
    log_likelihood: float
    observations: int
    notes: tuple[str, ...] = ()
    vine: Any = None


def pseudo_observations(values: ArrayLike) -> FloatArray:
    """Return ranks over ``n + 1`` within each column, ``(T, N)`` in (0, 1); equal values share their mean rank.

    ``n`` counts the values that a column has; what is missing stays NaN (Genest, Ghoudi & Rivest 1995).
    """
    rank = _ranks(values)
    return np.asarray(rank / (np.isfinite(rank).sum(axis=0) + 1.0))


def _ranks(values: ArrayLike) -> FloatArray:
    from scipy.stats import rankdata

    table = np.asarray(values, dtype=np.float64)
    there = np.isfinite(table)
    return np.where(there, rankdata(np.where(there, table, np.inf), axis=0), np.nan)


def kendall_tau(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Return Kendall's tau-b of each column of ``(T, N)`` with each of ``(T, M)``: ``(N, M)``.

    Every pair over the rows that both have; NaN where one of them does not vary there. All pairs at once, as products
    of the signs of differences, lag by lag: exact (of ranks, which single precision holds), O(T² N M).
    """
    x, y = _ranks(first).astype(np.float32), _ranks(second).astype(np.float32)
    whole = bool(np.isfinite(x).all() and np.isfinite(y).all())
    agree, of_x, of_y = (np.zeros((x.shape[1], y.shape[1])) for _ in range(3))
    for lag in range(1, len(x)):
        move_x, move_y = np.sign(x[lag:] - x[:-lag]), np.sign(y[lag:] - y[:-lag])
        if whole:
            of_x += np.abs(move_x).sum(axis=0)[:, None]
            of_y += np.abs(move_y).sum(axis=0)
        else:
            (move_x, there_x), (move_y, there_y) = _without_gaps(move_x), _without_gaps(move_y)
            of_x += np.abs(move_x).T @ there_y
            of_y += there_x.T @ np.abs(move_y)
        agree += move_x.T @ move_y
    pairs = np.sqrt(of_x * of_y)
    return np.divide(agree, pairs, out=np.full_like(pairs, np.nan), where=pairs > 0)


def _without_gaps(move: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    there = np.isfinite(move)
    return np.where(there, move, np.float32(0.0)), there.astype(np.float32)


def tail_dependence(correlation: ArrayLike, freedom: ArrayLike) -> FloatArray:
    """Return the probability that one falls without bound given that the other does, of a Student-t copula.

    ``2 t_{v+1}(-sqrt((v+1)(1-r)/(1+r)))`` (Demarta & McNeil 2005, section 3.1), the same for rises; 0 for infinite
    degrees of freedom below a correlation of one, which is the Gaussian copula.
    """
    from scipy.special import stdtr

    r, v = np.broadcast_arrays(np.asarray(correlation, float), np.asarray(freedom, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.sqrt((1.0 - r) / (1.0 + r))
        found = 2.0 * stdtr(v + 1.0, -np.sqrt(v + 1.0) * apart)
    return np.where(np.isinf(v), np.where(r >= 1.0, 1.0, 0.0), np.where(r >= 1.0, 1.0, found))


def fit_copula(
    residuals: FloatArray,
    kind: Kind = "student",
    *,
    truncation: int = 4,
    asymmetric: bool = False,
    least_rows: int = LEAST_ROWS,
) -> CopulaFit:
    """Fit a copula to standardised residuals ``(T, N)``, oldest first, NaN where missing.

    The correlation is Kendall's tau turned round, ``sin(π τ / 2)`` (Lindskog, McNeil & Schmock 2003), which outliers
    and the margins cannot move; the degrees of freedom maximise the composite likelihood of the pairs given it (Varin,
    Reid & Firth 2011). The likelihood of all names at once (McNeil, Frey & Embrechts 2015, section 7.5.3) needs the
    inverse of the correlations: their errors, in 50 names and 200 rows, turn 5 degrees of freedom into 6.2 on average
    (4.6 here), and with more names than rows there is none. A row with gaps counts with the pairs that it has.

    Parameters
    ----------
    kind
        ``vine``: pairs of the first ``truncation`` trees, each of its own family by BIC and with its own tail,
        independent beyond. It uses the rows that have every name and needs 500 of them; with fewer a Student-t copula
        is fitted instead, because one shape can be pooled over all names and hundreds can't; ``notes`` say so.
    truncation
        Trees of a vine. Two forget more of what stocks share than their tails give back: on 20 S&P names they told
        less out of sample than a Gaussian copula, four more.
    asymmetric
        Let the pairs of a vine be Clayton and Gumbel, with rotations, beside independent, Gaussian and Student-t. Not
        by default: out of sample it told less about stocks than without.
    least_rows
        Rows that a name must have in common with each of the others.

    Raises
    ------
    InputError
        Residuals that are no table, or a kind that is unknown.
    DataError
        Fewer than two names that vary and have enough rows.
    """
    if residuals.ndim != 2 or kind not in get_args(Kind) or truncation < 1:
        raise InputError(f"residuals {residuals.shape} must be (bar, name) and the copula {kind!r} in {get_args(Kind)}")
    columns, notes = _usable(residuals, least_rows)
    u = pseudo_observations(residuals[:, columns])
    tau = kendall_tau(u, u)
    np.fill_diagonal(tau, 1.0)
    correlation, repaired = _definite(np.sin(0.5 * np.pi * tau))
    notes += repaired
    whole = np.isfinite(u).all(axis=1)
    if kind == "vine" and whole.sum() >= ENOUGH_ROWS:
        notes += (f"{(~whole).sum()} rows with gaps left out",) if not whole.all() else ()
        vine, told = _vine(u[whole], truncation, asymmetric)
        return CopulaFit("vine", columns, correlation, tau, float("nan"), told, int(whole.sum()), notes, vine)
    if kind == "vine":
        notes += (f"a Student-t copula for the vine: {whole.sum()} rows have all names, of {ENOUGH_ROWS} needed",)
    observations = int((np.isfinite(u).sum(axis=1) > 1).sum())
    if kind != "gaussian" and observations < ENOUGH_ROWS:
        notes += (f"one tail shape pooled over {len(columns)} names from {observations} rows",)
    freedom = np.inf if kind == "gaussian" else _freedom(u, np.sin(0.5 * np.pi * tau), tau)
    return CopulaFit(
        kind="gaussian" if kind == "gaussian" else "student",
        columns=columns,
        correlation=correlation,
        kendall=tau,
        freedom=freedom,
        log_likelihood=float(student_log_density(u, correlation, freedom).sum()),
        observations=observations,
        notes=notes,
    )


def simulate(fit: CopulaFit, n: int, seed: int) -> FloatArray:
    """Return ``n`` draws ``(n, M)``, uniform in (0, 1) each and dependent as fitted; one seed gives one answer."""
    if n < 1:
        raise InputError(f"{n} draws are none")
    if fit.kind == "vine":
        return np.ascontiguousarray(fit.vine.sample(n, seeds=[seed]))
    from scipy.special import ndtr, stdtr

    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((n, len(fit.columns))) @ np.linalg.cholesky(fit.correlation).T
    if not np.isfinite(fit.freedom):
        return np.asarray(ndtr(normal))
    shared = np.sqrt(fit.freedom / generator.chisquare(fit.freedom, (n, 1)))
    return np.asarray(stdtr(fit.freedom, normal * shared))


def log_density(fit: CopulaFit, uniforms: FloatArray) -> FloatArray:
    """Return the log density at each row of ``(T, M)``; NaN where a vine meets a gap."""
    if uniforms.ndim != 2 or uniforms.shape[1] != len(fit.columns):
        raise InputError(f"the copula is about {len(fit.columns)} names, the uniforms are {uniforms.shape}")
    if fit.kind == "vine":
        return np.asarray(fit.vine.logpdf(np.asfortranarray(uniforms)))
    return student_log_density(uniforms, fit.correlation, fit.freedom)


def student_log_density(uniforms: FloatArray, correlation: FloatArray, freedom: float) -> FloatArray:
    """Return the log density of a Student-t copula (Gaussian for infinite freedom) at each row of ``(T, N)``.

    A row with gaps gives the density of what it has: the margins of a Student-t copula are Student-t copulas.
    """
    score = student_scores(uniforms)(freedom)
    square, log_size, names = _quadratic(score, correlation)
    squares = np.where(np.isfinite(score), score, 0.0) ** 2
    if np.isinf(freedom):
        return 0.5 * (squares.sum(axis=1) - square - log_size)
    alone = 0.5 * (freedom + 1.0) * np.log1p(squares / freedom).sum(axis=1)
    together = 0.5 * (freedom + names) * np.log1p(square / freedom)
    return _constant(freedom, names) - 0.5 * log_size + alone - together


def student_scores(uniforms: FloatArray) -> Callable[[float], FloatArray]:
    """Return the function from degrees of freedom to Student-t (for infinite: normal) quantiles of the uniforms.

    Ranks repeat, and quantiles are slow: each distinct one is computed once.
    """
    from scipy.special import ndtri, stdtrit

    distinct, place = np.unique(uniforms, return_inverse=True)
    place = place.reshape(uniforms.shape)

    def score(freedom: float) -> FloatArray:
        quantiles = ndtri(distinct) if np.isinf(freedom) else stdtrit(freedom, distinct)
        return np.asarray(quantiles[place])

    return score


def pair_log_likelihood(first: FloatArray, second: FloatArray, correlation: FloatArray, freedom: float) -> FloatArray:
    """Return the log-likelihood ``(P,)`` of ``P`` pairs of names under Student-t copulas of one shape.

    Parameters
    ----------
    first, second
        ``(T, P)`` Student-t scores (:func:`student_scores`); rows in which one is missing do not count.
    correlation
        ``(P,)`` in (-1, 1); a pair without one has likelihood 0.
    """
    room = 1.0 - correlation**2
    square = (first**2 - 2.0 * correlation * first * second + second**2) / (room * freedom)
    alone = np.log1p(first**2 / freedom) + np.log1p(second**2 / freedom)
    rows = 0.5 * (freedom + 1.0) * alone - 0.5 * (freedom + 2.0) * np.log1p(square)
    return np.nansum(rows + (_constant(freedom, np.array(2.0)) - 0.5 * np.log(room)), axis=0)


def _constant(freedom: float, names: FloatArray) -> FloatArray:
    from scipy.special import gammaln

    half = 0.5 * freedom
    return np.asarray(gammaln(half + 0.5 * names) + (names - 1.0) * gammaln(half) - names * gammaln(half + 0.5))


def _quadratic(score: FloatArray, correlation: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ``x' R^-1 x``, ``log |R|`` and the number of names of each row, over the names that the row has."""
    there = np.isfinite(score)
    patterns, member = np.unique(there, axis=0, return_inverse=True)
    square, log_size = np.zeros(len(score)), np.zeros(len(score))
    for index, has in enumerate(patterns):
        rows = np.flatnonzero(member.reshape(-1) == index)
        if has.sum() > 1:
            root = np.linalg.cholesky(correlation[np.ix_(has, has)])
            square[rows] = (np.linalg.solve(root, score[np.ix_(rows, has)].T) ** 2).sum(axis=0)
            log_size[rows] = 2.0 * np.log(np.diag(root)).sum()
        elif has.any():
            square[rows] = score[np.ix_(rows, has)][:, 0] ** 2
    return square, log_size, there.sum(axis=1).astype(np.float64)


def _usable(residuals: FloatArray, least_rows: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the columns that vary and share enough rows with each other, dropping the one that shares least first."""
    there = np.isfinite(residuals)
    low, high = (f(residuals, axis=0, where=there, initial=i) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
    kept, notes = np.flatnonzero(high > low), []
    if len(kept) < residuals.shape[1]:
        notes.append(f"columns {_listed(np.flatnonzero(~(high > low)))} left out: they do not vary")
    common = there.astype(np.float64).T @ there.astype(np.float64)
    dropped: list[int] = []
    while len(kept) and common[np.ix_(kept, kept)].min() < least_rows:
        worst = int(np.argmin(common[np.ix_(kept, kept)].sum(axis=1)))
        dropped.append(int(kept[worst]))
        kept = np.delete(kept, worst)
    if dropped:
        notes.append(f"columns {_listed(sorted(dropped))} left out: fewer than {least_rows} rows in common with others")
    if len(kept) < 2:
        raise DataError(
            f"a copula needs two names with {least_rows} rows in common: of {residuals.shape[1]} names and "
            f"{len(residuals)} rows {len(kept)} would be left ({'; '.join(notes) or 'nothing was left out'})",
            hint="take a longer history, or names that traded at the same time",
        )
    return kept.astype(np.int64), tuple(notes)


def _listed(columns: ArrayLike) -> str:
    return ", ".join(map(str, np.asarray(columns).tolist()))


def _definite(correlation: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the matrix, drawn towards independence as far as is needed to be positive definite, and a note."""
    whole = np.where(np.isfinite(correlation), correlation, 0.0)
    least = float(np.linalg.eigvalsh(whole)[0])
    if least >= _LEAST_EIGENVALUE:
        return whole, ()
    share = (_LEAST_EIGENVALUE - least) / (1.0 - least)
    repaired = (1.0 - share) * whole + share * np.eye(len(whole))
    return repaired, (f"correlations drawn towards independence by {share:.2%}: smallest eigenvalue was {least:.1e}",)


def _freedom(u: FloatArray, correlation: FloatArray, tau: FloatArray) -> float:
    """Return the degrees of freedom of greatest composite likelihood, NaN where all names are the same one."""
    from scipy.optimize import minimize_scalar

    apart = np.where(np.abs(tau) < AS_ONE, correlation, np.nan)
    names = len(tau)
    if np.isnan(apart[np.triu_indices(names, 1)]).all():
        return float("nan")
    lags = np.unique(np.linspace(1, names - 1, min(names - 1, max(1, _MOST_PAIRS // names))).astype(np.int64))

    scores = student_scores(u)

    def loss(log_freedom: float) -> float:
        freedom = float(np.exp(log_freedom))
        score = scores(freedom)
        return -sum(
            float(pair_log_likelihood(score[:, :-lag], score[:, lag:], np.diag(apart, lag), freedom).sum())
            for lag in lags.tolist()
        )

    found = minimize_scalar(loss, bounds=np.log(FREEDOM), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _vine(u: FloatArray, truncation: int, asymmetric: bool) -> tuple[Any, float]:
    """Return the vine and its log-likelihood."""
    import pyvinecopulib as pv

    family = pv.BicopFamily
    elliptical = [family.indep, family.gaussian, family.student]
    controls = pv.FitControlsVinecop(
        family_set=elliptical + ([family.clayton, family.gumbel] if asymmetric else []),
        trunc_lvl=truncation,
        selection_criterion="bic",
        num_threads=1,
    )
    seen = np.asfortranarray(pseudo_observations(u))
    vine = pv.Vinecop.from_data(seen, controls=controls)
    return vine, float(vine.logpdf(seen).sum())
