"""Playbook sections of the portfolio room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from tradewind.settings import Section

Reaction = Literal["clip", "block", "flatten", "halt"]

CLIPPED = (
    "position_max", "liquidity_max", "sector_max", "correlation_max", "gross_max", "net_max", "beta_max", "var_max",
)  # fmt: skip
"""Limits on what is held: an order can be made smaller until they hold."""

WATCHED = ("drawdown_max", "daily_loss_max")
"""Limits on what has been lost: no order can mend them."""

USUAL_REACTION: Mapping[str, Reaction] = {
    **dict.fromkeys(CLIPPED, "clip"),
    "drawdown_max": "halt",
    "daily_loss_max": "block",
}


class SizingSection(Section):
    """How a signal becomes a target weight: one step after the other, and the last one that changed it is named."""

    risk_per_trade: float = Field(0.02, gt=0, le=0.2, description="equity lost when the stop is hit, fraction")
    kelly_fraction: float | None = Field(
        None, gt=0, le=1, description="cap at this fraction of the Kelly weight; none: no cap"
    )
    kelly_from: Literal["score", "confidence"] = Field(
        "score",
        description="expected return of the Kelly weight: the forecast's own (score), or that at which the forecast "
        "distribution would give the calibrated probability of a profit after costs (confidence)",
    )
    conviction: Literal["none", "confidence"] = Field(
        "none",
        description="confidence: half of the weight at decision.confidence_min, all of it from 0.05 above",
    )
    regime_multipliers: bool = Field(
        False, description="multiply with the regime's share of risk (needs [regimes] use = true)"
    )
    risk_budget: float | None = Field(
        None, gt=0, le=2, description="largest annual volatility that one position may bring, fraction of equity"
    )
    correlation_penalty: bool = Field(
        False,
        description="multiply with 1 - 2 rho within [0.5, 1]; rho: mean correlation with the other names wanted",
    )


class LimitsSection(Section):
    """Limits that no order may break, checked before each and after every bar."""

    position_max: float = Field(0.10, gt=0, le=1, description="largest weight of one symbol, fraction of equity")
    tier_limits: bool = Field(False, description="the price tier's position limit where it is lower")
    gross_max: float = Field(1.0, gt=0, le=4, description="largest sum of absolute weights")
    net_max: float | None = Field(None, gt=0, le=4, description="largest long less short weight; none: no limit")
    sector_max: float | None = Field(None, gt=0, le=4, description="largest weight of one sector; none: no limit")
    beta_max: float | None = Field(
        None, gt=0, le=4, description="largest beta of the book, either sign; none: no limit"
    )
    correlation_max: float | None = Field(
        None, gt=0, lt=1, description="names more correlated than this count together; none: each for itself"
    )
    correlated_max: float | None = Field(
        None,
        gt=0,
        le=4,
        description="largest weight of a name with all that are so correlated to it; none: position_max",
    )
    var_max: float | None = Field(
        None, gt=0, lt=1, description="largest value at risk over one session at risk.var_level, fraction of equity"
    )
    liquidity_max: float | None = Field(
        None, gt=0, le=10, description="largest position as a multiple of the average daily volume"
    )
    liquidity_sessions: int = Field(20, ge=2, le=500, description="sessions over which that volume is taken")
    drawdown_max: float | None = Field(
        None, gt=0, lt=1, description="largest loss of equity since its highest close; none: no limit"
    )
    daily_loss_max: float | None = Field(
        None, gt=0, lt=1, description="largest loss of equity since the last session's close; none: no limit"
    )
    reactions: dict[str, Reaction] = Field(
        default_factory=dict,
        description="what follows a breach, by limit: clip (make the order smaller), block (refuse what opens), "
        "flatten (close the book), halt (close it and wait for a release); usual: clip, drawdown_max halt, "
        "daily_loss_max block",
    )
    release_after_sessions: int | None = Field(
        None, ge=1, description="in a back-test and a replay a halt is released after so many sessions; none: never"
    )
    drift_tolerance: float = Field(
        0.1, ge=0, le=1, description="what is held may drift so far beyond a limit, relative to it, before it is cut"
    )

    @model_validator(mode="after")
    def _known_reactions(self) -> Self:
        for name, reaction in self.reactions.items():
            if name not in USUAL_REACTION:
                raise ValueError(f"reactions: there is no limit {name!r}; known: {', '.join(USUAL_REACTION)}")
            if name in WATCHED and reaction == "clip":
                raise ValueError(
                    f"reactions: {name} is about losses, and no smaller order mends them: block, flatten or halt"
                )
        return self

    def reaction(self, name: str) -> Reaction:
        """Return what follows a breach of a limit."""
        return self.reactions.get(name, USUAL_REACTION[name])

    def of_share(self, share: float) -> LimitsSection:
        """Return the limits on weights in units of a share of the equity: what a timeframe sizes its positions within.

        The account's own limits hold for all timeframes together, and are asked again when orders are sent.
        """
        changed = {"position_max": min(self.position_max / share, 1.0), "gross_max": min(self.gross_max / share, 4.0)}
        if self.sector_max is not None:
            changed["sector_max"] = min(self.sector_max / share, 4.0)
        return self.model_copy(update=changed)

    @property
    def needs_risk(self) -> bool:
        """Return whether a limit is about betas or covariances."""
        return any(limit is not None for limit in (self.beta_max, self.var_max, self.correlation_max))
