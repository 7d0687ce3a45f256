from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from market_yahoo_standin import Standin, chart

from tradewind.market.sources.base import SOURCES, Request
from tradewind.market.universe import tradable


class Timepiece:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, instant):
        self.instant, self.sleeps = instant, []

    def now(self):
        return self.instant

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.instant += timedelta(seconds=seconds)


@pytest.fixture
def timepiece():
    return Timepiece(datetime(2020, 1, 31, 23, tzinfo=UTC))


@pytest.fixture
def standin():
    server = Standin()
    yield server
    server.close()


@pytest.fixture(scope="session")
def invented():
    """Bars and actions of three synthetic stocks, one of which splits; 2018 and 2019."""
    source = SOURCES.create("synthetic", seed=3, n_symbols=30)
    first, last = datetime(2018, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    request = Request(tradable(source.symbols("1d")), "1d", first, last)
    deliveries = list(source.fetch(request))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    whole = bars.group_by("symbol").len().filter(pl.col("len") == pl.col("len").max())["symbol"].sort()
    splitting = actions.filter((pl.col("kind") == "split") & pl.col("symbol").is_in(whole.to_list()))["symbol"][0]
    plain = [s for s in whole if s.startswith("SYN") and s != splitting][:2]
    chosen = [splitting, *plain]
    renamed = dict(zip(chosen, ("AAA", "BBB", "CCC"), strict=True))
    keep = pl.col("symbol").is_in(chosen)
    name = pl.col("symbol").replace(renamed)
    return tuple(frame.filter(keep).with_columns(symbol=name).sort("symbol", "time") for frame in (bars, actions))


@pytest.fixture
def yahoo(standin, timepiece, invented, tmp_path):
    """Yahoo's source against the stand-in, which has AAA, BBB and CCC."""
    bars, actions = invented
    for symbol in ("AAA", "BBB", "CCC"):
        standin.charts[symbol, "1d"] = chart(symbol, bars.filter(symbol=symbol), actions.filter(symbol=symbol))
    return SOURCES.create(
        "yahoo",
        base_url=standin.url,
        cookie_url=f"{standin.url}/cookie",
        cache_path=str(tmp_path / "cache"),
        symbols=["AAA", "BBB", "CCC"],
        clock=timepiece,
        sleep=timepiece.sleep,
        jitter=lambda: 0.0,
    )


@pytest.fixture
def alpaca(timepiece, invented):
    """Alpaca's source against the stand-in, which has AAA, BBB and CCC."""
    pytest.importorskip("alpaca")
    from market_alpaca_standin import ENVIRON, AlpacaRest, fill

    server = AlpacaRest()
    fill(server, *invented)
    yield SOURCES.create("alpaca", url=server.url, environ=ENVIRON, clock=timepiece, symbols=["AAA", "BBB", "CCC"])
    server.close()


@pytest.fixture
def invented_csv(invented, tmp_path):
    """The same bars as a CSV of a user's, with the actions as columns."""
    path = tmp_path / "bars.csv"
    as_file(*invented).write_csv(path)
    return path


def as_file(bars, actions):
    day = pl.col("time").dt.convert_time_zone("America/New_York").dt.date()
    wide = actions.group_by("symbol", "time").agg(
        split_coefficient=pl.col("value").filter(pl.col("kind") == "split").product(),
        dividend_amount=pl.col("value").filter(pl.col("kind") == "dividend").sum(),
    )
    table = bars.join(wide, on=["symbol", "time"], how="left").sort("symbol", "time")
    return table.select(
        pl.col("symbol").alias("Ticker"),
        day.alias("Date"),
        *(pl.col(n).alias(n.title()) for n in ("open", "high", "low", "close", "volume")),
        pl.col("split_coefficient").fill_null(1.0),
        pl.col("dividend_amount").fill_null(0.0),
    )
