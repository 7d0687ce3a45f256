"""What trading costs and what an account may do: the sections ``[execution]`` and ``[account]`` of a playbook."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class ExecutionSection(Section):
    """When orders fill, what a fill costs, and what may be held. The rules are in ``docs/fill-rules.md``."""

    entry: Literal["next_open", "next_close"] = Field(
        default="next_open", description="fill target weights in the opening or the closing auction of the next bar"
    )
    commission_bps: float = Field(default=1.0, ge=0, le=500, description="commission, basis points of the notional")
    commission_per_share: float = Field(default=0.0, ge=0, le=10, description="commission per share, in currency")
    commission_minimum: float = Field(default=0.0, ge=0, le=1000, description="least commission of a fill, in currency")
    spread_bps: float = Field(default=2.0, ge=0, le=1000, description="full bid-ask spread; each side pays half")
    slippage_bps: float = Field(default=1.0, ge=0, le=1000, description="slippage beyond the half spread, each side")
    impact_coefficient: float = Field(
        default=0.0, ge=0, le=10, description="square-root impact: coefficient * volatility * sqrt(shares / volume)"
    )
    impact_lookback_bars: int = Field(
        default=20,
        ge=2,
        le=1000,
        description="span in bars of the exponential mean volume and volatility behind impact",
    )
    participation_max: float = Field(
        default=0.1, gt=0, le=1, description="largest share of a bar's volume that we may be"
    )
    participation_remainder: Literal["cancel", "carry"] = Field(
        default="cancel", description="what becomes of the part of an order that the volume limit cut off"
    )
    short_allowed: bool = Field(default=False, description="may a position be negative")
    borrow_bps_per_year: float = Field(default=50.0, ge=0, le=10_000, description="cost of borrowing stock, a year")
    cash_interest_rate: float = Field(default=0.0, ge=-0.05, le=0.5, description="paid a year on free cash, a fraction")
    margin_interest_rate: float = Field(default=0.06, ge=0, le=0.5, description="charged a year on negative cash")
    margin_leverage_max: float = Field(
        default=1.0, gt=0, le=20, description="gross exposure over equity that an order may not exceed"
    )
    margin_maintenance: float = Field(
        default=0.25, ge=0, lt=1, description="equity over gross exposure below which the book is liquidated; 0 = never"
    )
    fractional_shares: bool = Field(default=True, description="trade millionths of a share, else whole shares")
    rebalance_band: float = Field(
        default=0.0, ge=0, lt=1, description="adjust a position only beyond this fraction of equity"
    )
    delisted_after_bars: int = Field(
        default=20, ge=1, le=10_000, description="bars without a price after which a symbol is taken as delisted"
    )
    delisting_haircut: float = Field(
        default=0.0, ge=0, le=1, description="fraction of the last close lost by a holder when a symbol is delisted"
    )

    def scaled(self, cost_multiplier: float) -> ExecutionSection:
        """Return these settings with every trading and borrowing cost multiplied (2.0 doubles all costs).

        Interest on cash, limits and fill times stay. Values beyond a setting's range are refused.
        """
        costs = (
            "commission_bps",
            "commission_per_share",
            "commission_minimum",
            "spread_bps",
            "slippage_bps",
            "impact_coefficient",
            "borrow_bps_per_year",
            "margin_interest_rate",
        )
        changed = {name: getattr(self, name) * cost_multiplier for name in costs}
        return ExecutionSection.model_validate({**self.model_dump(), **changed})

    @classmethod
    def free(cls, **changes: object) -> ExecutionSection:
        """Return settings without any cost: for tests, oracles and textbook comparisons."""
        nothing = {
            "commission_bps": 0.0,
            "spread_bps": 0.0,
            "slippage_bps": 0.0,
            "borrow_bps_per_year": 0.0,
            "margin_interest_rate": 0.0,
            "participation_max": 1.0,
        }
        return cls.model_validate({**nothing, **changes})


class AccountSection(Section):
    """The account that trades."""

    start_capital: float = Field(
        default=100_000.0, gt=0, le=1e12, description="cash at the start, in the currency of the prices"
    )
