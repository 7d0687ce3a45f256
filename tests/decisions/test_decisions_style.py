"""Day trade, swing or position: by the sessions that a trade may last, whatever the bars."""

from __future__ import annotations

import pytest

from tradewind.decisions.style import style_of


@pytest.mark.parametrize(
    ("bars", "timeframe", "style"),
    [
        (1, "1d", "day trade"),
        (2, "1d", "day trade"),
        (3, "1d", "swing"),
        (7, "1d", "swing"),
        (8, "1d", "position"),
        (20, "1d", "position"),
        (12, "5m", "day trade"),
        (14, "1h", "day trade"),
        (15, "1h", "swing"),
        (390, "5m", "swing"),
        (1, "1w", "swing"),
        (4, "1w", "position"),
    ],
)
def test_the_style_follows_from_the_sessions(bars: int, timeframe: str, style: str) -> None:
    assert style_of(bars, timeframe) == style
