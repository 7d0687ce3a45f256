"""The panel holds exactly what the lake knew, where it belongs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from store_kit import FIRST_CLOSE, LAG, RECORDED, closes, lake_bars, source_actions, source_bars, store

from tradewind.errors import DataError
from tradewind.market.load import as_known, content_hash, load_panel
from tradewind.market.quality import mark_rows
from tradewind.market.store.lake import Lake

DAY = timedelta(days=1)


def test_bars_stand_on_the_union_of_closes(lake: Lake) -> None:
    late = source_bars("MSFT", [20.0, 21.0], first=FIRST_CLOSE + DAY)
    store(lake, pl.concat([source_bars("AAPL", [10.0, 11.0]), late]))
    panel, report = load_panel(lake, symbols=["MSFT", "AAPL"], timeframe="1d")
    assert panel.symbols == ("MSFT", "AAPL")
    assert panel.instruments == ("MSFT#1", "AAPL#1")
    assert [t.item().replace(tzinfo=UTC) for t in panel.times] == closes(3)
    np.testing.assert_array_equal(panel.close, [[np.nan, 10.0], [20.0, 11.0], [21.0, np.nan]])
    np.testing.assert_array_equal(panel.mask, np.isfinite(panel.close))
    assert report.bars == 4
    assert report.dropped == {}


def test_bars_marked_unfit_are_masked_and_counted(lake: Lake) -> None:
    store(lake, mark_rows(source_bars("AAPL", [10.0, -1.0, None, 12.0])))
    panel, report = load_panel(lake, symbols=["AAPL"], timeframe="1d")
    assert panel.mask[:, 0].tolist() == [True, False, False, True]
    assert np.isnan(panel.volume[1, 0])
    assert (report.bars, report.excluded) == (2, 2)


def test_names_without_data_are_dropped_with_the_reason(lake: Lake) -> None:
    bad = mark_rows(source_bars("BAD", [-1.0]))
    old = source_bars("OLD", [1.0], first=FIRST_CLOSE - 900 * DAY)
    store(lake, pl.concat([source_bars("AAPL", [10.0]), bad, old]))
    panel, report = load_panel(lake, symbols=["AAPL", "BAD", "OLD", "NEVER"], timeframe="1d", start=FIRST_CLOSE)
    assert panel.symbols == ("AAPL",)
    assert report.dropped == {
        "BAD": "all 1 bars in the period are marked unfit",
        "OLD": "no bars in the period",
        "NEVER": "never stored",
    }


def test_an_empty_universe_is_an_error_that_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(DataError, match="tradewind sync"):
        load_panel(lake, symbols=["AAPL"], timeframe="1d")


def test_events_stand_on_the_bar_of_their_day_or_the_next(lake: Lake) -> None:
    bars = source_bars("AAPL", [10.0, 11.0, 5.0, 6.0]).filter(pl.col("time") != FIRST_CLOSE + DAY)
    events = [
        ("AAPL", FIRST_CLOSE - DAY, "split", 7.0, ""),  # before the panel: already in its prices
        ("AAPL", FIRST_CLOSE + DAY, "split", 2.0, ""),  # no bar that day
        ("AAPL", FIRST_CLOSE + 3 * DAY, "dividend", 0.5, ""),
        ("AAPL", FIRST_CLOSE + 9 * DAY, "split", 3.0, ""),  # after the panel
    ]
    store(lake, bars, source_actions(events))
    panel, _ = load_panel(lake, symbols=["AAPL"], timeframe="1d")
    assert panel.split[:, 0].tolist() == [1.0, 2.0, 1.0]
    assert panel.dividend[:, 0].tolist() == [0.0, 0.0, 0.5]


def test_an_event_told_for_two_timeframes_counts_once_and_on_the_first_bar(lake: Lake) -> None:
    first_bar = FIRST_CLOSE - timedelta(hours=6)
    hours = [first_bar + timedelta(hours=i) for i in range(7)]
    bars = pl.concat([source_bars("AAPL", [10.0], first=t) for t in (*hours, FIRST_CLOSE - DAY)])
    store(lake, bars.clear().vstack(source_bars("AAPL", [10.0])))
    lake.append(lake_bars(bars, timeframe="1h"), recorded_at=RECORDED + DAY)
    events = [("AAPL", FIRST_CLOSE, "split", 2.0, ""), ("AAPL", first_bar, "split", 2.0, "")]
    store(lake, source_bars("AAPL", [10.0]), source_actions(events), at=RECORDED + 2 * DAY)
    hourly, _ = load_panel(lake, symbols=["AAPL"], timeframe="1h")
    daily, _ = load_panel(lake, symbols=["AAPL"], timeframe="1d")
    assert hourly.split[:, 0].tolist() == [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert daily.split[:, 0].tolist() == [2.0]


def test_a_dividend_before_a_split_in_one_week_is_told_in_new_shares(lake: Lake) -> None:
    week = lake_bars(source_bars("AAPL", [10.0], first=FIRST_CLOSE + 7 * DAY), timeframe="1w")
    earlier = lake_bars(source_bars("AAPL", [20.0]), timeframe="1w")
    events = [("AAPL", FIRST_CLOSE + 2 * DAY, "dividend", 1.0, ""), ("AAPL", FIRST_CLOSE + 3 * DAY, "split", 2.0, "")]
    store(lake, source_bars("AAPL", [10.0]), source_actions(events))
    lake.append(pl.concat([earlier, week]), recorded_at=RECORDED + DAY)
    panel, _ = load_panel(lake, symbols=["AAPL"], timeframe="1w")
    assert panel.split[:, 0].tolist() == [1.0, 2.0]
    assert panel.dividend[:, 0].tolist() == [0.0, 0.5]


def test_context_is_the_last_value_known_and_never_filled_backwards(lake: Lake) -> None:
    index = source_bars("^GSPC", [100.0], first=FIRST_CLOSE + 2 * DAY)
    store(lake, pl.concat([source_bars("AAPL", [1.0] * 12), index]))
    panel, report = load_panel(
        lake,
        symbols=["AAPL"],
        timeframe="1d",
        context={"index": "^GSPC", "vix": "^VIX"},
        context_age=timedelta(days=5),
    )
    assert np.isnan(panel.context["index"]).tolist() == [True] * 2 + [False] * 6 + [True] * 4
    assert np.isnan(panel.context["vix"]).all()
    assert report.missing_context == ("vix",)


def test_context_is_the_version_known_at_each_bar() -> None:
    first, second = FIRST_CLOSE, FIRST_CLOSE + DAY
    versions = pl.DataFrame(
        {
            "time": [first, first, second],
            "known_at": [first + LAG, second + timedelta(hours=1), second + LAG],
            "close": [1.0, 1.5, 2.0],
        }
    )
    instants = [first, second, second + timedelta(hours=2)]
    times = np.array([t.replace(tzinfo=None) for t in instants], dtype="datetime64[us]")
    assert as_known(versions, times, LAG, 5 * DAY).tolist() == [1.0, 2.0, 2.0]
    assert np.isnan(as_known(versions, times, timedelta(0), 5 * DAY)[0])
    only_first = versions.filter(pl.col("time") == first)
    assert as_known(only_first, times, LAG, 5 * DAY).tolist() == [1.0, 1.0, 1.5]


def test_a_later_back_fill_never_changes_a_pinned_panel(lake: Lake) -> None:
    store(lake, pl.concat([source_bars("AAPL", [1.0, 2.0, 3.0]), source_bars("^VIX", [20.0, 21.0])]))
    pin = lake.pin()
    options = {"symbols": ["AAPL", "MSFT"], "timeframe": "1d", "context": {"vix": "^VIX"}}
    before, _ = load_panel(lake, pin=pin, **options)  # type: ignore[arg-type]
    changed = pl.concat(
        [source_bars("AAPL", [9.0, 2.0, 3.0, 4.0]), source_bars("MSFT", [5.0]), source_bars("^VIX", [99.0])]
    )
    store(lake, changed, source_actions([("AAPL", FIRST_CLOSE + DAY, "split", 2.0, "")]), at=RECORDED + DAY)
    after, _ = load_panel(lake, pin=pin, **options)  # type: ignore[arg-type]
    today, _ = load_panel(lake, **options)  # type: ignore[arg-type]
    assert after.version == before.version
    assert after.close.tobytes() == before.close.tobytes()
    assert today.version != before.version
    assert today.shape == (4, 2)


def test_the_version_is_the_content_and_nothing_else(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0, 2.0]))
    panel, _ = load_panel(lake, symbols=["AAPL"], timeframe="1d")
    flagged, _ = load_panel(lake, symbols=["AAPL"], timeframe="1d", flags=("survivorship",))
    assert flagged.version == panel.version == content_hash(panel)
    assert "survivorship" in flagged.flags
    panel.fields["close"][0, 0] += 1e-12
    assert content_hash(panel) != panel.version


def test_provenance_becomes_flags(lake: Lake) -> None:
    rebuilt = source_bars("AAPL", [1.0, 2.0]).with_columns(adjustment=pl.lit("reconstructed"))
    store(lake, pl.concat([rebuilt, source_bars("MSFT", [1.0, 2.0])]))
    panel, report = load_panel(lake, symbols=["AAPL", "MSFT"], timeframe="1d")
    assert (report.share_assumed, report.share_reconstructed) == (1.0, 0.5)
    assert panel.flags == (
        "assumed_vintage: known times assumed for 100% of the bars",
        "reconstructed: raw prices reconstructed for 50% of the bars",
    )


def test_members_and_sectors_come_from_the_caller(lake: Lake) -> None:
    store(lake, pl.concat([source_bars("AAPL", [1.0, 2.0]), source_bars("MSFT", [1.0, 2.0])]))
    panel, _ = load_panel(
        lake,
        symbols=["AAPL", "MSFT"],
        timeframe="1d",
        membership=lambda times, symbols: np.arange(len(times))[:, None] >= np.arange(len(symbols))[None, :],
        sectors={"AAPL": "Information Technology"},
    )
    assert panel.member.tolist() == [[True, False], [True, True]]
    assert panel.sectors == ("Information Technology", "unknown")


def test_a_column_follows_its_instrument_through_a_rename(lake: Lake) -> None:
    renamed = FIRST_CLOSE + 2 * DAY
    known = lake.instruments()
    known.learn(["FB"], source="test")
    known.rename("FB", "META", renamed, source="test")
    bars = pl.concat([source_bars("FB", [1.0, 2.0]), source_bars("META", [3.0], first=renamed)])
    lake.store_instruments(known, recorded_at=RECORDED)
    lake.append(known.assign(lake_bars(bars).drop("instrument")), recorded_at=RECORDED)
    panel, report = load_panel(lake, symbols=["META", "FB"], timeframe="1d")
    assert panel.symbols == ("META",)
    assert panel.close[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert report.dropped == {"FB": "the same instrument as META"}


def test_delistings_are_reported(lake: Lake) -> None:
    gone = FIRST_CLOSE + DAY
    bars = pl.concat([source_bars("AAPL", [1.0, 2.0, 3.0]), source_bars("GONE", [5.0, 5.0])])
    store(lake, bars, source_actions([("GONE", gone, "delist", 4.5, "merger")]))
    _, report = load_panel(lake, symbols=["AAPL", "GONE"], timeframe="1d")
    assert report.events.select("symbol", "kind", "value").rows() == [("GONE", "delist", 4.5)]


def test_as_of_hides_what_was_not_known(lake: Lake) -> None:
    store(lake, source_bars("AAPL", [1.0, 2.0, 3.0]))
    moment: datetime = FIRST_CLOSE + DAY + LAG
    panel, _ = load_panel(lake, symbols=["AAPL"], timeframe="1d", as_of=moment)
    assert panel.close[:, 0].tolist() == [1.0, 2.0]
