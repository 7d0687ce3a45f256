"""The playbook section that says whether and how the state of the market is followed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tradewind.settings import Section


class RegimeMultipliers(Section):
    """What exposure is multiplied by in each regime."""

    bull: float = Field(1.0, ge=0, le=2, description="exposure in a rising, calm market, as a factor")
    bear: float = Field(0.5, ge=0, le=2, description="exposure in a falling market, as a factor")
    volatile: float = Field(0.3, ge=0, le=2, description="exposure in a turbulent market, as a factor")
    range: float = Field(0.8, ge=0, le=2, description="exposure in a market that goes nowhere, as a factor")


class RegimesSection(Section):
    """Market regimes: a hidden Markov model over session closes, filtered and never smoothed."""

    use: bool = Field(False, description="whether regimes are followed")
    states: Literal[4] = Field(4, description="number of regimes: bull, bear, volatile and range")
    covariance: Literal["full", "diag"] = Field(
        "full", description="shape of each regime's covariance: full, or diag with a tenth of the parameters"
    )
    look_back_sessions: int = Field(252, ge=60, description="sessions that must have been seen before the first fit")
    window_sessions: int = Field(
        1008, ge=60, description="sessions that a fit looks back on at most: by default a year for each regime"
    )
    refit_sessions: int = Field(63, ge=1, description="sessions between two fits")
    iterations_max: int = Field(200, ge=5, description="most iterations of a fit; one that needs more is not used")
    starts: int = Field(4, ge=1, description="fresh starts of each fit: one cut by hand, the others from k-means")
    seed: int = Field(0, ge=0, description="seed of the k-means starts")
    confidence_min: float = Field(
        0.7, ge=0.25, lt=1, description="probability below which no regime is named and the state is unsure"
    )
    dwell_sessions: int = Field(
        2, ge=1, description="sessions in a row that a new regime must be named before the change counts and alerts"
    )
    smoothing_half_life_sessions: float = Field(
        3.0, ge=0, description="half-life of the exposure multiplier; 0: it follows the probabilities at once"
    )
    alert: bool = Field(True, description="raise an alert when the regime changes")
    multipliers: RegimeMultipliers = Field(
        default_factory=RegimeMultipliers, description="what exposure is multiplied by in each regime"
    )
    indices: tuple[str, ...] = Field(
        ("index", "nasdaq", "ftse", "all_ordinaries"),
        description="names of market-wide closes to look at: the first that the data has is the market itself",
    )
    vix: str = Field("vix", description="name of the market-wide series that is implied volatility")

    @model_validator(mode="after")
    def _window_holds_the_look_back(self) -> Self:
        if self.window_sessions < self.look_back_sessions:
            raise ValueError(
                f"window_sessions = {self.window_sessions} is less than look_back_sessions = {self.look_back_sessions}"
            )
        return self
