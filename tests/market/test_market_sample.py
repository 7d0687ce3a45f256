"""The sample against what is publicly known of these companies."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from tradewind.market.sources.base import SOURCES, Request

EVER = datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample():
    source = SOURCES.create("sample")
    deliveries = list(source.fetch(Request(source.symbols("1d"), "1d", *EVER)))
    return tuple(pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))


def events(sample, symbol, kind):
    return {
        row["time"].date(): row["value"] for row in sample[1].filter(symbol=symbol, kind=kind).iter_rows(named=True)
    }


def test_splits_are_those_of_history(sample):
    assert events(sample, "AAPL", "split") == {date(2000, 6, 21): 2.0, date(2005, 2, 28): 2.0}
    assert events(sample, "MSFT", "split") == {date(2003, 2, 18): 2.0}
    for symbol in ("IBM", "GOOG", "FB"):
        assert events(sample, symbol, "split") == {}


@pytest.mark.parametrize(
    ("symbol", "day", "paid"),
    [
        ("AAPL", date(2012, 8, 9), 2.65),
        ("AAPL", date(2013, 2, 7), 2.65),
        ("MSFT", date(2004, 11, 15), 3.08),
        ("MSFT", date(2003, 2, 19), 0.08),
        ("IBM", date(2000, 5, 8), 0.13),
        ("IBM", date(2012, 8, 8), 0.85),
    ],
)
def test_dividends_are_those_that_were_paid(sample, symbol, day, paid):
    assert events(sample, symbol, "dividend")[day] == pytest.approx(paid, abs=2e-4)


def test_companies_that_paid_nothing_have_no_dividends(sample):
    assert events(sample, "GOOG", "dividend") == events(sample, "FB", "dividend") == {}


def test_prices_are_as_traded(sample):
    bars = sample[0]
    first = bars.filter((pl.col("symbol") == "AAPL") & (pl.col("time") == datetime(2000, 3, 1, 21, tzinfo=UTC)))
    assert first["close"][0] == 130.31
    assert bars.filter(symbol="FB")["open"][0] == 42.05  # the first trade of 2012-05-18


def test_vix_is_missing_where_it_is_missing(sample):
    vix = sample[0].filter(symbol="^VIX")
    assert vix["time"].min() == datetime(2014, 1, 3, 21, tzinfo=UTC)
    assert vix["open"].null_count() == len(vix)


def test_the_sample_owns_up_to_its_bias():
    source = SOURCES.create("sample")
    assert source.survivorship_biased
    assert set(source.sectors().values()) == {"Information Technology"}
