"""What networks tell of themselves is drawn as they told it, and nothing is drawn for models that tell nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spine_kit import QuickRun, retold
from tradewind.evaluation.backtest import TrackRecord
from tradewind.evaluation.report.sections.insides import insides

TOLD = {
    "bars": [0.1, 0.2, 0.3, 0.4],
    "attention": {"1": [0.4, 0.3, 0.2, 0.05, 0.05], "5": [0.1, 0.2, 0.3, 0.4, 0.0]},
    "latest": {f"S{i:02d}": {"rsi_14": 0.4, "<b>price</b>": 0.1} for i in range(14)},
    "curves": {
        "points": [-1.0, 0.0, 1.0],
        "channels": {"rsi_14": {"share": 0.5, "newest": [0.0, 0.1, -0.2], "sums": [[0.0, 0.2, 0.1]]}},
    },
}


def telling(quick: QuickRun, **told: object) -> TrackRecord:
    forecast = replace(next(iter(quick.record.forecasts.values())), model="tft", explanation=told)
    return retold(quick.record, forecasts={**quick.record.forecasts, "tft": forecast})


def test_a_model_that_tells_nothing_has_no_picture(quick: QuickRun) -> None:
    assert insides(quick.record) == []


def test_attention_is_drawn_by_horizon_over_the_bars_of_the_window_alone(quick: QuickRun) -> None:
    (picture,) = insides(telling(quick, bars=TOLD["bars"], attention=TOLD["attention"]))
    assert 'data-name="1 bar ahead"' in picture and 'data-name="5 bars ahead"' in picture
    assert "Mean attention" in picture and ">now<" in picture
    assert "0,0.05," in picture.replace("%2C", ","), "the newest bar's share is in the table, oldest first"


def test_without_attention_the_shares_of_bars_are_drawn(quick: QuickRun) -> None:
    (picture,) = insides(telling(quick, bars=TOLD["bars"]))
    assert "Share of what moved" in picture and 'data-name="all horizons"' in picture


def test_names_of_variables_are_text_and_left_out_symbols_are_counted(quick: QuickRun) -> None:
    _, chosen = insides(telling(quick, bars=TOLD["bars"], latest=TOLD["latest"]))
    assert "&lt;b&gt;" in chosen and "<b>price" not in chosen
    assert "S11" in chosen and "S12" not in chosen and "2 more symbols" in chosen


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_each_channel_has_its_curves(quick: QuickRun, share: float) -> None:
    curves = {**TOLD["curves"], "channels": {"rsi_14": {**TOLD["curves"]["channels"]["rsi_14"], "share": share}}}  # type: ignore[index,dict-item]
    pictures = insides(telling(quick, bars=TOLD["bars"], curves=curves))
    assert f"{100 * share:.0f}\u202f%" in pictures[-1] and pictures[-1].count("line s") >= 2
