"""Trading time in bars: a session of 390 minutes has seven hourly bars, the last of half an hour."""

from __future__ import annotations

import pytest

from tradewind.errors import InputError
from tradewind.labels.horizons import resolve
from tradewind.labels.settings import LabelsSection


def resolved(timeframe: str, *horizons: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    return resolve(LabelsSection(horizons=horizons), timeframe)


@pytest.mark.parametrize(
    ("timeframe", "bars"), [("1h", (4, 7, 35)), ("30m", (8, 13, 65)), ("5m", (48, 78, 390)), ("1m", (240, 390, 1950))]
)
def test_a_day_is_all_the_bars_of_a_session(timeframe: str, bars: tuple[int, ...]) -> None:
    assert resolved(timeframe, "4h", "1d", "1w") == (bars, ())


def test_what_is_no_whole_number_of_bars_is_rounded_and_said() -> None:
    bars, notes = resolved("1w", "8d", "2w")
    assert bars == (2,)
    assert notes == ("the horizon 8d is 1.6 bars of 1w and was rounded to 2",)


def test_horizons_that_are_all_too_short_are_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match="shorter than a 1d bar") as caught:
        resolved("1d", "5m", "4h")
    assert "data.timeframe" in caught.value.hint
