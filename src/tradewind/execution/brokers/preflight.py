"""What has to be true before an order goes out, and the two locks before real money.

Live trading needs a flag and a typed phrase that names the account, in every session; neither can stand in a
playbook. Without them everything here leads to paper.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, cast

from tradewind.clock import Clock
from tradewind.errors import InputError, SafetyStop, TradewindError
from tradewind.execution.brokers.base import BROKERS, AccountReport, Broker, MarketClock
from tradewind.execution.brokers.settings import BrokerSection
from tradewind.execution.controls import Controls
from tradewind.execution.journal import Journal
from tradewind.execution.reconcile import Tolerances, differences, observe, state_of
from tradewind.portfolio.settings import LimitsSection

WATCHED: Final = ("drawdown_max", "daily_loss_max")
DIGITS: Final = 4
LOGIN_ENDS_SOON: Final = timedelta(days=1)


class Numbered(Protocol):
    """A broker that can say which account it is."""

    def account_number(self) -> str:
        """Return the account's number."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at before the start.

    Attributes
    ----------
    required
        Whether trading may not begin without it; the others are said.
    """

    name: str
    passed: bool
    said: str
    required: bool = True


def preflight(
    broker: Broker,
    journal: Journal,
    controls: Controls,
    limits: LimitsSection,
    *,
    clock: Clock,
    settings: BrokerSection | None = None,
    capital: float | None = None,
    paper: Journal | None = None,
    tolerances: Tolerances | None = None,
) -> list[Check]:
    """Look at everything that has to be true before an order goes out; changes nothing, here or at the broker.

    Parameters
    ----------
    journal
        Of the account that is about to trade.
    capital
        What the plan is sized for, in currency; None where it takes the account as it is.
    paper
        Journal of the paper account that traded the same playbook; None where there is none.
    """
    settings, tolerances = settings or BrokerSection(), tolerances or Tolerances()
    checks = [*_halted(controls), *_limited(limits), *_practised(settings, paper)]
    answered, account = _asked("credentials", broker.account)
    checks.append(answered)
    if account is None:
        return checks
    checks += [*_account(account, capital), *_hours(broker), *_login(broker, clock)]
    return [*checks, *_reconciled(broker, journal, clock, tolerances)]


def require_ready(checks: Sequence[Check]) -> None:
    """Raise ``SafetyStop`` that names every required check that failed."""
    failed = [f"{check.name}: {check.said}" for check in checks if check.required and not check.passed]
    if failed:
        raise SafetyStop(f"not ready to trade: {'; '.join(failed)}", hint="mend these, then look again")


def phrase(account: str) -> str:
    """Return what has to be typed for real money: ``live`` and the last digits of the account."""
    return f"live {account[-DIGITS:]}"


def require_live(flag: bool, typed: str, account: str) -> None:
    """Let through what asks for real money twice.

    Parameters
    ----------
    flag
        The explicit flag (``--live``); settings cannot set it.
    typed
        What a person typed: see :func:`phrase`.
    account
        The number of the account that is connected.

    Raises
    ------
    InputError
        No flag, or nothing typed.
    SafetyStop
        Another phrase: it may be meant for another account.
    """
    if not flag:
        raise InputError("real money was not asked for", hint="--live, and then the phrase; the default is paper")
    wanted = phrase(account)
    if not typed.strip():
        raise InputError("real money needs a typed confirmation", hint=f"type: {wanted}")
    if not hmac.compare_digest(typed.strip().encode(), wanted.encode()):
        raise SafetyStop(
            f"{typed.strip()!r} is not the phrase of the account that is connected (…{account[-DIGITS:]})",
            hint="look which account the keys belong to before typing again",
        )


def open_broker(
    name: str,
    settings: BrokerSection | None = None,
    *,
    live: bool = False,
    confirmation: str = "",
    environ: Mapping[str, str] | None = None,
    symbols: Sequence[str] = (),
    **more: Any,
) -> Broker:
    """Return a broker, connected; a paper account of it unless real money was asked for twice.

    Parameters
    ----------
    more
        Further parameters of the broker's own, e.g. ``log_in`` of Schwab.

    Raises
    ------
    InputError
        An unknown name, missing credentials, a phrase without the flag, no paper account at this broker.
    SafetyStop
        The phrase does not belong to the account.
    """
    if confirmation and not live:
        raise InputError("a confirmation was typed without --live", hint="real money needs both")
    if name == "paper":
        said = "paper knows no real money" if live else "paper needs no connection"
        raise InputError(said, hint="tradewind paper")
    chosen = settings or BrokerSection(name=name)
    broker = BROKERS.create(name, settings=chosen, live=live, environ=environ, symbols=symbols, **more)
    if live:
        try:
            require_live(live, confirmation, cast("Numbered", broker).account_number())
        except TradewindError:
            broker.close()
            raise
    return broker


# -- the checks --------------------------------------------------------------------------------------------------


def _asked(name: str, ask: Callable[[], AccountReport]) -> tuple[Check, AccountReport | None]:
    try:
        answer = ask()
    except TradewindError as error:
        return Check(name, False, error.what), None
    return Check(name, True, f"the broker answers; equity {answer.equity:,.2f} {answer.currency}"), answer


def _halted(controls: Controls) -> Iterator[Check]:
    state = controls.state()
    said = "; ".join(state.reasons) if state.halted else "trading is not halted"
    yield Check("halt", not state.halted, said)


def _limited(limits: LimitsSection) -> Iterator[Check]:
    for name in WATCHED:
        value = getattr(limits, name)
        yield Check(name, value is not None, f"limits.{name} is {'not set' if value is None else f'{value:g}'}")


def _practised(settings: BrokerSection, paper: Journal | None) -> Iterator[Check]:
    days = set() if paper is None else {mark.time.date() for mark in paper.marks()}
    said = f"{len(days)} days were traded on paper, {settings.paper_days_min} are wanted"
    yield Check("paper record", len(days) >= settings.paper_days_min, said, required=False)


def _account(account: AccountReport, capital: float | None) -> Iterator[Check]:
    hard = [flag for flag in account.blocked if flag != "short_not_allowed"]
    yield Check("account", not hard, f"the broker says {', '.join(hard)}" if hard else "active and not blocked")
    if "short_not_allowed" in account.blocked:
        yield Check("short sales", False, "the account may not sell short", required=False)
    said = f"buying power {account.buying_power:,.2f}, equity {account.equity:,.2f}"
    enough = account.buying_power > 0 and (capital is None or account.equity >= capital)
    yield Check("buying power", enough, said if capital is None else f"{said}, planned for {capital:,.2f}")


def _hours(broker: Broker) -> Iterator[Check]:
    try:
        told: MarketClock = broker.clock()
    except TradewindError as error:
        yield Check("market hours", False, error.what)
        return
    opens = "" if told.next_open is None else f"; it opens {told.next_open:%Y-%m-%d %H:%M} UTC"
    known = {True: "the market is open", False: f"the market is closed{opens}", None: "the broker does not tell"}
    yield Check("market hours", told.is_open is True, known[told.is_open], required=False)


def _login(broker: Broker, clock: Clock) -> Iterator[Check]:
    ends = getattr(broker, "login_ends", None)
    if ends is not None:
        moment = ends()
        said = f"the login ends {moment:%Y-%m-%d %H:%M} UTC"
        yield Check("login", moment - clock.now() > LOGIN_ENDS_SOON, said, required=False)


def _reconciled(broker: Broker, journal: Journal, clock: Clock, tolerances: Tolerances) -> Iterator[Check]:
    """Compare the books with the broker's truth without booking anything."""
    try:
        seen = observe(journal, broker, clock)
        found = differences(state_of(journal, seen), seen, tolerances)
    except TradewindError as error:
        yield Check("positions", False, error.what)
        return
    skewed = [d.what for d in found if d.kind == "clock"]
    yield Check("clock", not skewed, "; ".join(skewed) or f"{seen.skew_seconds:+.1f} s away from ours")
    stops = [d.what for d in found if d.reaction == "stop" and d.kind != "clock"]
    booked = sum(d.reaction == "book" for d in found)
    said = "; ".join(stops) or f"as our books say; {booked} differences that they explain are to be booked"
    yield Check("positions", not stops, said)
