"""The section ``[optimiser]`` of a playbook: what the book is chosen for, and within which limits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tradewind.portfolio.settings import LimitsSection
from tradewind.settings import Section

Objective = Literal["max_sharpe", "mean_variance", "min_variance", "min_cvar", "risk_parity", "hierarchical"]


class OptimiserSection(Section):
    """How target weights are chosen together. Weights are fractions of equity, positive for long.

    ``use`` puts the optimiser after the sizing steps, whose weights then only say which signals open something.
    """

    use: bool = Field(False, description="a back-test's targets come from the optimiser, not from the sizing steps")
    among: Literal["signals", "universe"] = Field(
        "signals",
        description="signals: only what the rule opens or the book holds already, until the rule closes it; universe: "
        "every tradable name with a forecast",
    )
    objective: Objective = Field(
        "max_sharpe",
        description="max_sharpe and mean_variance weigh return against risk; the others look at risk alone",
    )
    risk_aversion: float = Field(
        5.0, gt=0, le=1000, description="what a unit of variance costs in mean_variance, twice; of the equilibrium too"
    )
    views: Literal["black_litterman", "entropy_pooling", "none"] = Field(
        "black_litterman", description="how forecasts meet the prior; none: they are taken as they stand"
    )
    prior: Literal["zero", "equilibrium"] = Field(
        "zero", description="expected returns before any forecast; equilibrium: those that make equal weights optimal"
    )
    tau: float = Field(0.05, gt=0, le=1, description="variance of an expected return as a share of the return's own")
    long_only: bool = Field(True, description="no weight below zero")
    position_max: float | None = Field(
        None, gt=0, le=1, description="largest absolute weight of one name; none: that of [limits]"
    )
    gross_max: float | None = Field(
        None, gt=0, le=4, description="largest sum of absolute weights; none: that of [limits]"
    )
    sector_max: float | None = Field(
        None, gt=0, le=4, description="largest sum of absolute weights in one sector; none: that of [limits]"
    )
    sector_net_max: float | None = Field(
        None, ge=0, le=4, description="largest long less short in one sector, either way; none: no limit"
    )
    net_min: float | None = Field(
        None, ge=-4, le=4, description="least long less short; none: 0, or what the limits hold where risk alone counts"
    )
    net_max: float = Field(1.0, ge=-4, le=4, description="largest long less short")
    beta_min: float | None = Field(None, ge=-4, le=4, description="least beta of the book; none: no limit")
    beta_max: float | None = Field(None, ge=-4, le=4, description="largest beta of the book; none: no limit")
    pairwise_correlation_max: float | None = Field(
        0.7, gt=0, lt=1, description="two names correlated above this share one limit, pair_max; none: no limit"
    )
    pair_max: float | None = Field(
        None, gt=0, le=2, description="largest weight of such a pair together; none: position_max"
    )
    graph_correlation_min: float | None = Field(
        None, gt=0, lt=1, description="names correlated above this are neighbours in a graph; none: no graph"
    )
    graph_scope: Literal["component", "neighbourhood"] = Field(
        "component", description="what graph_max holds for: connected components, or each name with its neighbours"
    )
    graph_max: float = Field(
        0.5, gt=0, le=4, description="largest sum of absolute weights in one such part of the graph"
    )
    turnover_max: float | None = Field(
        None, ge=0, le=8, description="largest sum of absolute changes of weight; none: no limit"
    )
    cost_bps: float | None = Field(
        None, ge=0, le=1000, description="cost of a trade, basis points of what is traded; none: that of [execution]"
    )
    uncertainty_kappa: float = Field(
        0.0, ge=0, le=10, description="radius of the ellipsoid that expected returns may lie in, deviations; 0: a point"
    )
    volatility_max: float | None = Field(
        None, gt=0, le=4, description="largest annual volatility of the book; none: no limit"
    )
    cvar_level: float = Field(0.95, gt=0.5, lt=1, description="confidence of the conditional value at risk")
    every_bars: int = Field(5, ge=1, le=10_000, description="bars between two optimisations")
    drift_trigger: float = Field(
        0.05, gt=0, le=1, description="optimise before that where a weight has drifted so far from its target"
    )
    frontier_points: int = Field(20, ge=2, le=200, description="points of the efficient frontier that are shown")

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for low, high in (("net_min", "net_max"), ("beta_min", "beta_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} = {least} is above {high} = {most}")
        return self

    def within(self, limits: LimitsSection, *, cost_bps: float, short_allowed: bool) -> OptimiserSection:
        """Return these settings inside the limits of a playbook: the tighter of two wins, what is open is filled.

        What orders are checked for afterwards is so known to the optimiser: nothing it wants is cut down later.
        ``correlation_max`` of the limits, which is about a name with all that are like it, becomes the graph's
        neighbourhoods where the optimiser has no graph of its own.
        """
        changes: dict[str, object] = {
            "position_max": _tighter(self.position_max, limits.position_max),
            "gross_max": _tighter(self.gross_max, limits.gross_max),
            "sector_max": _tighter(self.sector_max, limits.sector_max),
            "net_max": _tighter(self.net_max, limits.net_max),
            "cost_bps": cost_bps if self.cost_bps is None else self.cost_bps,
            "long_only": self.long_only or not short_allowed,
        }
        if limits.beta_max is not None:
            changes["beta_max"] = _tighter(self.beta_max, limits.beta_max)
            changes["beta_min"] = max(-limits.beta_max, -limits.beta_max if self.beta_min is None else self.beta_min)
        if limits.correlation_max is not None and self.graph_correlation_min is None:
            changes |= {"graph_correlation_min": limits.correlation_max, "graph_scope": "neighbourhood"}
            changes["graph_max"] = limits.correlated_max or changes["position_max"]
        return self.model_copy(update=changes)

    @property
    def risk_alone(self) -> bool:
        """Whether the objective looks at risk alone, so that it would hold nothing if it were let."""
        return self.objective not in ("max_sharpe", "mean_variance")


def _tighter(own: float | None, limit: float | None) -> float | None:
    known = [value for value in (own, limit) if value is not None]
    return min(known, default=None)
