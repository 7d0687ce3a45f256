"""Fitting the model: expectation-maximisation by hmmlearn on a window of the past, and all that can go wrong with it.

The fit is maximum a posteriori. The prior of each state is worth one row: the window's mean, its variances and no
correlation; it keeps covariances away from singular and an empty state defined. The prior of each state's transitions
is worth ten: nine stays and one switch.

Expectation-maximisation climbs the hill it starts on. A fit therefore starts on several: from regimes cut by hand out
of the window (the most turbulent quarter, then thirds by drift) and from k-means clusters of seeded draws; each runs a
little, the best runs to its end (Biernacki, Celeux & Govaert 2003). A refit runs from the previous fit and stays with
it unless a fresh start is clearly better: names should not depend on which of two equal hills was climbed today.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.risk.regimes.kernel import forward
from tradewind.risk.regimes.settings import RegimesSection

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_STAY, _LEAVE = 9.0, 1.0
"""Prior transitions out of each state: stays, and switches shared by the other states."""
_TOLERANCE = 1e-4
"""Gain in log likelihood per row below which a fit has converged."""
_SHORT = 15
"""Iterations after which fresh starts are compared."""
_CLEARLY = 0.05
"""Gain in log likelihood per row for which a refit leaves the previous fit's hill."""
_MOST_MISSING = 1 / 3
"""Share of missing rows above which a column is left out of a fit."""
_DEPENDENT = 1e-8
"""Smallest eigenvalue of the window's correlations above which its columns are independent."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model: ``S`` states over the ``k`` columns of the observations that it could use.

    Attributes
    ----------
    columns
        Which columns of the observations it reads, ``(k,)``.
    center, scale
        Mean and deviation of those columns over the window, ``(k,)``; everything below is in these units.
    start, transition
        Probabilities of the first state ``(S,)`` and from row to column ``(S, S)``.
    mean, covariance
        Of each state, ``(S, k)`` and ``(S, k, k)``.
    one_mean, one_covariance
        Of the window as a whole: the one-state model it is compared with, ``(k,)`` and ``(k, k)``.
    lead
        Place of the market's return among ``columns``.
    rows, iterations
        Complete rows learnt from, and iterations of expectation-maximisation.
    notes
        What had to be left out or regularised.
    log_likelihood
        Of the window, in its own units.
    """

    columns: IntArray
    center: FloatArray
    scale: FloatArray
    start: FloatArray
    transition: FloatArray
    mean: FloatArray
    covariance: FloatArray
    one_mean: FloatArray
    one_covariance: FloatArray
    lead: int
    rows: int
    iterations: int
    notes: tuple[str, ...] = ()
    log_likelihood: float = float("nan")

    @cached_property
    def log_transition(self) -> FloatArray:
        """Return the logarithms of the transition probabilities."""
        return np.log(self.transition)

    def ordered(self, order: IntArray) -> Fit:
        """Return the same model with its states in another order."""
        return replace(
            self,
            start=self.start[order],
            transition=np.ascontiguousarray(self.transition[np.ix_(order, order)]),
            mean=self.mean[order],
            covariance=self.covariance[order],
        )

    def scaled(self, values: FloatArray) -> FloatArray:
        """Return rows of observations ``(B, K)`` in the units of the fit ``(B, k)``; what is not finite is missing."""
        part = (values[:, self.columns] - self.center) / self.scale
        return np.ascontiguousarray(np.where(np.isfinite(part), part, np.nan))

    def initial(self) -> FloatArray:
        """Return the log prediction for a first row."""
        return np.log(self.start)

    def filter(self, values: FloatArray, predicted: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Advance ``predicted`` (in place) over rows; see :func:`~tradewind.risk.regimes.kernel.forward`."""
        return forward(self.scaled(values), predicted, self.log_transition, self.mean, self.covariance, self.lead)

    def one_state(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log density of each row, and of its return alone, under the one-state model."""
        alone = np.zeros((1, 1))
        _, density, leading = forward(
            self.scaled(values), np.zeros(1), alone, self.one_mean[None], self.one_covariance[None], self.lead
        )
        return density, leading


class NoFitError(Exception):
    """A window that gives no model; the message says why."""


def fit_window(window: FloatArray, names: Sequence[str], settings: RegimesSection, previous: Fit | None = None) -> Fit:
    """Return the model of a window of observations ``(n, K)``, NaN for missing.

    Constant and mostly missing columns are left out and noted; incomplete rows are not learnt from, and what they
    interrupt is learnt from in parts.

    Raises
    ------
    NoFitError
        For a return that does not vary, fewer complete rows than parameters, or a fit that does not converge.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    finite = np.where(np.isfinite(window), window, np.nan)
    columns, notes = _usable(finite, names)
    lead = int(np.flatnonzero(columns == names.index("return"))[0])
    part = finite[:, columns]
    complete: BoolArray = np.asarray(np.isfinite(part).all(axis=1))
    rows, needed = int(complete.sum()), parameters(settings.states, len(columns), settings.covariance)
    if rows < needed:
        raise NoFitError(f"{rows} complete sessions cannot determine {needed} parameters")
    used = [names[c] for c in columns.tolist()]
    center, scale = part[complete].mean(axis=0), part[complete].std(axis=0)
    scaled = (part[complete] - center) / scale
    notes += _dependence(scaled, used)
    one = np.atleast_2d(np.cov(scaled.T, bias=True)) + np.eye(len(columns)) / rows
    template = Fit(
        columns, center, scale, *_cut(scaled, used, settings.states), np.zeros(len(columns)), one, lead, rows, 0, notes
    )
    climb = _Climb(scaled, _lengths(complete), settings)
    carried = None if previous is None else _carried(previous, template)
    with threadpool_limits(1, "blas"):  # matrices are tiny: on a busy machine BLAS threads wait twenty times the work
        return _fresh(template, climb) if carried is None else _refit(carried, template, climb)


def parameters(states: int, columns: int, covariance: str) -> int:
    """Return how many free parameters a model has."""
    spread = columns * (columns + 1) // 2 if covariance == "full" else columns
    return states * (columns + spread) + states * (states - 1) + states - 1


def _usable(finite: FloatArray, names: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Return the columns that vary and are mostly there, with a note for each other one."""
    known = np.isfinite(finite)
    missing = 1.0 - known.mean(axis=0)
    kept: list[int] = []
    notes: list[str] = []
    for column, name in enumerate(names):
        own = finite[known[:, column], column]
        if missing[column] > _MOST_MISSING:
            notes.append(f"{name!r} left out: it is missing in more than {_MOST_MISSING:.0%} of the window")
        elif float(np.ptp(own)) <= 1e-9 * float(np.max(np.abs(own))):
            notes.append(f"{name!r} left out: it does not vary in the window")
        else:
            kept.append(column)
    if names.index("return") not in kept:
        raise NoFitError(next(n for n in notes if n.startswith("'return'")))
    return np.array(kept, dtype=np.int64), tuple(notes)


def _dependence(scaled: FloatArray, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note that names the columns which determine each other, if any do."""
    value, vector = np.linalg.eigh(np.atleast_2d(scaled.T @ scaled) / len(scaled))
    if value[0] > _DEPENDENT:
        return ()
    involved = [names[i] for i in np.flatnonzero(np.abs(vector[:, 0]) > 0.1).tolist()]
    return (f"the covariance is singular ({', '.join(involved)} determine each other) and was regularised",)


def _cut(
    scaled: FloatArray, names: Sequence[str], states: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return a first guess: the most turbulent rows are one state, the others are cut by drift."""
    count = len(scaled)
    turbulence = _column(scaled, names, "volatility")
    drift = _column(scaled, names, "momentum")
    returns = scaled[:, list(names).index("return")]
    turbulence = _ewma(np.abs(returns)) if turbulence is None else turbulence
    drift = _ewma(returns) if drift is None else drift
    wild = np.argsort(np.argsort(turbulence)) >= count - count // states
    calm = np.flatnonzero(~wild)
    parts = [np.flatnonzero(wild), *np.array_split(calm[np.argsort(drift[calm], kind="stable")], states - 1)]
    return _emissions(scaled, parts)


def _emissions(scaled: FloatArray, parts: Sequence[IntArray]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return first parameters for states that are these rows: start, transition, mean, covariance."""
    states, prior = len(parts), np.eye(scaled.shape[1])
    mean = np.array([scaled[p].mean(axis=0) for p in parts])
    spread = [np.atleast_2d(np.cov(scaled[p].T, bias=True)) for p in parts]
    covariance = np.array([s + prior / len(p) for s, p in zip(spread, parts, strict=True)])
    transition = np.full((states, states), 0.1 / (states - 1))
    np.fill_diagonal(transition, 0.9)
    return np.full(states, 1.0 / states), transition, mean, covariance


def _column(scaled: FloatArray, names: Sequence[str], name: str) -> FloatArray | None:
    return scaled[:, list(names).index(name)] if name in names else None


def _ewma(values: FloatArray, decay: float = 0.9) -> FloatArray:
    from scipy.signal import lfilter

    weighted = lfilter([1.0 - decay], [1.0, -decay], values)
    return np.asarray(weighted / (1.0 - decay ** np.arange(1, len(values) + 1)))


def _carried(previous: Fit, fresh: Fit) -> Fit | None:
    """Return the previous fit in the units of the new window; None where it read other columns."""
    if not np.array_equal(previous.columns, fresh.columns):
        return None
    stretch = previous.scale / fresh.scale
    return replace(
        fresh,
        start=previous.start,
        transition=previous.transition,
        mean=(previous.center + previous.mean * previous.scale - fresh.center) / fresh.scale,
        covariance=previous.covariance * np.outer(stretch, stretch),
    )


def _lengths(complete: BoolArray) -> list[int]:
    """Return the lengths of the runs of complete rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], complete.astype(np.int8), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@dataclass(frozen=True, eq=False)
class _Climb:
    """What every run of expectation-maximisation on one window shares: rows, lengths of their runs, settings."""

    scaled: FloatArray
    lengths: list[int]
    settings: RegimesSection


def _fresh(template: Fit, climb: _Climb) -> Fit:
    """Return the fit from the fresh start that looks best after a few iterations; the next best where it fails."""
    why = "no start led anywhere"
    for start, _ in _promising(template, climb):
        try:
            return _maximised(start, climb)
        except NoFitError as error:
            why = str(error)
    raise NoFitError(why)


def _refit(carried: Fit, template: Fit, climb: _Climb) -> Fit:
    """Return the fit from the previous one, or from a fresh start where that is clearly better."""
    try:
        stayed = _maximised(carried, climb)
    except NoFitError:
        return _fresh(template, climb)
    for start, value in _promising(template, climb)[:1]:
        if value > stayed.log_likelihood + _CLEARLY * stayed.rows:
            try:
                return _maximised(start, climb)
            except NoFitError:
                break
    return stayed


def _promising(template: Fit, climb: _Climb) -> list[tuple[Fit, float]]:
    """Return fresh starts after a few iterations with their log likelihood, the best first."""
    found = []
    for start in (template, *_clustered(template, climb)):
        try:
            model, monitor = _run(start, climb, min(_SHORT, climb.settings.iterations_max))
        except NoFitError:
            continue
        found.append((model, monitor.last))
    return sorted(found, key=lambda pair: -pair[1])


def _clustered(template: Fit, climb: _Climb) -> list[Fit]:
    """Return starts from k-means clusters of seeded draws; a draw that leaves a cluster empty is dropped."""
    generator = np.random.default_rng(climb.settings.seed)
    found = []
    for _ in range(climb.settings.starts - 1):
        cluster = _k_means(climb.scaled, climb.settings.states, generator)
        parts = [np.flatnonzero(cluster == s) for s in range(climb.settings.states)]
        if all(len(p) for p in parts):
            start, transition, mean, covariance = _emissions(climb.scaled, parts)
            found.append(replace(template, start=start, transition=transition, mean=mean, covariance=covariance))
    return found


def _k_means(scaled: FloatArray, clusters: int, generator: np.random.Generator) -> IntArray:
    """Return the cluster of each row (Lloyd 1982), from rows drawn far apart (Arthur & Vassilvitskii 2007)."""
    centers = scaled[[generator.integers(len(scaled))]]
    while len(centers) < clusters:
        nearest = _squared_distances(scaled, centers).min(axis=1)
        total = nearest.sum()
        share = nearest / total if total > 0 else np.full(len(scaled), 1.0 / len(scaled))
        centers = np.vstack([centers, scaled[generator.choice(len(scaled), p=share)]])
    cluster = _squared_distances(scaled, centers).argmin(axis=1)
    for _ in range(20):
        centers = np.array(
            [scaled[cluster == c].mean(axis=0) if (cluster == c).any() else centers[c] for c in range(clusters)]
        )
        cluster = _squared_distances(scaled, centers).argmin(axis=1)
    return cluster


def _squared_distances(rows: FloatArray, centers: FloatArray) -> FloatArray:
    return np.asarray(((rows[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2))


def _maximised(start: Fit, climb: _Climb) -> Fit:
    """Run expectation-maximisation until it has converged, or refuse its result."""
    found, monitor = _run(start, climb, climb.settings.iterations_max)
    if not monitor.settled:
        raise NoFitError(f"no convergence in {monitor.iter} iterations, the last gained {monitor.gain:.3g} nats")
    return found


def _run(start: Fit, climb: _Climb, iterations: int) -> tuple[Fit, _Monitor]:
    """Run at most so many iterations; refuse what is not finite."""
    model = _model(start, climb.settings)
    model.monitor_ = monitor = _Monitor(iterations, _TOLERANCE * len(climb.scaled))
    try:
        model.fit(climb.scaled, climb.lengths)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise NoFitError(f"the fit broke down: {error}") from error
    learnt = (model.startprob_, model.transmat_, model.means_, np.ascontiguousarray(model.covars_))
    if not all(np.isfinite(values).all() for values in learnt):
        raise NoFitError("the fit broke down: its parameters are not finite")
    first, transition, mean, covariance = learnt
    found = replace(start, start=first, transition=transition, mean=mean, covariance=covariance)
    return replace(found, iterations=monitor.iter, log_likelihood=monitor.last), monitor


def _model(start: Fit, settings: RegimesSection) -> Any:
    """Return hmmlearn's model with the priors of this module and these first parameters."""
    from hmmlearn.hmm import GaussianHMM

    states, width = start.mean.shape
    full = settings.covariance == "full"
    model = GaussianHMM(
        states,
        settings.covariance,
        init_params="",
        startprob_prior=2.0,
        transmat_prior=1.0 + _prior_transitions(states),
        means_weight=1.0,
        covars_prior=np.eye(width) if full else 1.0,
        covars_weight=width + 1.0 if full else 2.0,  # less what hmmlearn takes off again: one row
        n_iter=settings.iterations_max,
    )
    model.n_features = width
    model.startprob_, model.transmat_, model.means_ = start.start, start.transition, start.mean
    model.covars_ = start.covariance if full else np.diagonal(start.covariance, axis1=1, axis2=2)
    return model


def _prior_transitions(states: int) -> FloatArray:
    prior = np.full((states, states), _LEAVE / (states - 1))
    np.fill_diagonal(prior, _STAY)
    return prior


class _Monitor:
    """Stops a fit that has settled; unlike hmmlearn's own it does not take the last iteration for convergence.

    The likelihood may fall a little: what rises is the posterior, which counts the priors.
    """

    def __init__(self, iterations_max: int, tolerance: float) -> None:
        self.iterations_max, self.tolerance = iterations_max, tolerance
        self._reset()

    def _reset(self) -> None:
        self.iter, self.last, self.gain = 0, float("nan"), float("inf")

    def report(self, log_likelihood: float) -> None:
        """Take note of one iteration."""
        if self.iter:
            self.gain = log_likelihood - self.last
        self.last = log_likelihood
        self.iter += 1

    @property
    def settled(self) -> bool:
        """Whether the last iteration changed next to nothing."""
        return bool(abs(self.gain) < self.tolerance)

    @property
    def converged(self) -> bool:
        """Whether to stop."""
        return self.settled or self.iter >= self.iterations_max
