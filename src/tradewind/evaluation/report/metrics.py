"""What every figure is called, how it is written, and the formula shown when one points at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.evaluation.report.formats import Format, count, decimal, money, p_value, percent, probability

RETURNS, TRADES = "bars", "trades"
"""Keys of the track record that hold the sample sizes."""


@dataclass(frozen=True)
class Figure:
    """One figure of the track record.

    Attributes
    ----------
    label, how
        Its name for people and the format of its value.
    sample
        Key of the track record that holds its sample size.
    formula
        Its formula, where the registry of metrics has none under ``registered`` (or the key itself).
    """

    label: str
    how: Format
    sample: str = RETURNS
    formula: str = ""
    registered: str = ""


FIGURES: dict[str, Figure] = {
    "annual_return": Figure("Annual return, net", percent(1, signed=True)),
    "total_return": Figure("Total return, net", percent(1, signed=True)),
    "volatility": Figure("Volatility, annual", percent(1)),
    "sharpe": Figure("Sharpe ratio", decimal(2)),
    "probabilistic_sharpe": Figure(
        "Probabilistic Sharpe ratio",
        probability,
        formula="P(true Sharpe > 0), skewness and kurtosis accounted for (Bailey & López de Prado 2012)",
    ),
    "deflated_sharpe": Figure(
        "Deflated Sharpe ratio",
        probability,
        formula="P(true Sharpe > the best expected of so many lucky trials) (Bailey & López de Prado 2014)",
    ),
    "minimum_detectable_sharpe": Figure(
        "Smallest Sharpe this sample detects",
        decimal(2),
        formula="the true Sharpe that so many bars tell from zero at the 5 % level with 80 % power",
    ),
    "pbo": Figure(
        "Probability of overfitting (PBO)",
        percent(1),
        sample="trials",
        formula="share of combinatorial splits in which the best configuration in-sample falls below the median "
        "out-of-sample (Bailey et al. 2017)",
    ),
    "trials": Figure(
        "Trials counted", count, sample="trials", formula="configurations of this lineage looked at, this one included"
    ),
    "sortino": Figure("Sortino ratio", decimal(2)),
    "calmar": Figure("Calmar ratio", decimal(2)),
    "max_drawdown": Figure("Maximum drawdown", percent(1)),
    "max_drawdown_bars": Figure("Longest time under water, bars", count),
    "baseline_sharpe": Figure(
        "Sharpe of holding everything",
        decimal(2),
        registered="sharpe",
    ),
    "trades": Figure(
        "Trades", count, sample=TRADES, formula="positions from flat to flat, those open at the end at their last close"
    ),
    "open_trades": Figure("Open at the end", count, formula="positions still held, valued at their last close"),
    "win_rate": Figure("Win rate", percent(1), sample=TRADES),
    "profit_factor": Figure("Profit factor", decimal(2), sample=TRADES),
    "average_holding_bars": Figure("Average holding, bars", decimal(1), sample=TRADES, registered="average_holding"),
    "turnover": Figure("Turnover, a year", decimal(1)),
    "exposure": Figure("Average gross exposure", percent(1)),
    "share_of_bars_invested": Figure(
        "Bars with a position", percent(1), formula="bars after whose close anything was held / all bars"
    ),
    "longest_flat_bars": Figure(
        "Longest time in cash, bars", count, formula="most bars in a row after whose close nothing was held"
    ),
    "final_equity": Figure("Final equity", money, formula="cash plus positions at their last close"),
    "capacity": Figure(
        "Capacity, start capital",
        money,
        sample=TRADES,
        formula="start capital at which one fill in twenty would reach the largest share of a bar's volume allowed",
    ),
    "ambiguous_bars": Figure(
        "Bars that held stop and target",
        count,
        formula="bars in which both barriers of a position lay; each was resolved against us",
    ),
}

SCORES: dict[str, tuple[str, Format]] = {
    "pinball": ("Pinball loss", decimal(5)),
    "pinball_skill": ("Skill against naive", percent(1)),
    "dm_p": ("p", p_value),
    "confidence_set_p": ("Best set p", p_value),
    "crps": ("CRPS", decimal(5)),
    "coverage_80": ("80 % held", percent(1)),
    "ic": ("IC", decimal(3)),
    "rank_ic": ("Rank IC", decimal(3)),
    "rank_ic_t": ("t", decimal(1)),
    "icir": ("ICIR", decimal(2)),
    "directional_accuracy": ("Direction right", percent(1)),
}
"""Scores of a forecast: heading and format, in the order of the table."""

FORECAST_FORMULAS = {
    "pinball": "mean over quantile levels p of max(p·e, (p − 1)·e), e = outcome − quantile; log returns",
    "pinball_skill": "1 − own pinball loss / the naive forecast's, on the dates both forecast",
    "crps": "continuous ranked probability score: twice the pinball loss over all levels; log returns",
    "confidence_set_p": "model confidence set (Hansen, Lunde & Nason 2011): above 0.10 it may be the best of all",
    "coverage_80": "share of outcomes between the 10 % and the 90 % quantile",
    "dm_p": "Diebold–Mariano on date means, HAC variance as long as the horizon; chance of so large a gain by luck",
    "rank_ic_t": "mean / HAC standard error of the rank IC by date, as long as the horizon",
    "coverage": "share of outcomes inside the central interval, all symbols and dates alike",
}


def formula(name: str) -> str:
    """Return the formula of a figure of the track record or of a forecast score."""
    from tradewind.evaluation.track_record import formulas

    known = formulas()
    if name in FORECAST_FORMULAS:
        return FORECAST_FORMULAS[name]
    aliases = {"rank_ic": "rank_information_coefficient", "ic": "information_coefficient"}
    figure = FIGURES.get(name)
    key = aliases.get(name, name) if figure is None else figure.registered or name
    return known.get(key, "") if figure is None or not figure.formula else figure.formula


def explained(name: str, n: Any) -> str:
    """Return formula and sample size of a figure, for its hover."""
    said = formula(name)
    size = f"n = {int(n):,}" if isinstance(n, int | float) else "sample size not recorded"
    return f"{said}; {size}" if said else size


def sample_size(name: str, record: Mapping[str, Any]) -> Any:
    """Return the sample size of a figure of the track record."""
    return record.get(FIGURES[name].sample)
