"""Daily bars before five-minute ones on one axis: nothing is told twice, and a symbol keeps its column."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tradewind.market.panel import FIELDS, Panel
from tradewind.market.sources.base import SOURCES, Request
from tradewind.market.splice import spliced

NAMES = ("SYN000", "SYN001", "SYN002")


def panel(timeframe: str, first: datetime, last: datetime, symbols: tuple[str, ...] = NAMES) -> Panel:
    source = SOURCES.create("synthetic", seed=11, n_symbols=3)
    bars = next(iter(source.fetch(Request(symbols, timeframe, first, last)))).bars
    times = np.unique(bars["time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"))
    shape = (len(times), len(symbols))
    fields = {name: np.full(shape, np.nan) for name in FIELDS[:5]}
    for column, symbol in enumerate(symbols):
        own = bars.filter(symbol=symbol)
        rows = np.searchsorted(times, own["time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"))
        for name in fields:
            fields[name][rows, column] = own[name].to_numpy()
    mask = np.isfinite(fields["close"])
    fields |= {"split": np.ones(shape), "dividend": np.zeros(shape)}
    return Panel(times, symbols, symbols, fields, mask, mask, {"vix": np.arange(len(times)) * 1.0}, timeframe=timeframe)


@pytest.fixture(scope="module")
def daily() -> Panel:
    return panel("1d", datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 3, 31, tzinfo=UTC))


@pytest.fixture(scope="module")
def fine() -> Panel:
    return panel("5m", datetime(2020, 3, 2, tzinfo=UTC), datetime(2020, 3, 31, tzinfo=UTC), NAMES[:2])


def test_alone_a_panel_is_what_it_was(daily: Panel) -> None:
    assert spliced([daily]) is daily


def test_longer_bars_stand_before_the_finest_and_none_after_they_begin(daily: Panel, fine: Panel) -> None:
    whole = spliced([fine, daily])
    before = int(np.sum(daily.times < fine.times[0]))
    assert whole.timeframe == "5m"
    assert np.array_equal(whole.times, np.concatenate([daily.times[:before], fine.times]))
    assert str(whole.times[before - 1])[:10] == "2020-02-28"
    for name in FIELDS:
        np.testing.assert_array_equal(whole.fields[name][:before, :2], daily.fields[name][:before, :2])
        np.testing.assert_array_equal(whole.fields[name][before:, :2], fine.fields[name])


def test_a_symbol_that_one_part_lacks_has_no_bar_there(daily: Panel, fine: Panel) -> None:
    whole = spliced([fine, daily])
    before = int(np.sum(daily.times < fine.times[0]))
    assert whole.symbols == NAMES
    assert whole.mask[:before, 2].all()
    assert not whole.mask[before:, 2].any()
    assert (whole.fields["split"][before:, 2] == 1).all()


def test_total_returns_go_on_over_the_seam(daily: Panel, fine: Panel) -> None:
    whole = spliced([fine, daily])
    ends = np.isin(whole.times, daily.times)
    np.testing.assert_allclose(whole.adjusted("close")[ends, :2], daily.adjusted("close")[:, :2], rtol=1e-12)


def test_a_context_that_one_part_lacks_is_missing_there(daily: Panel, fine: Panel) -> None:
    from dataclasses import replace

    whole = spliced([replace(fine, context={}), daily])
    before = int(np.sum(daily.times < fine.times[0]))
    assert np.isfinite(whole.context["vix"][:before]).all()
    assert np.isnan(whole.context["vix"][before:]).all()
