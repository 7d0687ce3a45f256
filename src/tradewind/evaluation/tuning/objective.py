"""What a search makes better, over the inner test blocks so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.account import trade_alone
from tradewind.evaluation.corridor import World
from tradewind.evaluation.track_record import book_returns, periods_per_year
from tradewind.models.forecast import Forecast
from tradewind.stats.losses import level_weights, pinball
from tradewind.stats.metrics import performance
from tradewind.stats.metrics.skill import correlations_by_date

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a trial has forecast: calibrated out-of-sample forecasts, the naive ones beside them."""

    world: World
    forecast: Forecast
    naive: Forecast
    members: Mapping[str, Forecast] = field(default_factory=dict)


def relative_pinball(seen: Seen) -> float:
    """Return the mean over horizons of the pinball loss in units of the naive forecast's."""
    return _relative(seen, lambda levels: np.full(len(levels), 1.0 / len(levels)))


def relative_crps(seen: Seen) -> float:
    """Return the mean over horizons of the ranked probability score in units of the naive forecast's."""
    return _relative(seen, lambda levels: 2.0 * level_weights(levels))


def _relative(seen: Seen, weights: Callable[[tuple[float, ...]], Array]) -> float:
    """Return the mean ratio; where the model has no forecast the naive one's loss counts: abstaining saves nothing."""
    ratios = []
    for index, _ in enumerate(seen.forecast.horizons):
        outcome = seen.world.labels.returns[:, :, index]
        own, naive = (_loss(f, outcome, index, weights(f.levels)) for f in (seen.forecast, seen.naive))
        own = np.where(np.isfinite(own), own, naive)
        if not np.isfinite(naive).any():
            raise DataError(
                f"no forecast over {seen.forecast.horizons[index]} bars has come due in the inner test blocks",
                hint="a longer search needs more bars before the test: raise evaluation.min_train_bars",
            )
        ratios.append(_mean_of_dates(own) / _mean_of_dates(naive))
    return float(np.mean(ratios))


def _loss(forecast: Forecast, outcome: Array, index: int, weights: Array) -> Array:
    return np.asarray(pinball(outcome, forecast.quantiles[:, :, index], forecast.levels) @ weights)


def rank_correlation(seen: Seen) -> float:
    """Return the mean over dates and horizons of the rank correlation of scores with returns."""
    rows = [
        correlations_by_date(seen.forecast.score[:, :, index], seen.world.labels.returns[:, :, index], ranks=True)
        for index, _ in enumerate(seen.forecast.horizons)
    ]
    known = [row[np.isfinite(row)] for row in rows]
    if not all(len(row) for row in known):
        raise DataError("no date has symbols to rank", hint="rank_ic wants several symbols; use another tune.objective")
    return float(np.mean([row.mean() for row in known]))


def sharpe(seen: Seen) -> float:
    """Return the Sharpe ratio per year, net, of the book traded on the forecasts; NaN where nothing was traded."""
    _, signals, targets = corridor.act(seen.world, seen.forecast, seen.members)
    start = corridor.first_forecast_row(seen.forecast)
    stop = int(np.flatnonzero(seen.forecast.available.any(axis=(1, 2)))[-1]) + 1
    simulation = trade_alone(seen.world, signals, targets, seen.world.plan.execution, start=start)
    returns = book_returns(simulation, start)[: stop - start]
    return float(performance.sharpe(returns, periods_per_year=periods_per_year(seen.world.panel.timeframe)).value)


def traded_sharpe(seen: Seen) -> float:
    """Return the Sharpe ratio; raises ``DataError`` for a book that never traded."""
    value = sharpe(seen)
    if not np.isfinite(value):
        raise DataError("nothing was traded in the inner test blocks: there is no book to judge")
    return value


@dataclass(frozen=True)
class Objective:
    """How a trial is judged, and which way is better."""

    measure: Callable[[Seen], float]
    lower_is_better: bool

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """``minimize`` or ``maximize``."""
        return "minimize" if self.lower_is_better else "maximize"


OBJECTIVES = {
    "pinball": Objective(relative_pinball, lower_is_better=True),
    "crps": Objective(relative_crps, lower_is_better=True),
    "rank_ic": Objective(rank_correlation, lower_is_better=False),
    "sharpe": Objective(traded_sharpe, lower_is_better=False),
}


def _mean_of_dates(loss: Array) -> float:
    count = np.isfinite(loss).sum(axis=1)
    by_date = np.where(count > 0, np.nansum(loss, axis=1) / np.maximum(count, 1), np.nan)
    return float(np.nanmean(by_date))
