"""The ``[challenge]`` section of a playbook: when a newer model may take a champion's seat."""

from __future__ import annotations

from pydantic import Field

from tradewind.settings import Section


class ChallengeSection(Section):
    """How a challenger is judged against the champion; nothing of a back-test depends on it."""

    horizon_bars: int | None = Field(
        None, ge=1, description="horizon whose losses decide; default: decision.horizon_bars"
    )
    margin: float = Field(0.005, ge=0, lt=1, description="least share of the champion's pinball loss to be saved")
    p_max: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="largest probability of promoting a model that is no better, over all looks at the same days: "
        "look k has to stay below p_max / (k (k + 1))",
    )
    least_dates: int = Field(
        60, ge=20, description="bars with an outcome that both forecast, at least (and three times the horizon)"
    )
    unseen_sessions: int = Field(5, ge=1, description="newest sessions that are kept from the training, at least")
    unseen_bars: int | None = Field(
        None, ge=20, description="newest bars that are kept from the training; default: as many as the two above ask"
    )
    worse_p: float = Field(
        0.05, gt=0, lt=0.5, description="one-sided p below which coverage, F1 or profit count as worse than before"
    )
    confidence_set: float = Field(0.10, gt=0, lt=1, description="size of the model confidence set it has to be in")
    coverage: float = Field(0.8, gt=0.2, lt=0.99, description="interval whose coverage is compared")
    samples: int = Field(2000, ge=200, description="bootstrap samples")
    seed: int = Field(17, ge=0, description="seed of the bootstrap")

    def dates_needed(self, horizon_bars: int) -> int:
        """Return how many bars with an outcome a judgement needs."""
        return max(self.least_dates, 3 * horizon_bars)

    def kept_from_training(self, horizon_bars: int, bars_of_session: int) -> int:
        """Return how many of the newest bars a training may not see, so that there is enough to judge it by."""
        if self.unseen_bars is not None:
            return self.unseen_bars
        return max(self.dates_needed(horizon_bars) + horizon_bars, self.unseen_sessions * bars_of_session)
