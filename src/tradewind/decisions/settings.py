"""Playbook sections of the decision room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from tradewind.settings import Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DecisionSection(Section):
    """How a belief becomes a signal."""

    rule: str = Field("probability", description="name of the decision rule (`tradewind config show` lists them)")
    horizon_bars: int = Field(20, ge=1, description="horizon whose forecast is acted on, in bars")
    strategy: Literal["long_term", "day_trade", "hybrid"] = Field(
        "hybrid",
        description="clauses of the rule `nasdaq_tft` that act: those for weeks, the day-trade and sell ones, or all",
    )
    event: str = Field(
        "profit_after_costs",
        description="the event that confidence is the calibrated probability of: `profit_after_costs`, "
        "`target_before_stop` (ties count against us) or `top_fifth` of the universe's returns (a short: the worst)",
    )
    recalibration: Literal["beta", "platt", "isotonic", "none"] = Field(
        "beta",
        description="how the event's forecast probability is corrected online by how often it came true; "
        "none: as forecast",
    )
    confidence_min: float = Field(0.52, ge=0, le=1, description="least probability of the event to open a position")
    confidence_exit: float = Field(0.47, ge=0, le=1, description="below this probability a position is closed")
    entry_threshold: float = Field(0.01, ge=0, le=1, description="least forecast median, as a return or in sigmas")
    threshold_unit: Literal["return", "sigma"] = Field("return", description="unit of the move thresholds")
    interval_width_max: float | None = Field(
        None,
        gt=0,
        le=10,
        description="open nothing where the 80 % interval is wider, fraction of the price; none: no limit",
    )
    interval_width_usual_max: float | None = Field(
        None,
        gt=0,
        le=10,
        description="open nothing where that interval is so many times as wide as usual for the symbol",
    )
    stop_sigma: float = Field(
        2.0, gt=0, le=10, description="stop distance in forecast standard deviations of the horizon"
    )
    stop_minimum: float = Field(0.005, gt=0, le=0.5, description="least stop distance, fraction of the entry")
    target_quantile: float = Field(0.9, gt=0.5, lt=1, description="quantile of the forecast taken as the price target")
    target_fraction: float | None = Field(
        None, gt=0, le=2, description="fixed distance of the target, fraction of the entry; none: the rule's own"
    )
    stop_fraction: float | None = Field(
        None, gt=0, lt=1, description="fixed distance of the stop, fraction of the entry; none: the rule's own"
    )
    win_loss_min: float = Field(
        1.2, ge=0, le=20, description="`scalper`: least gain at the target over the loss at the stop, after costs"
    )
    expected_move_min: float = Field(
        0.001,
        ge=0,
        le=1,
        description="`scalper`: open only where a move of this size is expected over the horizon, either way, as a "
        "fraction; the round trip's cost where that is more",
    )
    take_profit: bool = Field(False, description="also close a position at its target, where it has one")
    trailing_stop: bool = Field(False, description="let the stop follow the best price since the entry")
    every_bars: int = Field(
        5, ge=1, description="positions change on every n-th bar; stops and time exits work on each"
    )
    use_sentiment: bool = Field(
        False, description="require the sentiment conditions of the rule (needs a sentiment source)"
    )
    tier_stops: bool = Field(False, description="use the price tier's stop where it is tighter")
    trend_adx_min: float = Field(20.0, ge=0, le=100, description="`swing`: least ADX(14) of a trend")
    trend_rsi_min: float = Field(
        50.0, ge=0, le=100, description="`swing`: least RSI(14) of an upward trend; a downward one's is mirrored at 50"
    )
    trend_rsi_max: float = Field(
        80.0, ge=0, le=100, description="`swing`: RSI(14) above which nothing is bought any more, mirrored likewise"
    )
    earnings_sessions: int = Field(
        0, ge=0, le=63, description="open nothing when earnings come within so many sessions; 0: they don't matter"
    )
    earnings_unknown: Literal["trade", "hold"] = Field(
        "trade", description="what to do while no date of the next earnings is known"
    )
    gap_sigma_max: float | None = Field(
        None, gt=0, le=50, description="open nothing after a gap of so many daily sigmas at the open; none: no limit"
    )
    price_earnings_max: float | None = Field(
        None, gt=0, description="buy nothing above this price over twelve months' earnings, nor losses; none: no limit"
    )
    growth_min: float | None = Field(
        None, gt=-10, description="buy nothing whose earnings grew less on the year before, fraction; none: no limit"
    )
    fundamentals_unknown: Literal["trade", "hold"] = Field(
        "hold", description="what to do where P/E or growth are asked for and not known"
    )
    sectors_top: int = Field(3, ge=1, le=11, description="`position`: buy only in so many of the strongest sectors")
    rotation_bars: int = Field(13, ge=1, le=2520, description="`position`: bars of a sector's strength")
    pyramid_steps: int = Field(
        1, ge=1, le=10, description="`position`: parts in which a position is built, all but the first in profit"
    )
    pyramid_gain: float = Field(
        0.02, ge=0, le=1, description="gain since the last part at which another one is added, as a fraction"
    )
    selection: Literal["none", "regime"] = Field(
        "none", description="regime: buy only names that the market's regime asks for (needs [regimes] use = true)"
    )
    selection_size: int = Field(5, ge=1, le=500, description="names selected where no sector rises")
    selection_widen: float = Field(
        0.6, ge=0, le=10, description="share of that number that is added where all sectors rise, and less where fewer"
    )
    selection_turnover_max: float = Field(
        0.2, gt=0, le=1, description="largest share of the selected names that may be replaced in a month"
    )
    selection_half_life_sessions: float = Field(
        5.0, ge=0, le=252, description="half-life of what a name's screens and scores were before; 0: all at once"
    )
    selection_grace_bars: int = Field(
        5, ge=0, le=252, description="bars that a position may outlive its name's selection"
    )

    def due(self, bars: int) -> NDArray[np.bool_]:
        """Return on which of so many bars positions may change, ``(bars,)``."""
        import numpy as np

        return np.arange(bars) % self.every_bars == 0


class CoordinatorSection(Section):
    """How the timeframes of ``[timeframes]`` share one account (row C10)."""

    capital: dict[str, float] = Field(
        default_factory=dict, description="share of equity by timeframe, together 1 at most; empty: equal shares"
    )
    conflicts: Literal["higher_wins", "none"] = Field(
        "higher_wins", description="of opposite positions in one symbol only that of the longer bars is held"
    )
    rebalance: Literal["performance", "none"] = Field(
        "performance", description="tilt the shares by what each timeframe earned for its risk"
    )
    rebalance_sessions: int = Field(1, ge=1, le=252, description="sessions between two changes of the shares")
    window_sessions: int = Field(60, ge=20, le=2520, description="sessions that tilt and correlation look back on")
    tilt_max: float = Field(0.25, ge=0, lt=1, description="largest relative change of a share by performance")
    correlation_max: float | None = Field(
        0.4, gt=0, le=1, description="timeframes more correlated than this: the lower one gets less; none: no limit"
    )

    @field_validator("capital")
    @classmethod
    def _one_account(cls, capital: dict[str, float]) -> dict[str, float]:
        if any(share <= 0 for share in capital.values()) or sum(capital.values()) > 1 + 1e-9:
            raise ValueError(f"shares {capital} must be above 0 and together 1 at most")
        return capital
