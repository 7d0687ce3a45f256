"""Two books of the same days: every cent of their difference has its cause, and the causes add up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_kit import QuickRun
from tradewind.errors import DataError
from tradewind.evaluation.reconciliation import CAUSES, Books, reconcile_books, said
from tradewind.execution.brokers.base import Execution, Movement

DAY = timedelta(days=1)
FIRST = datetime(2020, 3, 2, 21, tzinfo=UTC)


def day(number: float) -> datetime:
    return FIRST + number * DAY


def fill(number: float, symbol: str, quantity: float, price: float, fee: float = 0.0, name: str = "") -> Execution:
    return Execution(name or f"{symbol}-{number}-{quantity}", "", symbol, quantity, price, day(number), fee)


def split(number: float, symbol: str, gained: float) -> Movement:
    return Movement(f"split-{symbol}-{number}", "split", day(number), symbol, gained)


def dividend(number: float, symbol: str, cash: float) -> Movement:
    return Movement(f"dividend-{symbol}-{number}", "dividend", day(number), symbol, 0.0, cash)


def book(*executions: Execution, moved: tuple[Movement, ...] = (), start: float = 10_000.0, **marks: float) -> Books:
    return Books.journal(executions, moved, start, {"AAA": 12.0, "BBB": 50.0, **marks})


def causes(tested: Books, happened: Books, **options: timedelta) -> dict[str, float]:
    """Return the causes that are not nothing, having checked that they add up."""
    found = reconcile_books(tested, happened, **options)
    assert set(found["by_cause"]) == set(CAUSES)
    cents = [round(amount * 100) for amount in found["by_cause"].values()]
    total = happened.equity_cents() - tested.equity_cents()
    assert sum(cents) == round(found["equity"]["difference"] * 100) == total
    assert sum(round(amount * 100) for amount in found["by_symbol"].values()) == total
    return {cause: round(amount, 2) for cause, amount in found["by_cause"].items() if found["counts"][cause]}


def test_equal_books_have_nothing_to_explain(framed: QuickRun) -> None:
    base = framed.record.tradings["base"].simulation
    found = reconcile_books(base, base)
    assert found["equal"] and found["explained"] and found["first"] is None
    assert found["matched"] > 100 and found["equity"]["difference"] == 0
    assert said(found)[0].startswith("the books agree")


def test_books_at_double_costs_differ_by_costs_and_by_the_sizes_that_were_left(framed: QuickRun) -> None:
    tradings = framed.record.tradings
    found = reconcile_books(tradings["base"].simulation, tradings["double_costs"].simulation)
    assert found["explained"] and not found["equal"]
    assert sum(round(a * 100) for a in found["by_cause"].values()) == round(found["equity"]["difference"] * 100)
    paid = sum(tradings["base"].simulation.costs[name] for name in ("commission", "spread", "slippage", "impact"))
    assert found["by_cause"]["cost"] == pytest.approx(-paid, rel=0.05)
    assert found["first"]["cause"] in ("cost", "quantity") and found["first"]["symbol"]


def test_a_bar_late_is_a_matter_of_timing(framed: QuickRun) -> None:
    tradings = framed.record.tradings
    found = reconcile_books(tradings["base"].simulation, tradings["delay_1"].simulation)
    assert found["explained"]
    assert sum(round(a * 100) for a in found["by_cause"].values()) == round(found["equity"]["difference"] * 100)
    assert found["counts"]["timing"] > 3 * found["counts"]["missing_fill"]


def test_a_missing_fill_costs_what_it_would_have_made(framed: QuickRun) -> None:
    base = Books.of(framed.record.tradings["base"].simulation)
    last = base.fills.filter(pl.col("reason") == "signal").row(-1, named=True)
    own = (pl.col("time") == last["time"]) & (pl.col("symbol") == last["symbol"])
    fills = base.fills.filter(~own)
    ledger = base.ledger.filter(~own | ~pl.col("kind").is_in(["fill", "commission", "spread", "slippage", "impact"]))
    found = reconcile_books(base, replace(base, fills=fills, ledger=ledger))
    missed = base.fills.filter(own)
    costs = sum(missed[name].sum() for name in ("commission", "spread", "slippage", "impact"))
    gain = (missed["quantity"] * base.marks[last["symbol"]] + missed["cash"]).sum() - costs
    assert found["by_cause"]["missing_fill"] == pytest.approx(-gain, abs=0.02)
    assert found["counts"] | {"missing_fill": 1, "unexplained": 0} == {**dict.fromkeys(CAUSES, 0), "missing_fill": 1}
    assert found["first"]["time"] == f"{last['time']:%Y-%m-%dT%H:%M:%SZ}" and "never" in found["first"]["what"]


def test_price_and_quantity_are_told_apart() -> None:
    tested, dearer = book(fill(1, "AAA", 100, 10.0)), book(fill(1, "AAA", 100, 10.1))
    assert causes(tested, dearer) == {"price": -10.0}
    assert causes(tested, book(fill(1, "AAA", 60, 10.0))) == {"quantity": -80.0}
    assert causes(tested, book(fill(1, "AAA", 60, 10.1))) == {"quantity": -80.0, "price": -6.0}


def test_a_fill_in_parts_is_one_order() -> None:
    parts = fill(1, "AAA", 60, 10.0, name="a"), fill(1, "AAA", 40, 10.5, name="b")
    assert causes(book(fill(1, "AAA", 100, 10.0)), book(*parts)) == {"price": -20.0}


def test_costs_are_compared_for_the_same_quantity() -> None:
    tested = book(fill(1, "AAA", 100, 10.0, fee=1.0))
    assert causes(tested, book(fill(1, "AAA", 100, 10.0, fee=3.0))) == {"cost": -2.0}
    assert causes(tested, book(fill(1, "AAA", 50, 10.0, fee=0.5))) == {"quantity": -99.5}


def test_a_fill_days_later_is_timing_and_one_weeks_later_is_another_fill() -> None:
    tested = book(fill(1, "AAA", 100, 10.0))
    assert causes(tested, book(fill(2, "AAA", 100, 10.4))) == {"timing": -40.0}
    assert causes(tested, book(fill(30, "AAA", 100, 10.4))) == {"missing_fill": -200.0, "extra_fill": 160.0}


def test_moments_that_are_close_enough_are_one() -> None:
    tested, happened = book(fill(1, "AAA", 100, 10.0)), book(fill(0.9, "AAA", 100, 10.1))
    assert causes(tested, happened) == {"timing": -10.0}
    assert causes(tested, happened, same_within=timedelta(hours=8)) == {"price": -10.0}


def test_a_fill_before_a_split_and_a_dividend_carries_both_with_it() -> None:
    tested = book(fill(1, "AAA", 100, 20.0), moved=(split(2, "AAA", 100), dividend(3, "AAA", 40.0)))
    happened = book(fill(1, "AAA", 50, 20.0), moved=(split(2, "AAA", 50), dividend(3, "AAA", 20.0)))
    assert causes(tested, happened) == {"quantity": -220.0}
    nothing = book()
    assert causes(tested, nothing) == {"missing_fill": -440.0}


def test_a_corporate_action_that_one_book_lacks_is_named() -> None:
    bought = fill(1, "AAA", 100, 20.0)
    both = (split(2, "AAA", 100), dividend(3, "AAA", 40.0))
    tested = book(bought, moved=both)
    assert causes(tested, book(bought, moved=both[:1])) == {"corporate_action": -40.0}
    found = reconcile_books(tested, book(bought, moved=both[1:]))
    assert found["by_cause"]["corporate_action"] == pytest.approx(-100 * 12.0)
    assert found["first"]["time"].startswith("2020-03-04")


def test_shares_that_a_split_rounds_away_are_no_difference() -> None:
    one = book(fill(1, "AAA", 101, 20.0), moved=(split(2, "AAA", 50),))
    two = book(fill(1, "AAA", 1001, 20.0), moved=(split(2, "AAA", 500),))
    assert causes(one, two) == {"quantity": pytest.approx(-1800.0)}


def test_financing_deposits_and_last_prices_stand_by_themselves() -> None:
    bought = fill(1, "AAA", 100, 10.0)
    interest = Movement("i", "interest", day(2), "", 0.0, 1.5)
    assert causes(book(bought), book(bought, moved=(interest,))) == {"financing": 1.5}
    assert causes(book(bought), book(bought, start=10_500.0)) == {"deposit": 500.0}
    assert causes(book(bought), book(bought, AAA=12.5)) == {"valuation": 50.0}


def test_what_is_held_without_a_price_is_refused() -> None:
    with pytest.raises(DataError, match="CCC"):
        reconcile_books(book(), book(fill(1, "CCC", 1, 1.0)))


def test_the_report_in_words_names_causes_by_size_and_the_first_difference() -> None:
    found = reconcile_books(book(fill(1, "AAA", 100, 10.0)), book(fill(1, "AAA", 60, 10.1)))
    lines = said(found)
    assert "-86.00" in lines[0] and lines[1].startswith("quantity: -80.00") and "first" in lines[-1]


amounts = st.integers(1, 300)
orders = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["AAA", "BBB"]), amounts, st.booleans()), max_size=8)


@given(orders, st.randoms(use_true_random=False), st.floats(0.5, 3.0), st.integers(1, 30))
@settings(max_examples=60)
def test_whatever_was_done_differently_the_causes_add_up_and_leave_only_rounding(
    wanted: list[tuple[int, str, int, bool]], chance: object, ratio: float, cents: int
) -> None:
    rng = np.random.default_rng(chance.randrange(2**32))  # type: ignore[attr-defined]

    def life(change: bool) -> Books:
        fills, held = [], {"AAA": 0.0, "BBB": 0.0}
        for at, (number, symbol, quantity, buys) in enumerate(sorted(wanted)):
            if change and rng.random() < 0.2:
                continue
            shift = int(rng.integers(0, 3)) if change and rng.random() < 0.3 else 0
            size = quantity * (rng.random() if change and rng.random() < 0.3 else 1.0)
            price = 10.0 + number * 0.37 + (rng.normal() * 0.1 if change else 0.0)
            fee = 0.01 * size * (2 if change else 1)
            fills.append(fill(number + shift, symbol, size if buys else -size, price, fee, name=str(at)))
        moved = []
        for symbol in held:
            own = sum(one.quantity for one in fills if one.symbol == symbol and one.time < day(11))
            if own:
                moved += [split(11, symbol, own * (ratio - 1)), dividend(11, symbol, round(own * ratio * cents) / 100)]
        return book(*fills, moved=tuple(moved))

    tested, happened = life(change=False), life(change=True)
    causes(tested, happened)
    found = reconcile_books(tested, happened)
    assert found["explained"], found["by_cause"]
    turned = reconcile_books(happened, tested)
    assert turned["equity"]["difference"] == -found["equity"]["difference"]
