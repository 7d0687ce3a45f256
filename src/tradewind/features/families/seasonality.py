"""Events that recur: companies report about every 63 bars, so big moves come back about then.

For a horizon of ``h`` bars, each feature looks where ``t+1 … t+h`` was 63, 126 or 252 bars earlier, a few bars of
slack to either side, and takes the largest abnormal move (or volume) there. All of it is past at the bar.
"""

from __future__ import annotations

from tradewind.features.expression import (
    LOG_CLOSE,
    RETURN,
    VOLUME,
    Expr,
    bars_since,
    delta,
    highest,
    lag,
    log,
    maximum,
    mean,
    positive,
    zscore,
)
from tradewind.features.families.volatility import EWMA_21
from tradewind.features.spec import Family

FAMILY = Family("seasonality", "own construction: abnormal moves recur with the quarterly reports")
_add = FAMILY.add
_SIGMA = "standard deviations"

_MOVE = abs(RETURN) / lag(EWMA_21, 1)
_CROWD = zscore(log(VOLUME), 63)
_SCORE = _MOVE + maximum(_CROWD, 0.0)


def _around(x: Expr, horizon: int, quarters: int) -> Expr:
    slack = 2 if quarters == 1 else 3
    return lag(highest(x, horizon + 2 * slack), 63 * quarters - horizon - slack)


for _horizon in (1, 5, 20):
    for _quarters in (1, 2, 4):
        _when = f"where the next {_horizon} bars were {63 * _quarters} bars ago"
        _add(
            f"event_move_{63 * _quarters}_h{_horizon}",
            _around(_MOVE, _horizon, _quarters),
            _SIGMA,
            f"Largest abnormal move {_when}",
            "Frazzini and Lamont 2007",
        )
        _add(
            f"event_volume_{63 * _quarters}_h{_horizon}",
            _around(_CROWD, _horizon, _quarters),
            _SIGMA,
            f"Largest abnormal volume {_when}",
            "Frazzini and Lamont 2007",
        )
    _add(
        f"event_due_h{_horizon}",
        (_around(_SCORE, _horizon, 1) + _around(_SCORE, _horizon, 2) + _around(_SCORE, _horizon, 4)) / 3.0,
        _SIGMA,
        f"Mean over a quarter, two and four of the largest move plus volume, horizon {_horizon}",
    )

_ABNORMAL = positive(_MOVE - 3.0)
_add("bars_since_abnormal", bars_since(_ABNORMAL), "bars", "Bars since the last move beyond 3 deviations")
_add("abnormal_share_63", mean(_ABNORMAL, 63), "0..1", "Share of the last 63 bars beyond 3 deviations")
_add(
    "seasonal_return_252",
    lag(delta(LOG_CLOSE, 20), 232),
    "log return",
    "Return of the same 20 bars a year ago, the ones that lie ahead",
    "Heston and Sadka 2008",
)
