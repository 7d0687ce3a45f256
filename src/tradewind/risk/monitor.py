"""What a desk knows of each name's risk: covariance, beta and volume, a fold over bars and sessions.

Covariances and betas are of close-to-close total returns over sessions, so that a desk on five-minute bars and one on
daily bars know the same. The market is the index where the source has one, else the mean of the universe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.risk import beta as slopes
from tradewind.risk import covariance as ewma
from tradewind.risk.settings import RiskSection

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_COVARIANCE, _BETA = "covariance_", "beta_"


@dataclass(frozen=True, eq=False)
class MonitorState:
    """Between two bars.

    Attributes
    ----------
    last, last_market
        Total-return closes of the last session's end, ``(N,)``, and the index's close.
    traded
        ``(N,)`` value traded since the session began; ``volumes`` ``(n, N)`` that of the last sessions.
    covariance, beta
        Sums over sessions; of nobody where no limit asks.
    """

    last: FloatArray
    last_market: float
    traded: FloatArray
    volumes: FloatArray
    covariance: ewma.CovarianceState
    beta: slopes.BetaState

    def arrays(self) -> dict[str, Any]:
        """Return everything by name, as arrays and numbers that can be kept."""
        own = {name: getattr(self, name) for name in ("last", "last_market", "traded", "volumes")}
        return own | _told(_COVARIANCE, self.covariance) | _told(_BETA, self.beta)

    @classmethod
    def of(cls, kept: Mapping[str, NDArray[Any]]) -> MonitorState:
        """Return the state that :meth:`arrays` told."""
        covariance = ewma.CovarianceState(**_kept(_COVARIANCE, ewma.CovarianceState, kept))
        beta = slopes.BetaState(**_kept(_BETA, slopes.BetaState, kept))
        return cls(kept["last"], float(kept["last_market"]), kept["traded"], kept["volumes"], covariance, beta)

    def copy(self) -> MonitorState:
        """Return a state of its own: the sums are changed in place."""
        return replace(self, covariance=self.covariance.copy())


def _told(prefix: str, state: ewma.CovarianceState | slopes.BetaState) -> dict[str, Any]:
    return {f"{prefix}{f.name}": getattr(state, f.name) for f in fields(state)}


def _kept(prefix: str, kind: type[Any], kept: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    parts: dict[str, Any] = {f.name: kept[f"{prefix}{f.name}"] for f in fields(kind)}
    return parts | {"decay": float(parts["decay"]), "bars": int(parts["bars"])}


@dataclass(frozen=True, eq=False)
class Exposure:
    """What limits must know of the market at a close, by symbol; all of it known then.

    Attributes
    ----------
    daily_value
        ``(N,)`` mean value traded in a session, in currency; NaN where unknown.
    borrowable
        ``(N,)`` whether a short may be opened.
    beta, covariance
        Of one session, ``(N,)`` and ``(N, N)``, NaN where not known yet; None where nobody asks.
    """

    daily_value: FloatArray
    borrowable: BoolArray
    beta: FloatArray | None = None
    covariance: FloatArray | None = None


@dataclass(frozen=True)
class Monitor:
    """How risk is followed.

    Attributes
    ----------
    volume_sessions
        Sessions that the mean volume is taken over.
    measures
        Whether covariances are kept: they cost time that a desk without limits on them does not need to spend.
    """

    settings: RiskSection
    volume_sessions: int
    symbols: int
    measures: bool

    def open(self) -> MonitorState:
        """Return the state before the first bar."""
        count = self.symbols if self.measures else 0
        return MonitorState(
            last=np.full(self.symbols, np.nan),
            last_market=np.nan,
            traded=np.full(self.symbols, np.nan),
            volumes=np.empty((0, self.symbols)),
            covariance=ewma.initial_state(count, self.settings.half_life_sessions),
            beta=slopes.initial_state(count, self.settings.half_life_sessions),
        )

    def traded(self, state: MonitorState, value: FloatArray, *, ended: bool) -> MonitorState:
        """Take in the value traded in a bar ``(N,)``, NaN where there is none; a session without trades is 0."""
        total = np.where(np.isnan(value), state.traded, np.nan_to_num(state.traded) + np.nan_to_num(value))
        if not ended:
            return replace(state, traded=total)
        volumes = np.concatenate([state.volumes, total[None, :]])[-self.volume_sessions :]
        return replace(state, traded=np.full(self.symbols, np.nan), volumes=volumes)

    def session(self, state: MonitorState, adjusted: FloatArray, market: float) -> MonitorState:
        """Take in total-return closes ``(N,)`` and the index's at a session's end, NaN for none; uses ``state`` up."""
        if self.measures:
            with np.errstate(invalid="ignore", divide="ignore"):
                returns = np.log(adjusted / state.last)
                index = float(np.log(market / state.last_market))
            known = returns[np.isfinite(returns)]
            if not np.isfinite(index) and not np.isfinite(market) and known.size:
                index = float(known.mean())
            row = returns[None, :]
            state = replace(
                state,
                covariance=ewma.step(state.covariance, row, in_place=True),
                beta=slopes.step(state.beta, row, np.array([index])),
            )
        last = np.where(np.isfinite(adjusted), adjusted, state.last)
        return replace(state, last=last, last_market=market if np.isfinite(market) else state.last_market)

    def exposure(self, state: MonitorState, borrowable: BoolArray, *, wanted: bool) -> Exposure:
        """Return what is known now; covariance and beta only where they are wanted."""
        known = np.isfinite(state.volumes)
        seen = np.count_nonzero(known, axis=0)
        total = np.where(known, state.volumes, 0.0).sum(axis=0)
        daily = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
        if not wanted:
            return Exposure(daily, borrowable)
        least = self.settings.warm_up_sessions
        covariance = ewma.covariance(state.covariance, shrinkage=self.settings.shrinkage, least=least)
        return Exposure(daily, borrowable, slopes.betas(state.beta, least=least).shrunk, covariance)
