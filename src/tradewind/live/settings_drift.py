"""The section of a playbook that says what counts as a change of the world, and what follows from it."""

from __future__ import annotations

from pydantic import Field

from tradewind.market.bars import TIMEFRAMES
from tradewind.settings import Section

_HOUR = 60


class DriftSection(Section):
    """Drift of a model's inputs and of its results: what is compared, how long it must last, what it sets off."""

    use: bool = Field(True, description="whether models are watched for drift")
    window_bars: int | None = Field(
        None,
        ge=2,
        description="newest bars whose features are compared with the training data; none: an hour of intraday bars "
        "(six at least), five of daily ones, four of longer ones",
    )
    persist_bars: int = Field(3, ge=1, description="readings in a row that must say so before the level is drift")
    bins: int = Field(20, ge=4, le=100, description="bins of a feature's histogram: equal shares of the training data")
    blocks_max: int = Field(
        12, ge=3, le=100, description="most blocks of the training data that are compared with the rest of it"
    )
    false_discovery_rate: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="share of the features named that may be named wrongly, over all features and a model's life",
    )
    share_min: float = Field(
        0.1, gt=0, le=1, description="share of the features that must have drifted at least before the level is drift"
    )
    share_margin: float = Field(1.25, ge=1, description="and how many times as many as ever within the training data")
    exclude: tuple[str, ...] = Field((), description="features that are not compared: those that only ever grow")
    concept_bars: int = Field(
        60,
        ge=10,
        description="newest bars with outcomes over which coverage, Brier score and loss are taken; a third and a "
        "twelfth of them are judged as well",
    )
    coverage: float = Field(0.8, gt=0, lt=1, description="central interval whose coverage is followed")
    concept_false_alarm: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="probability that a model which goes on as in its validation leaves a band once in its life",
    )
    concept_worse_min: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of what was expected by which a figure must be worse besides (the location's cost: share of "
        "the loss): what is beyond chance may be too little to matter",
    )
    adwin_delta: float = Field(
        0.002, gt=0, lt=1, description="ADWIN's bound on seeing a change of the loss where there is none"
    )
    accuracy_drop: float = Field(
        0.05, gt=0, lt=1, description="retrain where this much less of the directions are right than in validation"
    )
    psi_max: float = Field(
        0.1, gt=0, description="retrain where the mean population stability index exceeds that of training data by more"
    )
    age_days_max: int = Field(30, ge=1, description="retrain a model whose training data ended so many days ago")
    rollback_significance: float = Field(
        0.05, gt=0, lt=0.5, description="one-sided p-value below which the previous champion counts as better"
    )
    rollback_bars_min: int = Field(
        20, ge=5, description="bars with outcomes of both champions below which neither counts as better"
    )

    def window_of(self, timeframe: str) -> int:
        """Return the bars of a window of a timeframe."""
        if self.window_bars is not None:
            return self.window_bars
        minutes, day = TIMEFRAMES[timeframe], TIMEFRAMES["1d"]
        if minutes < day:
            return max(6, _HOUR // minutes)
        return 5 if minutes == day else 4
