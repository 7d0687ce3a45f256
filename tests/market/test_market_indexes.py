"""Sources of index members: one contract for all, and Nasdaq's wire format over real HTTP."""

import json
from datetime import date

import pytest
from market_nasdaq_standin import LATER, PAGE, SYMBOLS, TOO_MANY, NasdaqStandin, answer

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.indexes.base import INDEXES, listing


@pytest.fixture
def nasdaq():
    server = NasdaqStandin()
    yield server
    server.close()


@pytest.fixture
def index(nasdaq, timepiece):
    return INDEXES.create("nasdaq100", url=nasdaq.url, clock=timepiece, sleep=timepiece.sleep, jitter=lambda: 0.0)


@pytest.mark.parametrize("name", INDEXES.names())
def test_every_index_says_how_many_members_make_a_whole_list(name):
    source = INDEXES.create(name)
    assert source.name == name
    assert 0 < source.fewest < source.most


def test_unknown_indices_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'nasdaq100'"):
        INDEXES.create("nasdaq10")


def test_the_members_are_read_sorted_with_the_date_of_the_list(index, nasdaq):
    found = index.members()
    assert found.symbols == tuple(sorted(SYMBOLS))
    assert (found.stated_on, found.provider) == (date(2026, 9, 24), nasdaq.url)


def test_the_question_looks_like_a_browsers(index, nasdaq):
    index.members()
    ((path, headers),) = nasdaq.asked
    assert path == "/api/quote/list-type/nasdaq100"
    assert "Mozilla" in headers["user-agent"] and "application/json" in headers["accept"]
    assert headers["origin"] == "https://www.nasdaq.com"


@pytest.mark.parametrize("stated", ["", "DATA AS OF yesterday", None])
def test_a_list_without_a_readable_date_is_a_list(index, nasdaq, stated):
    nasdaq.script = [answer(date=stated)]
    assert index.members().stated_on is None


@pytest.mark.parametrize("trouble", [TOO_MANY, LATER, (200, PAGE, {}), (503, "Service Unavailable", {})])
def test_passing_trouble_is_waited_out(index, nasdaq, timepiece, trouble):
    nasdaq.script = [trouble]
    assert len(index.members().symbols) == 101
    assert len(nasdaq.asked) == 2 and sum(timepiece.sleeps) >= 1.0


def test_the_server_says_how_long_to_wait(index, nasdaq, timepiece):
    nasdaq.script = [TOO_MANY]
    index.members()
    assert 7.0 in timepiece.sleeps


@pytest.mark.parametrize(
    ("trouble", "kind", "text"),
    [
        (TOO_MANY, RetryError, "too many requests"),
        (LATER, RetryError, "Something went wrong"),
        ((500, "", {}), RetryError, "the server failed"),
        ((200, PAGE, {}), DataError, "is no JSON"),
        ((403, PAGE, {}), DataError, r"is no JSON \(status 403\)"),
        ((404, json.dumps({"data": None, "message": "Not Found"}), {}), RetryError, "Not Found"),
    ],
)
def test_lasting_trouble_is_named_after_all_attempts(index, nasdaq, trouble, kind, text):
    nasdaq.script = [trouble] * 4
    with pytest.raises(kind, match=text):
        index.members()
    assert len(nasdaq.asked) == 4


def test_a_server_that_is_not_there_is_a_passing_fault(index, nasdaq):
    nasdaq.close()
    with pytest.raises(RetryError, match="no answer"):
        index.members()


@pytest.mark.parametrize(
    "data", [{"rows": [{"symbol": "AAPL"}]}, {"data": {}}, {"data": {"rows": [{"ticker": "AAPL"}]}}, {"data": []}]
)
def test_another_wire_format_is_refused(index, nasdaq, data):
    nasdaq.script = [(200, json.dumps({"data": data}), {})]
    with pytest.raises(DataError, match="unknown shape"):
        index.members()


@pytest.mark.parametrize("junk", ["", "not a symbol", "<b>", None, 7])
def test_what_is_no_symbol_is_refused(junk):
    with pytest.raises(DataError, match="is no symbol"):
        listing(["AAPL", junk], stated_on=None, provider="here")


def test_repeated_members_are_refused():
    with pytest.raises(DataError, match="1 members twice"):
        listing(["AAPL", "AMD", " AAPL "], stated_on=None, provider="here")
