"""Row C3: how wide an interval may be for a trade to be opened."""

from __future__ import annotations

import numpy as np
import pytest

from spine_kit import belief
from tradewind.decisions.signals import Action, decide
from tradewind.decisions.width import interval_width, usual
from tradewind.errors import DataError

UP = {5: [[0.01, 0.02]]}


def spread(*sigmas: float) -> dict[int, object]:
    return {5: np.array([sigmas])}


def test_the_width_is_the_distance_of_the_interval_s_prices_over_the_price() -> None:
    seen = interval_width(belief(UP, spread(0.01, 0.02)), 5)[0]
    z = 1.2815515655446004
    by_hand = [np.exp(m + z * s) - np.exp(m - z * s) for m, s in ((0.01, 0.01), (0.02, 0.02))]
    assert seen == pytest.approx(by_hand)


def test_a_wide_interval_opens_nothing_and_says_why() -> None:
    free = decide(belief(UP, spread(0.01, 0.02), recalibration="none", confidence_min=0.5))
    assert (free.action > 0).all()
    held = decide(belief(UP, spread(0.01, 0.02), recalibration="none", confidence_min=0.5, interval_width_max=0.03))
    assert held.action[0, 0] == free.action[0, 0]
    assert held.action[0, 1] == Action.HOLD
    assert "too wide" in held.clauses[held.clause[0, 1]]
    assert held.confidence.tolist() == free.confidence.tolist(), "what is believed does not change"


def test_what_is_held_may_still_be_left_where_nothing_may_be_opened() -> None:
    falling = {5: [[0.01, -0.02]]}
    signals = decide(
        belief(falling, spread(0.01, 0.02), recalibration="none", confidence_min=0.5, interval_width_max=0.03)
    )
    assert signals.action[0].tolist() == [Action.STRONG_BUY, Action.HOLD]
    assert bool(signals.close[0, 1])


def test_unusual_is_measured_against_the_symbol_s_own_past() -> None:
    calm, wild = np.full(50, 0.01), np.full(50, 0.04)
    calm[-1], wild[-1] = 0.02, 0.044  # twice and 1.1 times the usual width
    sigmas = np.stack([calm, wild], axis=1)
    asked = belief(
        {5: np.full((50, 2), 0.02)}, {5: sigmas},
        recalibration="none", confidence_min=0.5, interval_width_usual_max=1.3,
    )  # fmt: skip
    assert (decide(asked).action[-1] == Action.HOLD).tolist() == [True, False]


def test_usual_looks_only_back() -> None:
    rng = np.random.default_rng(0)
    width = np.exp(rng.standard_normal((80, 3)))
    width[5, 1] = np.nan
    later = width.copy()
    later[40:] *= 9.0
    np.testing.assert_array_equal(usual(later)[:40], usual(width)[:40])
    assert np.isfinite(usual(width)[5]).all(), "a missing width leaves what is usual as it was"


def test_a_limit_that_nothing_passes_is_named() -> None:
    asked = belief(UP, spread(0.01, 0.02), recalibration="none", confidence_min=0.5, interval_width_max=0.001)
    with pytest.raises(DataError, match=r"interval_width on 0\.0%") as refusal:
        decide(asked)
    assert "raise decision.interval_width_max" in str(refusal.value.hint)
