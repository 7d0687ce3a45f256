"""Alpaca's client library against its own wire formats on this machine: bars of the past, and the stream."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from market_alpaca_standin import ENVIRON, KEY, SECRET, AlpacaRest, AlpacaStream, bar, fill, trade
from polars.testing import assert_frame_equal

from tradewind.clock import FixedClock
from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.feeds import FEEDS, Wanted
from tradewind.market.sources.alpaca import AlpacaOptions
from tradewind.market.sources.base import SOURCES, Request, Tick

pytest.importorskip("alpaca")

NOW = datetime(2020, 1, 31, 23, tzinfo=UTC)
START, END = datetime(2018, 1, 1, tzinfo=UTC), datetime(2019, 12, 31, 23, tzinfo=UTC)
PRICES = ["symbol", "time", "open", "high", "low", "close", "volume"]


@pytest.fixture
def rest():
    server = AlpacaRest()
    yield server
    server.close()


def alpaca(server, now=NOW, environ=ENVIRON, **options):
    return SOURCES.create("alpaca", url=server.url, environ=environ, clock=FixedClock(now), **options)


def fetch(source, symbols=("AAA", "BBB", "CCC"), start=START, end=END, timeframe="1d"):
    deliveries = list(source.fetch(Request(tuple(symbols), timeframe, start, end)))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    return bars, actions, [n for d in deliveries for n in d.notes], [t for d in deliveries for t in d.ticks]


# --- the past


def test_bars_come_as_they_were_traded_page_by_page_with_splits_and_dividends(rest, invented):
    true_bars, true_actions = invented
    fill(rest, true_bars, true_actions.filter(pl.col("kind").is_in(["split", "dividend"])))
    rest.page = 400
    bars, actions, _, _ = fetch(alpaca(rest))
    assert_frame_equal(bars.select(PRICES), true_bars.select(PRICES), rel_tol=1e-9)
    assert_frame_equal(actions, true_actions.select(actions.columns).with_columns(detail=pl.lit("")), rel_tol=1e-9)
    pages = [query.get("page_token") for path, query, _ in rest.asked if path.endswith("/bars")]
    assert len(pages) == 4 and pages[0] is None and len(set(pages)) == 4
    assert {query["feed"] for path, query, _ in rest.asked if path.endswith("/bars")} == {"iex"}


@pytest.fixture
def minutes():
    source = SOURCES.create("synthetic", n_symbols=1)
    day = datetime(2020, 1, 6, tzinfo=UTC)
    (told,) = source.fetch(Request(("SYN000",), "5m", day, day + timedelta(days=1)))
    return told.bars


def test_intraday_bars_are_stamped_with_their_close_and_those_outside_of_sessions_are_left_out(rest, minutes):
    early = minutes.head(3).with_columns(time=pl.col("time") - timedelta(hours=2))
    fill(rest, pl.concat([early, minutes]), timeframe="5Min")
    got, *_ = fetch(alpaca(rest), ["SYN000"], datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 1, 7, tzinfo=UTC), "5m")
    assert_frame_equal(got.select(PRICES), minutes.select(PRICES))


def test_the_bar_that_still_runs_is_a_tick(rest, minutes):
    fill(rest, minutes, timeframe="5Min")
    now = minutes["time"][10] - timedelta(minutes=1)
    got, _, _, ticks = fetch(alpaca(rest, now), ["SYN000"], datetime(2020, 1, 6, tzinfo=UTC), now, "5m")
    assert got["time"].max() == minutes["time"][9]
    assert ticks == [Tick("SYN000", now, minutes["close"][10])]


def test_a_share_class_is_asked_for_as_alpaca_writes_it(rest, invented):
    fill(rest, invented[0].filter(symbol="AAA").with_columns(symbol=pl.lit("BRK.B")))
    bars, *_ = fetch(alpaca(rest), ["BRK-B"])
    assert set(bars["symbol"]) == {"BRK-B"}


def test_many_symbols_are_asked_for_in_groups(rest, invented):
    fill(rest, invented[0])
    names = [f"S{n:03}" for n in range(150)]
    bars, _, notes, _ = fetch(alpaca(rest), [*names, "AAA"])
    assert len([1 for path, *_ in rest.asked if path.endswith("/bars")]) == 2
    assert set(bars["symbol"]) == {"AAA"} and len(notes) == 150


def test_hours_are_not_served_because_they_are_other_hours(rest):
    with pytest.raises(InputError, match="no '1h' bars"):
        fetch(alpaca(rest), timeframe="1h")


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ((429, b'{"message": "too many requests."}', {}), RetryError, "429"),
        ((500, b'{"message": "internal server error"}', {}), RetryError, "500"),
        ((422, b'{"code": 42210000, "message": "bad symbol"}', {}), InputError, "422"),
        ((403, b'{"message": "subscription does not permit querying recent SIP data"}', {}), InputError, "403"),
        ((200, b'{"bars": {"AAA": [{"t": "2018-', {}), RetryError, "cut off"),
        ((200, b'{"bars": {"AAA": [{"t": "soon"}]}, "next_page_token": null}', {}), DataError, "cannot be read"),
        ((200, b'{"something": "else"}', {}), DataError, "cannot be read"),
    ],
)
def test_what_goes_wrong_is_told_by_what_can_be_done(rest, reply, kind, words):
    rest.script = [reply]
    with pytest.raises(kind, match=words) as caught:
        fetch(alpaca(rest))
    assert SECRET not in str(caught.value) and KEY not in str(caught.value)
    assert len(rest.asked) == 1  # whoever supervises asks again, not the library


def test_throttling_says_for_how_long(rest):
    rest.script = [(429, b"{}", {"Retry-After": "30"})]
    with pytest.raises(RetryError) as caught:
        fetch(alpaca(rest))
    assert caught.value.after_s == 30


def test_wrong_and_missing_keys_are_the_users(rest):
    with pytest.raises(InputError, match="refuses the keys"):
        fetch(alpaca(rest, environ={**ENVIRON, "APCA_API_SECRET_KEY": "wrong"}))
    with pytest.raises(InputError, match="APCA_API_KEY_ID"):
        fetch(alpaca(rest, environ={}))


def test_a_server_that_is_not_there_is_asked_again_later(rest):
    source = alpaca(rest)
    rest.close()
    with pytest.raises(RetryError, match="did not answer"):
        fetch(source)


# --- the stream

OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
FIRST = OPEN + timedelta(minutes=1)


@pytest.fixture
def stream():
    made = []

    def start(*scripts, **named):
        made.append(AlpacaStream(*scripts, **named))
        return made[-1]

    yield start
    for server in made:
        server.close()


def listened(server, most=99, timeframe="1m", environ=ENVIRON, **named):
    """Listen until so many bars and ticks came, or it fails; return them and the failure."""

    async def main():
        feed = FEEDS.create("alpaca", options=AlpacaOptions(stream_url=server.url), environ=environ, **named)
        bars, ticks = [], []
        listening = feed.listen(Wanted(("AAA", "BRK-B"), timeframe))
        try:
            async for arrival in listening:
                bars += arrival.bars.select("symbol", "time", "close", "volume").rows()
                ticks += arrival.ticks
                if len(bars) + len(ticks) >= most:
                    break
        except (RetryError, InputError) as error:
            return bars, ticks, error
        finally:
            await listening.aclose()
        return bars, ticks, None

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_bars_and_trades_come_as_they_are_said(stream):
    server = stream([[bar("AAA", FIRST), bar("BRK.B", FIRST, 300.0)], [trade("AAA", FIRST, 101.25)]])
    bars, ticks, error = listened(server, most=3)
    assert error is None
    assert bars == [("AAA", FIRST, 100.5, 1000.0), ("BRK-B", FIRST, 300.5, 1000.0)]
    assert ticks == [Tick("AAA", FIRST, 101.25)]
    (path, kind), wanted = server.heard
    assert (path, kind) == ("/v2/iex", "application/msgpack")
    assert wanted["bars"] == wanted["updatedBars"] == wanted["trades"] == ["AAA", "BRK.B"]


def test_a_corrected_bar_comes_as_another_version(stream):
    server = stream([[bar("AAA", FIRST)], 0.2, [bar("AAA", FIRST, volume=1200, kind="u")]])
    bars, _, _ = listened(server, most=2)
    assert [volume for *_, volume in bars] == [1000.0, 1200.0]


def test_bars_outside_of_the_session_and_of_others_are_left_out(stream):
    night = OPEN - timedelta(hours=3)
    server = stream([[bar("AAA", night), bar("ZZZ", FIRST), bar("AAA", FIRST)]])
    bars, _, _ = listened(server, most=1)
    assert [row[:2] for row in bars] == [("AAA", FIRST)]


@pytest.mark.parametrize("end", ["close", "drop"])
def test_a_lost_connection_is_told_after_everything_that_was_said_before(stream, end):
    bars, _, error = listened(stream([[bar("AAA", FIRST)], end]))
    assert len(bars) == 1 and isinstance(error, RetryError)


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (402, "auth failed", InputError),
        (404, "auth timeout", RetryError),
        (406, "connection limit exceeded", RetryError),
    ],
)
def test_a_refusal_at_the_door_says_whether_it_passes(stream, code, words, kind):
    _, _, error = listened(stream(refuse=(code, words)))
    assert isinstance(error, kind) and words in str(error) and str(code) in str(error)


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [(405, "symbol limit exceeded", InputError), (407, "slow client", RetryError), (500, "internal error", RetryError),
     (409, "insufficient subscription", InputError)],
)  # fmt: skip
def test_an_error_later_on_says_whether_it_passes(stream, code, words, kind):
    bars, _, error = listened(stream([[bar("AAA", FIRST)], [{"T": "error", "code": code, "msg": words}]]))
    assert len(bars) == 1 and isinstance(error, kind) and words in str(error)


def test_wrong_keys_never_come_back_in_an_error(stream):
    _, _, error = listened(stream(), environ={**ENVIRON, "APCA_API_SECRET_KEY": "my-own-secret"})
    assert isinstance(error, InputError) and "my-own-secret" not in str(error) and KEY not in str(error)


@pytest.mark.parametrize("frame", [b"\xc1\xff\x00", json.dumps([{"T": "b"}]).encode(), [{"T": "b", "S": "AAA"}]])
def test_words_that_cannot_be_read_end_the_conversation_and_not_the_process(stream, frame):
    _, _, error = listened(stream([[bar("AAA", FIRST)], frame]))
    assert isinstance(error, RetryError)


def test_nobody_there_is_told_as_such(stream):
    server = stream()
    server.close()
    _, _, error = listened(server)
    assert isinstance(error, RetryError)
    server.close = lambda: None


def test_larger_bars_are_not_streamed(stream):
    _, _, error = listened(stream(), timeframe="5m")
    assert isinstance(error, InputError) and "poll" in error.hint


def test_a_slow_listener_loses_the_oldest_bars_and_they_are_counted(stream):
    many = [bar("AAA", FIRST + timedelta(minutes=n)) for n in range(40)]
    server = stream([[words] for words in many])

    async def main():
        feed = FEEDS.create("alpaca", options=AlpacaOptions(stream_url=server.url), environ=ENVIRON, waiting=10)
        listening = feed.listen(Wanted(("AAA",), "1m"))
        seen = []
        async for arrival in listening:
            seen += arrival.bars["time"].to_list()
            if FIRST + timedelta(minutes=39) in seen:
                break
            await asyncio.sleep(0.3)
        await listening.aclose()
        return seen, feed.dropped

    seen, dropped = asyncio.run(asyncio.wait_for(main(), 30))
    assert len(seen) + dropped == 40 and dropped > 0 and seen == sorted(seen)
