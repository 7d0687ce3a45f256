"""Playbook section of pairs trading."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tradewind.settings import Section


class PairsSection(Section):
    """Which pairs are believed to be cointegrated, and how their spread is traded.

    Tests of pairs that share a leg depend on each other, and Benjamini–Hochberg is proven for independent and
    positively dependent tests only. It is the default all the same: under independent random walks, where every pair
    shares its legs with others, it finds anything as seldom as promised
    (``tests/decisions/test_decisions_pairs.py``), the pairs found are confirmed and tested again out of sample, and
    Benjamini–Yekutieli, which holds under any dependence, asks for p-values about nine times as small among 4,950
    pairs.
    """

    formation_bars: int = Field(756, ge=60, description="bars that pairs are found on, before each trading window")
    trading_bars: int = Field(
        252, ge=20, description="bars that they are traded and tested again on, then all is redone"
    )
    adf_lags: int = Field(1, ge=0, le=20, description="lagged changes in the unit-root regression, the same for all")
    false_discovery_rate: float = Field(
        0.05, gt=0, lt=1, description="largest expected share of false ones among the pairs found"
    )
    correction: Literal["benjamini_hochberg", "benjamini_yekutieli"] = Field(
        "benjamini_hochberg",
        description="how p-values are adjusted for the number of pairs; benjamini_yekutieli holds whatever the "
        "dependence, with q-values about ln(pairs) times as large",
    )
    reverse: bool = Field(
        True,
        description="the regression the other way round must reject at 5 % as well: no leg returns by itself alone",
    )
    johansen: bool = Field(True, description="Johansen's trace test must reject at 5 % as well")
    half_life_min_bars: float = Field(2.0, ge=0, description="faster spreads than this are found, but not traded")
    half_life_max_bars: float = Field(63.0, gt=0, description="slower spreads than this are found, but not traded")
    pairs_max: int = Field(20, ge=1, description="pairs traded at a time, those with the smallest q first")
    entry_z: float = Field(2.0, gt=0, description="open when the spread is so many deviations from its mean")
    exit_z: float = Field(0.5, ge=0, description="close when it is back within so many")
    stop_z: float = Field(4.0, gt=0, description="close when it has gone so far: the pair may have come apart")
    time_stop_half_lives: float = Field(3.0, gt=0, description="close after so many half-lives")
    missing_bars_max: int = Field(5, ge=0, description="close when a leg has had no price for more bars than this")
    hedge: Literal["ratio", "dollar"] = Field(
        "ratio", description="ratio: money in the legs as 1 to the hedge ratio, which is the spread; dollar: 1 to 1"
    )
    pair_gross_max: float = Field(0.20, gt=0, le=2, description="largest gross weight of one pair")
    gross_max: float = Field(1.0, gt=0, le=4, description="gross weight shared equally by the pairs of a window")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(f"exit_z = {self.exit_z} < entry_z = {self.entry_z} < stop_z = {self.stop_z} must hold")
        if self.half_life_min_bars >= self.half_life_max_bars:
            raise ValueError("half_life_min_bars must be below half_life_max_bars")
        if self.formation_bars < 10 * (self.adf_lags + 2) or self.trading_bars < 5 * (self.adf_lags + 2):
            raise ValueError(f"windows are too short for {self.adf_lags} lags")
        return self
