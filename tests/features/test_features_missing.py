"""Asked for and not to be had: said, loudly where it is critical."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from features_market import market

from tradewind.features.missing import LOUD, missing_notes
from tradewind.features.registry import BASE_20


def test_a_missing_critical_feature_is_named_loudly_and_first():
    notes = missing_notes(market(), BASE_20)
    assert notes[0] == f"{LOUD}the critical feature 'sentiment_score' is missing: no source of scored news is connected"
    assert not any(note.startswith(LOUD) for note in notes[1:])
    assert any("sentiment_momentum, sentiment_volatility, news_volume_24h" in note for note in notes)


def test_a_missing_volume_is_loud_where_volume_is_asked_for():
    panel = market()
    silent = replace(panel, fields={**panel.fields, "volume": np.full(panel.shape, np.nan)})
    assert missing_notes(silent, ["volume"]) == (
        f"{LOUD}the critical feature 'volume' is missing: the data have no volume",
    )


def test_other_features_are_grouped_by_what_they_lack():
    panel = replace(market(), context={})
    (note,) = missing_notes(panel, ["vix", "vix_change_1", "rsi_14"])
    assert note == "missing: vix, vix_change_1: the data have no vix"


def test_a_look_back_longer_than_the_data_is_said():
    (note,) = missing_notes(market().head(30), ["sma_200", "sma_5"])
    assert note == "missing: sma_200: there are 30 bars, too few for the look-back"


def test_what_is_excluded_or_complete_is_not_mentioned():
    assert missing_notes(market(), ["rsi_14", "close"]) == ()
    assert missing_notes(market(), BASE_20, ["sentiment", "vix", "sector_performance", "index_correlation_60"]) == ()
