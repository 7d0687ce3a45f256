"""Schwab through schwabdev against a stand-in: orders without an id of ours are recognised, or trading stops."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schwabdev", reason="tradewind[schwab] is not installed")

import requests
from broker_markets import SchwabMarket
from standin_exchange import NOON
from standin_schwab import ENVIRON, HASH, REFRESHED, SchwabStandin, write_tokens

from tradewind.errors import DataError, InputError, RetryError, SafetyStop
from tradewind.execution.brokers.base import KnownOrder, OrderRequest, OutcomeUnknown
from tradewind.execution.brokers.schwab import REAL, SchwabBroker
from tradewind.execution.brokers.settings import BrokerSection

BUY = OrderRequest("tw-0", "AAA", "buy", 10.0)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[SchwabMarket]:
    made = SchwabMarket(tmp_path)
    yield made
    made.close()


@pytest.fixture
def standin(market: SchwabMarket) -> SchwabStandin:
    return market.standin


@pytest.fixture
def broker(market: SchwabMarket) -> Any:
    return market.start()


def sent(standin: SchwabStandin) -> list[Any]:
    return [body for verb, path, _, body in standin.asked if verb == "POST" and path.endswith("/orders")]


def known(request: OrderRequest, number: str = "", *, after_s: float = 0.0) -> KnownOrder:
    return KnownOrder(request, number, NOON + timedelta(seconds=after_s))


def test_every_kind_of_order_goes_out_in_schwabs_words(broker: Any, standin: SchwabStandin) -> None:
    orders = [
        OrderRequest("a", "AAA", "buy", 2.0),
        OrderRequest("b", "BBB", "sell", 2.0, "market", "at_close", reduce_only=True),
        OrderRequest("c", "CCC", "sell", 2.0, "limit", "at_close", limit=12345.67),
        OrderRequest("d", "DDD", "buy", 2.0, "stop_limit", "gtc", stop=50.25, limit=51.0, reduce_only=True),
        OrderRequest("e", "EEE", "sell", 2.0, "trailing_stop", "gtc", trail=0.055, reduce_only=True),
    ]
    for order in orders:
        assert broker.submit(order).status == "accepted"
    bodies = sent(standin)
    types = ["MARKET", "MARKET_ON_CLOSE", "LIMIT_ON_CLOSE", "STOP_LIMIT", "TRAILING_STOP"]
    assert [body["orderType"] for body in bodies] == types
    legs = [body["orderLegCollection"][0] for body in bodies]
    assert [leg["instruction"] for leg in legs] == ["BUY", "SELL", "SELL_SHORT", "BUY_TO_COVER", "SELL"]
    assert [body["duration"] for body in bodies] == ["DAY", "DAY", "DAY", "GOOD_TILL_CANCEL", "GOOD_TILL_CANCEL"]
    assert bodies[2]["price"] == "12345.67"
    assert (bodies[3]["stopPrice"], bodies[3]["price"]) == ("50.25", "51")
    assert {k: v for k, v in bodies[4].items() if k.startswith("stopPrice")} == {
        "stopPriceLinkBasis": "BID",
        "stopPriceLinkType": "PERCENT",
        "stopPriceOffset": 5.5,
    }


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (OrderRequest("x", "AAA", "buy", 1.5), "whole shares"),
        (OrderRequest("x", "AAA", "buy", 1.0, time_in_force="at_open"), "opening auction"),
    ],
)
def test_what_schwab_does_not_have_is_rejected_before_it_is_sent(
    broker: Any, standin: SchwabStandin, order: OrderRequest, reason: str
) -> None:
    report = broker.submit(order)
    assert report.status == "rejected"
    assert reason in report.reason
    assert sent(standin) == []


def test_an_order_that_schwab_takes_and_rejects_is_rejected_with_its_words(broker: Any, standin: SchwabStandin) -> None:
    standin.rejects = "You do not have enough available cash/buying power for this order."
    report = broker.submit(BUY)
    assert (report.status, report.broker_order_id) == ("rejected", "1001")
    assert "buying power" in report.reason


def test_an_order_that_schwab_refuses_outright_is_rejected(broker: Any, standin: SchwabStandin) -> None:
    standin.fail(400, "POST", "orders$")
    assert broker.submit(BUY).status == "rejected"
    assert broker.order("tw-0") is None
    assert broker.submit(BUY).status == "accepted", "it never was an order"


@pytest.mark.parametrize("mishap", ["after", "slow_after", "cut", 500, 503])
def test_a_lost_answer_is_recognised_and_never_sent_twice(
    market: SchwabMarket, standin: SchwabStandin, mishap: str | int
) -> None:
    broker = market.made(timeout_seconds=0.1)
    standin.fail(mishap, "POST", "orders$")
    if mishap == "cut":
        assert broker.submit(BUY).status == "accepted", "an answer without a body cannot be cut short"
    else:
        with pytest.raises(OutcomeUnknown):
            broker.submit(BUY)
    if isinstance(mishap, int):
        assert broker.order("tw-0") is None
        with pytest.raises(OutcomeUnknown, match="may still be on its way"):
            broker.submit(BUY)
        assert standin.exchange.orders == []
    else:
        assert broker.order("tw-0").broker_order_id == "1001"
        assert broker.submit(BUY).broker_order_id == "1001"
    assert len(sent(standin)) == 1
    broker.close()


def test_an_order_without_a_number_in_its_answer_is_recognised(broker: Any, standin: SchwabStandin) -> None:
    standin.no_location = True
    assert broker.submit(BUY).broker_order_id == "1001"


def test_an_order_that_was_taken_is_accepted_even_if_it_cannot_be_looked_at(
    market: SchwabMarket, standin: SchwabStandin
) -> None:
    broker = market.made(retries=0)
    standin.fail(503, "GET", "orders/")
    report = broker.submit(BUY)
    assert (report.status, report.broker_order_id, report.updated) == ("accepted", "1001", None)
    standin.no_location = True
    standin.fail(503, "GET", "orders$")
    with pytest.raises(OutcomeUnknown, match="gave it no number"):
        broker.submit(replace(BUY, client_order_id="tw-1", quantity=3.0))
    broker.close()


def test_throttled_and_refused_connections_leave_nothing_behind(market: SchwabMarket, standin: SchwabStandin) -> None:
    pauses: list[float] = []
    broker = market.made(sleep=pauses.append, retries=2)
    broker.account()
    standin.fail(429, "POST", "orders$", times=3, Retry_After="5")
    with pytest.raises(RetryError, match="too many requests") as caught:
        broker.submit(BUY)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert pauses == [5.0, 5.0]
    assert broker.submit(BUY).status == "accepted"
    broker.close()


# -- recognising ---------------------------------------------------------------------------------------------


def test_after_a_start_orders_are_known_by_number_or_by_what_they_say(market: SchwabMarket) -> None:
    first: Any = market.start()
    other = replace(BUY, client_order_id="tw-1", symbol="BBB")
    number = first.submit(BUY).broker_order_id
    first.submit(other)
    again: Any = market.start()
    assert again.order("tw-0") is None
    again.recognise([known(BUY, number), known(other)])
    assert [r.client_order_id for r in again.orders()] == ["tw-0", "tw-1"]
    market.fill(other)
    assert [e.client_order_id for e in again.executions()] == ["tw-1"]


def test_an_order_never_sent_is_not_looked_for(market: SchwabMarket) -> None:
    market.exchange.place("s0", "AAA", "buy", 10.0, "market", **market.words("AAA"))
    market.exchange.orders[0].words["orderLegCollection"][0]["quantity"] = 10
    broker: Any = market.start()
    broker.recognise([KnownOrder(BUY, "", None)])
    assert broker.order("tw-0") is None


@pytest.mark.parametrize(
    "different",
    [{"quantity": 11.0}, {"side": "sell"}, {"symbol": "BBB"}, {"kind": "limit", "limit": 9.0}, {"reduce_only": True}],
)
def test_another_order_is_not_taken_for_ours(market: SchwabMarket, different: dict[str, Any]) -> None:
    first: Any = market.start()
    first.submit(replace(BUY, client_order_id="other", **different))
    again: Any = market.start()
    again.recognise([known(BUY)])
    assert again.order("tw-0") is None
    assert [r.client_order_id for r in again.orders()] == [""]


@pytest.mark.parametrize(
    ("after_s", "found"), [(-1000.0, False), (-800.0, True), (0.0, True), (50.0, True), (70.0, False)]
)
def test_an_order_entered_at_another_time_is_not_ours(market: SchwabMarket, after_s: float, found: bool) -> None:
    first: Any = market.start()
    first.submit(BUY)  # entered a second after noon
    again: Any = market.start()
    again.recognise([known(BUY, after_s=after_s)])
    assert (again.order("tw-0") is not None) == found


def test_two_that_could_be_ours_stop_trading(market: SchwabMarket) -> None:
    first: Any = market.start()
    first.submit(BUY)
    first.submit(replace(BUY, client_order_id="tw-1"))
    again: Any = market.start()
    with pytest.raises(SafetyStop, match="could be each of Schwab's orders 1001, 1002"):
        again.recognise([known(BUY)])
    third: Any = market.start()
    third.recognise([known(BUY, "1001"), known(replace(BUY, client_order_id="tw-1"))])
    assert third.order("tw-1").broker_order_id == "1002", "one is known by its number: the other is the other"


def test_two_of_ours_that_one_could_be_stop_trading(market: SchwabMarket) -> None:
    first: Any = market.start()
    first.submit(BUY)
    again: Any = market.start()
    with pytest.raises(SafetyStop, match="2 of ours could be one of them"):
        again.recognise([known(BUY), known(replace(BUY, client_order_id="tw-1"))])


def test_a_trailing_stop_is_recognised_by_its_distance(market: SchwabMarket) -> None:
    order = OrderRequest("tw-0", "AAA", "sell", 10.0, "trailing_stop", "gtc", trail=0.1)
    first: Any = market.start()
    first.submit(order)
    market.exchange.orders[0].words["stopPrice"] = "29.7"
    again: Any = market.start()
    again.recognise([known(order)])
    assert again.order("tw-0") is not None


def test_an_old_order_of_ours_that_fills_today_is_not_lost(market: SchwabMarket) -> None:
    old = replace(BUY, time_in_force="gtc")
    first: Any = market.start()
    first.submit(old)
    later = NOON + timedelta(days=100)
    again = market.made(now=later)
    again.recognise([known(old, "1001")])
    fill = market.exchange.fill(market.exchange.orders[0])
    fill.time = market.exchange.orders[0].updated = later
    for _ in range(2):
        assert [e.client_order_id for e in again.executions(since=later - timedelta(days=1))] == ["tw-0"]
        assert [r.status for r in again.orders(since=later - timedelta(days=1))] == ["filled"]
    again.close()


def test_fills_told_twice_come_once(broker: Any, market: SchwabMarket, standin: SchwabStandin) -> None:
    broker.submit(BUY)
    for _ in range(3):
        market.fill(BUY, 1.0)
    standin.doubled = True
    assert len(broker.executions()) == 3


# -- the account ---------------------------------------------------------------------------------------------


def test_fees_of_trades_dividends_and_deliveries_are_movements(broker: Any, market: SchwabMarket) -> None:
    broker.submit(BUY)
    market.fill(BUY)
    market.exchange.move("DIV", "AAA", 0.0, 12.5)
    market.exchange.move("SPLIT", "AAA", 30.0)
    market.exchange.move("CSD", cash=100.0)
    market.exchange.move("DIV", "AAA", 0.0, 1.0, status="INVALID")
    assert [(m.kind, m.symbol, m.quantity, m.cash) for m in broker.movements()] == [
        ("fee", "", 0.0, -0.35),
        ("dividend", "AAA", 0.0, 12.5),
        ("receive_and_deliver", "AAA", 30.0, 0.0),
        ("cash_receipt", "", 0.0, 100.0),
    ]


def test_the_account_is_chosen_by_its_last_digits(market: SchwabMarket, standin: SchwabStandin) -> None:
    standin.accounts.append(("11112222", "F" * 32))
    undecided: Any = market.start()
    with pytest.raises(InputError, match=r"2 of Schwab's accounts end in '' \(there are: …222, …767\)") as caught:
        undecided.account()
    assert HASH not in str(caught.value)
    chosen = market.made(account="6767")
    assert (chosen.account_number(), chosen.account().cash) == ("88516767", 10_000.0)
    chosen.close()


def test_debit_and_restrictions_are_told(broker: Any, market: SchwabMarket, standin: SchwabStandin) -> None:
    market.exchange.cash = -123_45
    standin.account_words = {"isClosingOnlyRestricted": True, "type": "CASH"}
    account = broker.account()
    assert account.cash == -123.45
    assert account.blocked == ("closing_only", "short_not_allowed")


def test_the_clock_is_in_the_header_and_the_hours_are_todays(broker: Any, market: SchwabMarket) -> None:
    assert (broker.clock().time, broker.clock().is_open) == (NOON, False)
    market.exchange.skew = timedelta(hours=4)
    told = broker.clock()
    assert (told.is_open, told.next_open, f"{told.next_close:%H:%M}") == (True, None, "21:00")


def test_an_account_that_cannot_be_read_is_a_data_error(broker: Any, standin: SchwabStandin) -> None:
    standin.account_words = {"currentBalances": {}}
    with pytest.raises(DataError, match="liquidationValue"):
        broker.account()
    standin.fail(403, "GET", "accounts/[^a]")
    with pytest.raises(DataError, match="refuses to answer"):
        broker.account()


def test_share_classes_keep_our_names(broker: Any, market: SchwabMarket) -> None:
    assert broker.submit(OrderRequest("tw-0", "BRK-B", "buy", 1.0)).symbol == "BRK-B"
    assert market.exchange.orders[0].symbol == "BRK/B"


# -- who is logged in ----------------------------------------------------------------------------------------


@pytest.fixture
def tokens_from_the_standin(standin: SchwabStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send schwabdev's own question for tokens to the stand-in: its address cannot be set."""
    real = requests.post

    def post(url: str, **named: Any) -> requests.Response:
        return real(url.replace(REAL, standin.url), **named)

    monkeypatch.setattr("schwabdev.tokens.requests.post", post)


@pytest.mark.usefixtures("tokens_from_the_standin")
def test_an_access_token_that_ended_is_renewed_and_the_order_goes_out_once(broker: Any, standin: SchwabStandin) -> None:
    standin.tokens = {REFRESHED}
    assert broker.submit(BUY).status == "accepted"
    assert len(standin.exchange.orders) == 1


@pytest.mark.usefixtures("tokens_from_the_standin")
def test_tokens_that_are_refused_for_good_need_a_person(broker: Any, standin: SchwabStandin) -> None:
    standin.tokens = set()
    with pytest.raises(InputError, match="refuses the credentials"):
        broker.account()


def test_nobody_logged_in_is_said_and_nobody_is_asked_on_a_terminal(market: SchwabMarket, tmp_path: Path) -> None:
    asked: list[str] = []
    settings = BrokerSection(name="schwab", url=market.standin.url, tokens_path=str(tmp_path / "none.db"))
    with pytest.raises(InputError, match="nobody is logged in") as caught:
        SchwabBroker(settings, environ=ENVIRON, log_in=lambda page: asked.append(page) or "")
    assert asked[0].startswith(f"{REAL}/v1/oauth/authorize?client_id=")
    assert ENVIRON["SCHWAB_APP_KEY"] not in str(caught.value)


@pytest.mark.usefixtures("tokens_from_the_standin")
def test_a_person_may_log_in_on_the_way(market: SchwabMarket, tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    settings = BrokerSection(name="schwab", url=market.standin.url, tokens_path=str(path))
    broker = SchwabBroker(settings, environ=ENVIRON, log_in=lambda page: "https://127.0.0.1?code=CODE")
    assert broker.account_number() == "88516767"
    assert broker.login_ends() > datetime.now(UTC) + timedelta(days=6)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    broker.close()


def test_no_secret_is_shown(broker: Any) -> None:
    shown = repr(broker) + repr(vars(broker))
    assert not any(secret in shown for secret in (*ENVIRON.values(), "access-1", "refresh-1"))


def test_schwab_without_the_flag_is_a_stand_in_or_nothing(market: SchwabMarket, tmp_path: Path) -> None:
    settings = BrokerSection(name="schwab", tokens_path=str(market.tokens))
    with pytest.raises(InputError, match="no paper accounts"):
        SchwabBroker(settings, environ=ENVIRON)
    with pytest.raises(SafetyStop, match="real money"):
        SchwabBroker(settings.model_copy(update={"url": REAL}), environ=ENVIRON)
    with pytest.raises(InputError, match="SCHWAB_APP_SECRET"):
        SchwabBroker(settings, live=True, environ={"SCHWAB_APP_KEY": ENVIRON["SCHWAB_APP_KEY"]})
    with pytest.raises(InputError, match="does not take this") as caught:
        SchwabBroker(settings, live=True, environ={"SCHWAB_APP_KEY": "short", "SCHWAB_APP_SECRET": "odd"})
    assert "short" not in str(caught.value)


def test_the_stand_ins_tokens_are_schwabdevs(tmp_path: Path) -> None:
    assert write_tokens(tmp_path / "t.db").exists()
