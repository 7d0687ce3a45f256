"""Alpaca through its own client library against a stand-in: what each answer, and each silence, is taken to mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("alpaca", reason="tradewind[alpaca] is not installed")

from broker_markets import AlpacaMarket
from standin_alpaca import ENVIRON, KEY, SECRET, AlpacaStandin
from standin_exchange import NOON

from tradewind.errors import DataError, InputError, RetryError, SafetyStop
from tradewind.execution.brokers.alpaca import REAL, AlpacaBroker
from tradewind.execution.brokers.base import KnownOrder, OrderRequest, OutcomeUnknown
from tradewind.execution.brokers.settings import BrokerSection

BUY = OrderRequest("tw-0", "AAA", "buy", 10.0)


@pytest.fixture
def market() -> Iterator[AlpacaMarket]:
    made = AlpacaMarket()
    yield made
    made.close()


@pytest.fixture
def standin(market: AlpacaMarket) -> AlpacaStandin:
    return market.standin


@pytest.fixture
def broker(market: AlpacaMarket) -> Any:
    return market.start()


def asked(standin: AlpacaStandin, method: str) -> list[Any]:
    return [body or query for verb, _, query, body in standin.asked if verb == method]


def test_every_kind_of_order_goes_out_in_alpacas_words(broker: Any, standin: AlpacaStandin) -> None:
    orders = [
        OrderRequest("a", "AAA", "buy", 2.0, "market", "at_open"),
        OrderRequest("b", "BBB", "buy", 2.0, "limit", "at_close", limit=9.5),
        OrderRequest("c", "CCC", "buy", 2.0, "stop", "gtc", stop=50.25),
        OrderRequest("d", "DDD", "buy", 2.0, "stop_limit", "gtc", stop=50.25, limit=51.0),
        OrderRequest("e", "EEE", "buy", 2.0, "trailing_stop", "gtc", trail=0.055),
    ]
    for order in orders:
        assert broker.submit(order).status == "accepted"
    sent = asked(standin, "POST")
    assert [body["type"] for body in sent] == ["market", "limit", "stop", "stop_limit", "trailing_stop"]
    assert [body["time_in_force"] for body in sent] == ["opg", "cls", "gtc", "gtc", "gtc"]
    assert [body["client_order_id"] for body in sent] == list("abcde")
    assert sent[1]["limit_price"] == 9.5
    assert (sent[3]["stop_price"], sent[3]["limit_price"]) == (50.25, 51.0)
    assert sent[4]["trail_percent"] == 5.5


def test_fractions_are_bought_in_day_orders_only(broker: Any, standin: AlpacaStandin) -> None:
    assert broker.submit(OrderRequest("a", "AAA", "buy", 1.5)).status == "accepted"
    for order in (
        OrderRequest("b", "AAA", "buy", 1.5, time_in_force="gtc"),
        OrderRequest("c", "AAA", "sell", 1.5),
        OrderRequest("d", "AAA", "buy", 1.5, "trailing_stop", trail=0.1),
    ):
        report = broker.submit(order)
        assert report.status == "rejected"
        assert "fractions" in report.reason
    assert len(asked(standin, "POST")) == 1


def test_what_only_reduces_is_not_sent_where_there_is_nothing_to_reduce(broker: Any, market: AlpacaMarket) -> None:
    close = OrderRequest("tw-9", "AAA", "sell", 10.0, reduce_only=True)
    assert "holds 0 AAA" in broker.submit(close).reason
    broker.submit(BUY)
    market.fill(BUY)
    assert "holds 10 AAA" in broker.submit(replace(close, quantity=11.0)).reason
    assert broker.submit(close).status == "accepted"
    market.fill(close)
    assert broker.submit(close).status == "filled", "asked again when it is done, it is the same order still"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (OrderRequest("x", "AAA", "buy", 1e6), "insufficient buying power"),
        (OrderRequest("x", "AAA", "sell", 1.0), "potential wash trade"),
        (OrderRequest("x", "NONE", "buy", 1.0), "not found"),
        (OrderRequest("x", "AAA", "buy", 1.0, "limit", limit=9.999), "sub-penny"),
    ],
)
def test_a_refusal_is_a_report_and_not_an_exception(broker: Any, order: OrderRequest, reason: str) -> None:
    broker.submit(BUY)
    report = broker.submit(order)
    assert (report.status, report.client_order_id, report.broker_order_id) == ("rejected", "x", "")
    assert reason in report.reason
    assert broker.order("x") is None


def test_another_order_under_our_id_stops_trading(broker: Any) -> None:
    broker.submit(BUY)
    with pytest.raises(SafetyStop, match="another order under the id"):
        broker.submit(replace(BUY, quantity=11.0))


@pytest.mark.parametrize("mishap", ["after", "cut", "garbage", 500, 502, 504])
def test_no_clear_answer_to_an_order_is_an_unknown_outcome_and_is_not_repeated(
    broker: Any, standin: AlpacaStandin, mishap: str | int
) -> None:
    standin.fail(mishap, "POST")
    with pytest.raises(OutcomeUnknown):
        broker.submit(BUY)
    assert len(asked(standin, "POST")) == 1
    assert (broker.order("tw-0") is None) == isinstance(mishap, int)
    assert broker.submit(BUY).status == "accepted"
    assert len(standin.exchange.orders) == 1


@pytest.mark.parametrize("mishap", ["slow_before", "slow_after"])
def test_a_time_out_leaves_the_outcome_unknown(market: AlpacaMarket, standin: AlpacaStandin, mishap: str) -> None:
    broker = market.made(timeout_seconds=0.1)
    standin.fail(mishap, "POST")
    with pytest.raises(OutcomeUnknown, match="timed out"):
        broker.submit(BUY)
    assert (broker.order("tw-0") is None) == (mishap == "slow_before")
    broker.close()


def test_a_duplicate_that_cannot_be_read_back_is_unknown(market: AlpacaMarket, standin: AlpacaStandin) -> None:
    broker = market.made(retries=0)
    broker.submit(BUY)
    standin.fail(503, "GET", "by_client")
    with pytest.raises(OutcomeUnknown):
        broker.submit(BUY)
    broker.close()


def test_a_broker_that_is_not_there_got_nothing(standin: AlpacaStandin) -> None:
    pauses: list[float] = []
    settings = BrokerSection(name="alpaca", url="http://127.0.0.1:9", retries=2)
    broker = AlpacaBroker(settings, environ=ENVIRON, sleep=pauses.append)
    with pytest.raises(RetryError, match=r"does not answer for the order .* \(3 attempts\)") as caught:
        broker.submit(BUY)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert len(pauses) == 2
    broker.close()


def test_throttled_it_waits_as_long_as_it_is_told_and_orders_once(standin: AlpacaStandin) -> None:
    pauses: list[float] = []
    broker = AlpacaBroker(BrokerSection(name="alpaca", url=standin.url), environ=ENVIRON, sleep=pauses.append)
    standin.fail(429, "POST", times=2, Retry_After="7")
    assert broker.submit(BUY).status == "accepted"
    assert pauses == [7.0, 7.0]
    standin.fail(429, "POST", times=99, Retry_After="86400")
    with pytest.raises(RetryError, match="too many requests") as caught:
        broker.submit(replace(BUY, client_order_id="tw-1"))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert max(pauses) == broker.settings.longest_pause_seconds
    assert len(standin.exchange.orders) == 1
    broker.close()


@pytest.mark.parametrize("mishap", [500, 503, 429, "before", "cut", "garbage"])
def test_questions_are_asked_again_with_growing_pauses(standin: AlpacaStandin, mishap: str | int) -> None:
    pauses: list[float] = []
    broker = AlpacaBroker(BrokerSection(name="alpaca", url=standin.url), environ=ENVIRON, sleep=pauses.append)
    standin.fail(mishap, "GET", "account$", times=3)
    assert broker.account().cash == 10_000.0
    assert len(pauses) == 3
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))
    standin.fail(mishap, "GET", "clock$", times=5)
    with pytest.raises(DataError if mishap == "garbage" else RetryError, match=r"\(5 attempts\)"):
        broker.clock()
    broker.close()


@pytest.mark.parametrize(
    ("name", "message"), [("APCA_API_KEY_ID", "forbidden"), ("APCA_API_SECRET_KEY", "not authorized")]
)
def test_refused_keys_are_an_input_error_that_does_not_show_them(
    standin: AlpacaStandin, name: str, message: str
) -> None:
    settings = BrokerSection(name="alpaca", url=standin.url)
    broker = AlpacaBroker(settings, environ={**ENVIRON, name: "WRONGKEY"}, sleep=lambda seconds: None)
    for ask in (broker.account, lambda: broker.submit(BUY)):
        with pytest.raises(InputError, match=message) as caught:
            ask()
        shown = f"{caught.value} {caught.value!r} {broker!r} {vars(broker)!r}"
        assert not any(secret in shown for secret in (KEY, SECRET, "WRONGKEY"))
        assert caught.value.__cause__ is None
    broker.close()


@pytest.mark.parametrize("missing", list(ENVIRON))
def test_keys_come_from_the_environment_only(standin: AlpacaStandin, missing: str) -> None:
    with pytest.raises(InputError, match=missing) as caught:
        AlpacaBroker(BrokerSection(name="alpaca"), environ={k: v for k, v in ENVIRON.items() if k != missing})
    assert KEY not in str(caught.value)


def test_paper_is_the_default_and_live_cannot_come_in_by_an_address() -> None:
    broker = AlpacaBroker(environ=ENVIRON)
    assert str(broker._client._base_url.value) == "https://paper-api.alpaca.markets"
    assert (repr(broker), broker.live) == ("AlpacaBroker(paper)", False)
    for address in (REAL, f"{REAL}./", f"{REAL.upper()}:443"):
        with pytest.raises(SafetyStop, match="real money"):
            AlpacaBroker(BrokerSection(name="alpaca", url=address), environ=ENVIRON)
    with pytest.raises(InputError, match="http://host:port"):
        AlpacaBroker(BrokerSection(name="alpaca", url="api.alpaca.markets"), environ=ENVIRON)
    assert str(AlpacaBroker(environ=ENVIRON, live=True)._client._base_url.value) == REAL


def test_fills_told_twice_and_out_of_order_come_once_and_in_order(broker: Any, market: AlpacaMarket) -> None:
    broker.submit(BUY)
    for _ in range(5):
        market.exchange.fill(market.find(BUY), 1.0)
    market.standin.doubled = market.standin.shuffled = True
    times = [e.time for e in broker.executions()]
    assert len(times) == 5
    assert times == sorted(times)


def test_long_histories_are_read_page_after_page(broker: Any, market: AlpacaMarket, monkeypatch: Any) -> None:
    monkeypatch.setattr("tradewind.execution.brokers.alpaca.ORDERS_PAGE", 7)
    monkeypatch.setattr("tradewind.execution.brokers.alpaca.PAGE", 10)
    for n in range(30):
        market.exchange.fill(market.exchange.place(f"id-{n}", "AAA", "buy", 1.0, "market"))
    assert [r.client_order_id for r in broker.orders()] == [f"id-{n}" for n in range(30)]
    executions = broker.executions()
    assert [e.client_order_id for e in executions] == [f"id-{n}" for n in range(30)]
    since = executions[20].time
    assert [e.client_order_id for e in broker.executions(since=since)] == [f"id-{n}" for n in range(20, 30)]
    assert broker.orders(open_only=True) == []


def test_an_open_order_from_long_ago_is_listed_whenever_one_asks(broker: Any) -> None:
    broker.submit(BUY)
    assert [r.client_order_id for r in broker.orders(since=NOON + timedelta(days=30))] == ["tw-0"]


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("new", "accepted"), ("pending_new", "accepted"), ("done_for_day", "accepted"), ("held", "accepted"),
        ("stopped", "accepted"), ("suspended", "accepted"), ("pending_cancel", "cancelling"),
        ("replaced", "cancelled"), ("canceled", "cancelled"), ("expired", "expired"), ("rejected", "rejected"),
    ],
)  # fmt: skip
def test_every_status_has_a_meaning(broker: Any, market: AlpacaMarket, status: str, meant: str) -> None:
    from alpaca.trading.enums import OrderStatus

    from tradewind.execution.brokers.alpaca import STATUS

    broker.submit(BUY)
    market.find(BUY).status = status
    assert broker.order("tw-0").status == meant
    assert set(STATUS) == {known.value for known in OrderStatus}


def test_an_order_that_makes_no_sense_is_a_data_error(market: AlpacaMarket, standin: AlpacaStandin) -> None:
    broker = market.made(retries=0)
    broker.submit(BUY)
    market.find(BUY).status = "vapourised"
    with pytest.raises(DataError, match="vapourised"):
        broker.order("tw-0")
    with pytest.raises(OutcomeUnknown):
        broker.submit(BUY)
    broker.close()


def test_dividends_fees_splits_and_interest_are_movements(broker: Any, market: AlpacaMarket) -> None:
    market.exchange.move("DIV", "AAA", 0.0, 12.5, shares_paid=10.0)
    market.exchange.move("DIVNRA", "AAA", 0.0, -1.88, shares_paid=10.0)
    market.exchange.move("SPLIT", "AAA", 30.0)
    market.exchange.move("INT", cash=0.4)
    market.exchange.move("FEE", cash=-0.02, status="canceled")
    made = broker.movements()
    assert [(m.kind, m.symbol, m.quantity, m.cash) for m in made] == [
        ("dividend", "AAA", 0.0, 12.5),
        ("dividend", "AAA", 0.0, -1.88),
        ("split", "AAA", 30.0, 0.0),
        ("interest", "", 0.0, 0.4),
    ]
    late = broker.movements(since=NOON + timedelta(days=6))
    assert late == made, "what is dated to a day may be booked a week later"


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_short_position_is_negative_whatever_sign_alpaca_gives_its_quantity(
    broker: Any, standin: AlpacaStandin, unsigned: bool
) -> None:
    standin.unsigned = unsigned
    standin.exchange.shares, standin.exchange.price = {"AAA": -10.0, "BBB": 4.0}, {"AAA": 33.33, "BBB": 20.0}
    held = broker.account().positions
    assert {symbol: (one.quantity, one.average_price) for symbol, one in held.items()} == {
        "AAA": (-10.0, 33.33),
        "BBB": (4.0, 20.0),
    }
    cover = OrderRequest("tw-1", "AAA", "buy", 10.0, reduce_only=True)
    assert broker.submit(cover).status == "accepted"
    assert "holds -10 AAA" in broker.submit(replace(cover, client_order_id="tw-2", side="sell")).reason


def test_what_the_account_may_not_do_is_named(broker: Any, standin: AlpacaStandin) -> None:
    standin.account_words = {"trading_blocked": True, "shorting_enabled": False, "status": "ACCOUNT_CLOSED"}
    assert broker.account().blocked == ("trading_blocked", "status ACCOUNT_CLOSED", "short_not_allowed")


def test_the_clock_is_alpacas_and_in_utc(broker: Any, market: AlpacaMarket) -> None:
    market.exchange.skew = timedelta(seconds=-42)
    told = broker.clock()
    assert told.time == NOON - timedelta(seconds=42)
    assert (told.is_open, f"{told.next_close:%H:%M}") == (True, "21:00")


@pytest.mark.parametrize("count", [3, 30])
def test_what_can_be_borrowed_is_asked_one_by_one_or_all_at_once(
    broker: Any, standin: AlpacaStandin, count: int
) -> None:
    standin.unshortable = {"S001"}
    told = broker.availability([*(f"S{n:03}" for n in range(count - 1)), "NONE"])
    assert told["NONE"] is None
    assert [symbol for symbol, found in told.items() if found and not found.easy_to_borrow] == ["S001"]
    assert len(asked(standin, "GET")) == (count if count < 20 else 1)


def test_share_classes_keep_our_names(market: AlpacaMarket) -> None:
    order = OrderRequest("tw-0", "BRK-B", "buy", 1.0)
    broker: Any = market.start()
    assert broker.submit(order).symbol == "BRK-B"
    deal = market.exchange.orders[0]
    assert deal.symbol == "BRK.B"
    market.exchange.fill(deal)
    again: Any = market.start()
    again.recognise([KnownOrder(order, "", None)])
    assert [e.symbol for e in again.executions()] == ["BRK-B"]
    assert list(again.account().positions) == ["BRK-B"]


def test_orders_rest_until_the_market_reaches_them(broker: Any, market: AlpacaMarket) -> None:
    """The stand-in's own market: limits, stops and trailing stops fill where they should, and not before."""
    broker.submit(OrderRequest("limit", "AAA", "buy", 5.0, "limit", "gtc", limit=30.0))
    broker.submit(OrderRequest("stop", "AAA", "buy", 5.0, "stop", "gtc", stop=40.0))
    broker.submit(OrderRequest("trail", "AAA", "buy", 5.0, "trailing_stop", "gtc", trail=0.1))
    market.exchange.trade("AAA", 35.0)
    assert [r.status for r in broker.orders()] == ["accepted"] * 3
    market.exchange.trade("AAA", 30.0, volume=3.0)
    assert broker.order("limit").filled_quantity == 3.0
    market.exchange.trade("AAA", 33.5)
    assert broker.order("trail").average_price == 33.5
    market.exchange.trade("AAA", 41.0)
    assert broker.order("stop").average_price == 41.0
