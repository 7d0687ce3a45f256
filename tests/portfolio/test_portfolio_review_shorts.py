"""A short is closed when the short's case is gone, a long when the long's is."""

from __future__ import annotations

import numpy as np

from spine_kit import belief
from tradewind.decisions.signals import RULES
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.portfolio.sizing import size


def weights(medians: list[float], *, short: bool = True, every: int = 1, name: str = "probability") -> list[float]:
    column = np.asarray(medians)[:, None]
    believed = belief(
        {5: column}, cost=0.0001, rule=name, every_bars=every, confidence_min=0.6, confidence_exit=0.45,
        entry_threshold=0.005,
    )  # fmt: skip
    signals = RULES.create(name).decide(believed)
    return size(believed, signals, SizingSection(), LimitsSection(), short_allowed=short).weight[:, 0].tolist()


def test_a_short_whose_case_still_stands_is_left_alone() -> None:
    opened, later = weights([-0.02, -0.003])  # the second bar is HOLD, and a long is improbable
    assert opened < 0
    assert np.isnan(later)


def test_a_short_whose_case_is_gone_is_closed() -> None:
    assert weights([-0.02, 0.004])[1] == 0.0
    assert weights([-0.02, 0.004], name="expected_move")[1] == 0.0


def test_a_long_whose_case_is_gone_is_closed_with_or_without_shorts() -> None:
    assert weights([0.02, -0.004])[1] == 0.0
    assert weights([0.02, -0.004], short=False)[1] == 0.0
    assert np.isnan(weights([0.02, 0.001])[1])


def test_what_was_said_on_a_bar_without_trading_opens_nothing() -> None:
    said = weights([0.02, -0.02, 0.0, -0.004], every=3)  # the short of bar 1 is never sent: the long is still held
    assert said[0] > 0
    assert said[3] == 0.0
