"""1,453 fits of GARCH with Student-t news to 750 daily returns each, against a plain loop over arch.

CPU seconds on one thread for the ratios, so that a busy machine changes nothing; wall seconds of the whole universe on
one and two threads, and on two processes, beside them. arch fits every twelfth series and is scaled up per fit; both
forecast five bars. The series have the parameters of shares, and a third of them leverage; the forecasts of both are
compared where both found a model that is stationary. ``covariance`` is one bar of 500 symbols, in place.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from tradewind.risk import covariance as covariances
from tradewind.risk.garch import KINDS, Kind, UniverseVolatility, fit_universe

FITS, BARS, HORIZON, EVERY = 1453, 750, 5, 12
SYMBOLS = 500
AIMS = {"arch": 5.0}
LARGEST_DIFFERENCE = 0.01
LARGEST_STEP_MS = 0.6
MEASURED: tuple[Kind, ...] = KINDS


def run() -> dict[str, Any]:
    returns = shares()
    symbols = [f"S{n}" for n in range(FITS)]
    for kind in MEASURED:
        fit_universe(returns[:, :1], symbols[:1], kind, jobs=1)
    made = {kind: timed(lambda kind=kind: fit_universe(returns, symbols, kind, jobs=1)) for kind in MEASURED}
    peers = {kind: arch(returns[:, ::EVERY], kind) for kind in MEASURED}
    ours = {kind: seconds / FITS for kind, (seconds, _) in made.items()}
    ratios = {f"arch_{kind}" if kind != "garch" else "arch": peers[kind][0] / ours[kind] for kind in MEASURED}
    agreed = {kind: agreement(made[kind][1], *peers[kind][1:]) for kind in MEASURED}
    step_ms = one_bar()
    difference = max(agreed[kind]["forecast_difference_at_95_percent"] for kind in ("garch", "gjr"))
    return {
        "name": "garch",
        "ratios": ratios,
        "figures": {
            "fits": FITS,
            "returns_of_a_fit": BARS,
            "milliseconds_per_fit": {kind: seconds * 1e3 for kind, seconds in ours.items()},
            "arch_milliseconds_per_fit": {kind: peers[kind][0] * 1e3 for kind in MEASURED},
            "fell_back": {kind: fallen(made[kind][1]) for kind in MEASURED},
            "agreement": agreed,
            "wall_seconds_of_all": walls(returns, symbols),
            "covariance_milliseconds_per_bar": step_ms,
        },
        "aims": {**AIMS, "forecast_difference": LARGEST_DIFFERENCE, "covariance_milliseconds_per_bar": LARGEST_STEP_MS},
        "met": bool(ratios["arch"] >= AIMS["arch"] and difference <= LARGEST_DIFFERENCE and step_ms <= LARGEST_STEP_MS),
    }


def shares() -> np.ndarray:
    """Returns ``(BARS, FITS)`` of GJR processes, each with its own parameters."""
    draw = np.random.default_rng(4)
    alpha, persistence, nu = draw.uniform(0.03, 0.12, FITS), draw.uniform(0.93, 0.99, FITS), draw.uniform(4, 12, FITS)
    gamma = np.where(np.arange(FITS) % 3 == 0, draw.uniform(0.03, 0.12, FITS), 0.0)
    beta = persistence - alpha - gamma / 2
    v, out = np.ones(FITS), np.empty((BARS + 250, FITS))
    for t in range(len(out)):
        out[t] = np.sqrt(v * (nu - 2) / nu) * draw.standard_t(nu)
        v = 1 - persistence + (alpha + gamma * (out[t] < 0)) * out[t] ** 2 + beta * v
    return draw.uniform(0.008, 0.03, FITS) * out[250:]


def arch(returns: np.ndarray, kind: Kind) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return CPU seconds per fit, log-likelihoods, forecasts ``(n, HORIZON)`` and where the fit is stationary."""
    from arch.univariate import EGARCH, GARCH, StudentsT, ZeroMean

    warnings.simplefilter("ignore")
    values, forecasts, sound = [], [], []
    start = time.process_time()
    for column in returns.T:
        scale = np.sqrt(np.mean(column**2))
        volatility = EGARCH(1, 1, 1) if kind == "egarch" else GARCH(1, int(kind == "gjr"), 1)
        found = ZeroMean(column / scale, volatility=volatility, distribution=StudentsT()).fit(disp="off")
        horizon = 1 if kind == "egarch" else HORIZON
        forecasts.append(scale * np.sqrt(found.forecast(horizon=horizon).variance.to_numpy()[-1]))
        values.append(found.loglikelihood - BARS * np.log(scale))
        kept = found.params.get("alpha[1]", 0) * (kind != "egarch") + found.params["beta[1]"]
        kept += found.params.get("gamma[1]", 0) / 2 * (kind == "gjr")
        sound.append(found.convergence_flag == 0 and kept < 1 - 1e-6)
    seconds = (time.process_time() - start) / returns.shape[1]
    return seconds, np.array(values), np.array(forecasts), np.array(sound)


def agreement(ours: UniverseVolatility, values: np.ndarray, forecasts: np.ndarray, sound: np.ndarray) -> dict[str, Any]:
    fits = ours.fits[::EVERY]
    both = np.array([fit.cause is None for fit in fits]) & sound
    own = np.array([fit.forecast[: forecasts.shape[1]] for fit in fits])[both]
    apart = np.abs(own / forecasts[both] - 1).max(axis=1)
    gained = np.array([fit.log_likelihood for fit in fits])[both] - values[both]
    return {
        "compared": int(both.sum()),
        "of": len(fits),
        "forecast_difference_median": float(np.median(apart)),
        "forecast_difference_at_95_percent": float(np.quantile(apart, 0.95)),
        "forecast_difference_max": float(apart.max()),
        "greater_likelihood_share": {
            "tradewind": float(np.mean(gained > 0.01)),
            "arch": float(np.mean(gained < -0.01)),
        },
    }


def fallen(universe: UniverseVolatility) -> dict[str, float]:
    return {"share": sum(f.cause is not None for f in universe.fits) / FITS} | {
        cause: len(symbols) for cause, symbols in universe.fell_back.items()
    }


def walls(returns: np.ndarray, symbols: list[str]) -> dict[str, float]:
    """Wall seconds of GARCH for all, by engine; processes are warm, as in a second call."""
    from joblib import parallel_config

    spent = {}
    for threads in (1, 2):
        spent[f"threads_{threads}"] = min(
            wall(lambda n=threads: fit_universe(returns, symbols, jobs=n)) for _ in range(2)
        )
    with parallel_config(backend="loky", n_jobs=2):
        spent["processes_2"] = min(wall(lambda: fit_universe(returns, symbols, jobs=2)) for _ in range(2))
    return spent


def one_bar() -> float:
    """Milliseconds of CPU for one more bar of the covariance of 500 symbols."""
    returns = 0.01 * np.random.default_rng(0).standard_normal((200, SYMBOLS))
    state = covariances.step(covariances.initial_state(SYMBOLS, 60.0), returns[:100])
    spent = [timed(lambda t=t: covariances.step(state, returns[t : t + 1], in_place=True))[0] for t in range(100, 200)]
    return float(np.median(spent)) * 1e3


def timed(work: Any) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def wall(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
