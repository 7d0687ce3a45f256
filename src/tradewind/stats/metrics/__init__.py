"""Figures of merit of a strategy or a forecast, each with its sample size and its formula.

Returns are simple returns per bar, net of costs; ``periods_per_year`` is the number of bars in a year (252
for daily). A figure that the sample does not define (no trade, no loss, one bar) is NaN, never zero.
"""

from tradewind.stats.metrics.performance import (
    annual_return,
    calmar,
    drawdowns,
    equity_curve,
    expected_shortfall,
    kurtosis,
    max_drawdown,
    max_drawdown_bars,
    positive_bars,
    sharpe,
    skewness,
    sortino,
    total_return,
    value_at_risk,
    volatility,
)
from tradewind.stats.metrics.registry import REGISTRY, Definition, Metric, definition, metric, names, summary
from tradewind.stats.metrics.skill import (
    correlations_by_date,
    directional_accuracy,
    icir,
    information_coefficient,
    rank_information_coefficient,
)
from tradewind.stats.metrics.trades import average_holding, profit_factor, win_loss_ratio, win_rate
from tradewind.stats.metrics.weights import exposure, net_exposure, time_in_market, turnover

__all__ = [
    "REGISTRY",
    "Definition",
    "Metric",
    "annual_return",
    "average_holding",
    "calmar",
    "correlations_by_date",
    "definition",
    "directional_accuracy",
    "drawdowns",
    "equity_curve",
    "expected_shortfall",
    "exposure",
    "icir",
    "information_coefficient",
    "kurtosis",
    "max_drawdown",
    "max_drawdown_bars",
    "metric",
    "names",
    "net_exposure",
    "positive_bars",
    "profit_factor",
    "rank_information_coefficient",
    "sharpe",
    "skewness",
    "sortino",
    "summary",
    "time_in_market",
    "total_return",
    "turnover",
    "value_at_risk",
    "volatility",
    "win_loss_ratio",
    "win_rate",
]
