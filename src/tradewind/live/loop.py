"""One bar from its arrival to the page: corridor, account, records, drift, and then everybody hears of it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.clock import Clock
from tradewind.decisions.signals import Action
from tradewind.errors import TradewindError
from tradewind.evaluation.model_registry import CHAMPION, current
from tradewind.evaluation.prediction_log import as_datetime, predictions_at, target_of
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.stored_models import scaled_as
from tradewind.execution.controls import Controls, Level
from tradewind.execution.desk_bars import session_ends
from tradewind.execution.manual import ManualOrder, ManualOrders
from tradewind.execution.paper import KILL_SWITCH
from tradewind.live import payloads
from tradewind.live.acting import Acted
from tradewind.live.bus import Bus
from tradewind.live.corridor import LiveStep
from tradewind.live.latency import Latency
from tradewind.live.logs import logger
from tradewind.live.ordered import came_due
from tradewind.live.parity import Recorder
from tradewind.live.performance import performance, session_closes
from tradewind.live.prepare import Prepared
from tradewind.live.served import require_exports, seated
from tradewind.live.sleeves import LiveSleeve
from tradewind.live.tape import Closed
from tradewind.live.trader import Traded, fill_payload, iso, manual_payload, order_payload
from tradewind.market.panel import Panel
from tradewind.market.store.records import ModelDecision, Prediction, SignalRecord
from tradewind.models.assembly import ExponentialMean, last_known
from tradewind.models.settings import ENSEMBLE
from tradewind.risk.regimes.naming import LABELS

FloatArray = NDArray[np.float64]

ACTED: Final = ("BUY", "STRONG_BUY", "SELL", "STRONG_SELL")


@dataclass
class Counts:
    """How much a session has done since this process began."""

    bars: int = 0
    forecasts: int = 0
    signals: int = 0
    orders: int = 0
    fills: int = 0


@dataclass(frozen=True, eq=False)
class Shown:
    """What was last decided and done, to be shown to whoever asks: replaced as a whole with every bar.

    ``panel`` are the finest bars, ``steps`` the newest of each system that has had a bar.
    """

    panel: Panel
    steps: Mapping[str, LiveStep]
    traded: Traded
    at: datetime
    account: Mapping[str, Any]
    positions: Sequence[Mapping[str, Any]]


@dataclass(eq=False)
class Loop:
    """Lives through bars, one at a time, in one thread.

    Parameters
    ----------
    watches
        By system: told of every step before it is shown; may hold a seat's recommendations back or bring another model
        (:meth:`hold`, :meth:`seat`): the drift monitor.
    recorders
        By system: what was said at each bar, to be compared with the back-test; none where nothing is to be.
    """

    prepared: Prepared
    bus: Bus
    clock: Clock
    latency: Latency
    watches: dict[str, Callable[[LiveStep], None]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    shown: Shown | None = None
    recorders: dict[str, Recorder] = field(default_factory=dict)
    alerts: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1_000))
    decided: list[ModelDecision] = field(default_factory=list)
    _asked: dict[str, str] = field(default_factory=dict)
    _asking: threading.Lock = field(default_factory=threading.Lock)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Stand where the session stands."""
        prepared = self.prepared
        panel = prepared.finest.panel
        self._log = logger("live.loop")
        self._records, self._session = prepared.workspace.records, prepared.session
        self._scales = {one.name: _NaiveScale(one.panel) for one in prepared.sleeves}
        marks = prepared.trader.journal.marks()
        self._closes = session_closes(marks, panel.times[-1]) or [prepared.trader.start_capital]
        self._earned: tuple[int, dict[str, Any]] | None = None
        self._told = 0
        self._unfit: set[str] = set()
        self.heed_releases()
        self.manual = ManualOrders(self._records, prepared.session.account)
        self._ordered, self._settled = self.manual.applied(), list[str]()
        self._said_until = self._records.newest_signal(self._session.id)
        self._acted = {one.name: Acted() for one in prepared.sleeves}
        if prepared.session.mode == "REPLAY" and prepared.settings.parity_bars:
            self.recorders = {one.name: Recorder() for one in prepared.sleeves}

    @property
    def halted(self) -> bool:
        """Whether a person has halted this replay; paper trading heeds the switch of its home instead."""
        return self._session.halted

    @property
    def recorded(self) -> int:
        """How many bars of the clock were kept to be compared."""
        finest = self.recorders.get(self.prepared.finest.name)
        return 0 if finest is None else len(finest)

    # -- one bar -----------------------------------------------------------------------------------------------

    def take(self, closed: Closed, correlation: str, arrived: float | None = None) -> Shown:
        """Live through what has closed; ``arrived`` is when it came, by ``time.perf_counter``."""
        began = time.perf_counter() if arrived is None else arrived
        prepared, trader = self.prepared, self.prepared.trader
        self.heed_releases()
        self._seat_the_chosen(closed.time)
        if closed.time < self._session.opened:  # it was late: nothing is decided before the session began
            prepared.start = trader.opened = trader.next_row + 1
            for sleeve in prepared.sleeves:
                sleeve.start = len(sleeve.panel) + 1
        newest = prepared.finest.panel
        lived = trader.next_row > prepared.start
        if lived and session_ends(newest.rows(len(newest) - 1, len(newest)))[0]:
            self._closes.append(trader.equity)
        made = self._decided(closed)
        with self.latency.stage("records"):
            self._record(made)
        with self.latency.stage("trade"):  # last: where the account stands is where a killed process goes on
            if trader.controls is None and (self.halted or trader.halted == KILL_SWITCH):
                trader.paper.heed_the_switch(self.halted)
            traded = trader.step({sleeve.name: step.decision for sleeve, step in made})
        steps = {one.name: one.step for one in prepared.sleeves if one.step is not None}
        panel, at = prepared.finest.panel, as_datetime(closed.time)
        self.shown = Shown(panel, steps, traded, at, self._account(), trader.positions())
        with self.latency.stage("push"):
            self._tell(self.shown, made, correlation)
            settled, self._settled = self._settled, []
            for name in settled:
                self.tell_of_an_order(name, correlation)
        self.latency.add("total", time.perf_counter() - began)
        return self.shown

    def _decided(self, closed: Closed) -> list[tuple[LiveSleeve, LiveStep]]:
        """Let every system take in its bars and decide."""
        prepared, made = self.prepared, []
        if prepared.bystander is not None:
            for bar in closed.bars.get(prepared.bystander.name, ()):
                prepared.bystander.step(bar)
        recorded = bool(self.recorders) and self.recorded < prepared.settings.parity_bars
        spent: defaultdict[str, float] = defaultdict(float)
        for sleeve in prepared.in_turn:
            for bar in closed.bars.get(sleeve.name, ()):
                step = sleeve.corridor.step(bar)
                for part, seconds in step.seconds.items():
                    spent[part] += seconds
                self._watch(sleeve, step)
                self._orders_due(sleeve)
                held, acted = self._session.held_of(sleeve.plan), self._acted[sleeve.name]
                sleeve.step = replace(step, decision=acted.step(step.decision, held, self.ordered_of(sleeve)))
                if recorded:
                    self.recorders[sleeve.name].take(sleeve.step)
                made.append((sleeve, sleeve.step))
        for stage in ("features", "forecast"):
            self.latency.add(stage, spent[stage])
        self.latency.add("decide", spent["calibrate"] + spent["decide"])
        return made

    def _watch(self, sleeve: LiveSleeve, step: LiveStep) -> None:
        """Let drift be looked for; where that fails people are told, and the bar goes on."""
        if sleeve.name not in self.watches:
            return
        try:
            self.watches[sleeve.name](step)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep an account from its stops
            self._log.exception("drift_failed")
            what = f"drift was not looked for at {iso(step.world.panel.times[-1])}: {error}"
            self.alert("warning", "drift_failed", what)

    # -- who forecasts -----------------------------------------------------------------------------------------

    def seat(self, seat: str, model: str) -> None:
        """Let a model forecast for a seat from the next bar on."""
        with self._asking:
            self._asked[seat] = model

    def decide(self, decision: ModelDecision) -> None:
        """Note a decision that is this session's alone: a replay moves no champion of the records."""
        self.decided.append(decision)
        self.decided[:-200] = []

    def _follow_the_registry(self) -> None:
        """Let whoever became champion elsewhere forecast from the next bar on."""
        for _, name, one in self.prepared.seated():
            champion = current(self._records.alias_changes(one.seat)).get(CHAMPION)
            if champion is not None and champion != one.artefact.id and champion not in self._unfit:
                self.seat(one.seat, champion)
                self._log.info("champion", seat=one.seat, model=champion, name=name)

    def _seat_the_chosen(self, time: np.datetime64) -> None:
        """Let who was asked for forecast the bar that closes at ``time``; who has learnt from it waits for the next."""
        if self._session.mode != "REPLAY":
            self._follow_the_registry()
        with self._asking:
            asked, self._asked = self._asked, {}
        prepared = self.prepared
        for sleeve, name, sitting in prepared.seated():
            seat, world = sitting.seat, sleeve.corridor.world
            model = asked.get(seat)
            if model is None or model == sitting.artefact.id or model in self._unfit:
                continue
            at = world.panel.times[-1]
            try:
                one = seated(prepared.registry, seat, name, prepared.settings.engine, model)
                if time <= one.trained_until:
                    self.seat(seat, model)
                    continue
                scaled_as(one.artefact, world)  # refuses other features than the running ones
                require_exports({name: one}, world)
                sleeve.corridor.switch(one, at)
            except TradewindError as error:
                self._unfit.add(model)
                self.alert(
                    "critical",
                    "seat_failed",
                    f"{seat}: {model} cannot forecast, {sitting.artefact.id} goes on: {error}",
                )
                continue
            self._session.switched(sleeve.plan, one, at + np.timedelta64(1, "us"))
            self._session.save(self._records)
            self.let_go(seat)

    # -- recommendations that are held back --------------------------------------------------------------------

    def hold(self, seat: str) -> None:
        """Recommend nothing any more that this seat's forecasts have a say in, from this bar on."""
        spans = self._session.held.setdefault(seat, [])
        if spans and spans[-1][1] is None:
            return
        spans.append((self.prepared.in_seat(seat).panel.times[-1], None))
        if self._session.mode != "REPLAY":
            self._session.stopped_after[seat] = Controls(self._records).newest()
        self._session.save(self._records)

    def halt(self) -> None:
        """Let nothing be opened in this replay from the next bar on; its days are no back-test's any more."""
        self._session.halted = self._session.was_halted = True
        self._session.save(self._records)

    def release(self) -> None:
        """Let this replay open positions again, from the next bar on."""
        self._session.halted = False
        self._session.save(self._records)

    def let_go(self, seat: str) -> None:
        """Recommend again, from the next bar on."""
        spans = self._session.held.get(seat, [])
        if spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], self.prepared.in_seat(seat).panel.times[-1])
            self._session.stopped_after.pop(seat, None)
            self._session.save(self._records)

    def heed_releases(self) -> None:
        """Let seats of paper trading recommend again whose stop a person has released, in whatever process."""
        for seat, number in list(self._session.stopped_after.items()):
            release = Controls(self._records).release_after(number)
            if release is not None:
                self.let_go(seat)
                said = f"{seat}: recommendations go on, released by {release.actor}: {release.reason}"
                self.alert("info", "drift_released", said)

    @property
    def holding(self) -> list[str]:
        """The seats whose recommendations are held back."""
        return [seat for seat, spans in self._session.held.items() if spans and spans[-1][1] is None]

    # -- what persons ordered ------------------------------------------------------------------------------------

    def ordered_of(self, sleeve: LiveSleeve) -> Sequence[ManualOrder]:
        """Return the orders that were applied to a system: those of an account that several share are none's yet."""
        return () if sleeve.name else self._ordered

    def _orders_due(self, sleeve: LiveSleeve) -> None:
        """Settle the orders that wait, for good, before the account hears of them.

        A bar that is lived through again after a kill finds what was applied at it among those that were applied; where
        what was recommended at it is stored, it takes no others.
        """
        panel, waiting = sleeve.panel, [] if sleeve.name else self.manual.waiting()
        said = self._said_until is not None and as_datetime(panel.times[-1]) <= self._said_until
        if not waiting or len(panel) <= sleeve.start or said:
            return
        applied, refused = came_due(waiting, panel, as_datetime(panel.times[-1]), self.halt_reason())
        settled = self.manual.settle([*applied, *refused])
        self._ordered = self.manual.applied()
        for order in settled:
            if order.state == "refused":
                self.alert("warning", "order_refused", f"{order.side} {order.symbol} of {order.by}: {order.why}")
        self._settled += [order.id for order in settled]

    def halt_reason(self) -> str:
        """Return why nothing may be opened at the next bar; empty where it may."""
        trader = self.prepared.trader
        if trader.controls is not None:  # what a limit halts, it halts by the same switch
            return "; ".join(trader.controls.state().reasons)
        if self.halted:
            return KILL_SWITCH
        return "" if trader.halted == KILL_SWITCH else trader.halted

    def manual_orders(self, orders: Sequence[ManualOrder]) -> list[dict[str, Any]]:
        """Return orders of persons as the page shows them, each with those of the journal that came of it."""
        closes = {one.effective for one in orders if one.effective is not None}
        made = self.prepared.trader.journal.decided_at(closes) if closes else {}
        return [
            manual_payload(one, made.get((one.symbol, one.effective), ()) if one.effective is not None else ())
            for one in orders
        ]

    def tell_of_an_order(self, name: str, correlation: str = "") -> dict[str, Any]:
        """Say what a person's order has become, and return it.

        It is read and told in one go: whoever read it before somebody else changed it must not tell of it after them.
        """
        with self._telling:
            order = self.manual.find(name)
            assert order is not None
            (told,) = self.manual_orders([order])
            self.bus.publish("manual_order", name, told, correlation=correlation)
        return told

    # -- records -----------------------------------------------------------------------------------------------

    def _record(self, steps: Sequence[tuple[LiveSleeve, LiveStep]]) -> None:
        """Store what was forecast and recommended, and what became of what was forecast before."""
        made = [one for sleeve, step in steps for one in self._predictions(sleeve, step)]
        said = [one for _, step in steps for one in self._signals(step.decision, step.row)]
        came = [one for sleeve, step in steps for one in self._resolved(sleeve, step)]
        self._records.record_close(made, said, came, at=self.clock.now())
        self.counts.bars += 1
        self.counts.forecasts += len(made)
        self.counts.signals += sum(one.action in ACTED for one in said)

    def _predictions(self, sleeve: LiveSleeve, step: LiveStep) -> list[Prediction]:
        scale = self._scales[sleeve.name].step(step.world.panel)
        regime, column = _regime_of(step), sleeve.plan.column
        found: list[Prediction] = []
        for name, one in step.calibrated.items():
            served = sleeve.corridor.serving[name][-1][1]
            found += predictions_at(
                one,
                step.row,
                run=self._session.id,
                model=name,
                seat=served.seat,
                artefact=served.artefact.id,
                regime=regime,
                scale=scale,
            )
        if step.world.plan.models.use == ENSEMBLE:
            traded = step.decision.belief.forecast
            found += predictions_at(traded, step.row, run=self._session.id, regime=regime, scale=scale)
        return [replace(one, symbol=column(one.symbol)) for one in found] if sleeve.name else found

    def _signals(self, decision: Decision, row: int) -> list[SignalRecord]:
        signals, panel = decision.signals, decision.world.panel
        at = as_datetime(panel.times[row])
        found = []
        for column in np.flatnonzero(signals.decided[row]):
            weight = float(decision.targets.weight[row, column])
            found.append(
                SignalRecord(
                    run=self._session.id,
                    symbol=decision.world.plan.column(panel.symbols[column]),
                    time=at,
                    action=Action(int(signals.action[row, column])).name,
                    horizon_bars=int(signals.horizon_bars[row, column]),
                    confidence=payloads.finite(signals.confidence[row, column]),
                    weight=weight if np.isfinite(weight) else None,
                    detail={
                        "stop": payloads.finite(signals.stop[row, column]),
                        "target": payloads.finite(signals.target[row, column]),
                        "clause": signals.clauses[int(signals.clause[row, column])],
                    },
                )
            )
        return found

    def _resolved(self, sleeve: LiveSleeve, step: LiveStep) -> list[tuple[Prediction, float]]:
        """Return the session's forecasts whose horizon ends with this bar, and what came."""
        panel, start = step.world.panel, sleeve.start
        closes = sleeve.corridor.log_closes
        found: list[tuple[Prediction, float]] = []
        targets = [target_of(name) for name in step.calibrated]
        targets += [target_of()] if step.world.plan.models.use == ENSEMBLE else []
        for horizon in next(iter(step.calibrated.values())).horizons:
            made = step.row - horizon
            if made < start:
                continue
            came, at = closes[step.row] - closes[made], as_datetime(panel.times[made])
            for column in np.flatnonzero(np.isfinite(came)):
                symbol, outcome = sleeve.plan.column(panel.symbols[column]), float(came[column])
                found += [(Prediction(self._session.id, symbol, at, t, horizon), outcome) for t in targets]
        return found

    # -- what is said ------------------------------------------------------------------------------------------

    def _tell(self, shown: Shown, made: Sequence[tuple[LiveSleeve, LiveStep]], correlation: str) -> None:
        say = self._say(correlation)
        for sleeve, step in made:
            panel, row = step.world.panel, step.row
            for column in np.flatnonzero(panel.mask[row]):
                symbol = sleeve.plan.column(panel.symbols[column])
                said = {
                    "bar": payloads.bar(panel, row, int(column)),
                    "forecast": self.forecast_of(sleeve, step, int(column), row),
                    "signal": payloads.signal(step.decision, row, int(column)),
                }
                for topic, told in said.items():
                    say(topic, symbol, {**told, "symbol": symbol})
        self._tell_of_the_account(shown, say)

    def _say(self, correlation: str) -> Callable[[str, str, Mapping[str, Any]], None]:
        def say(topic: str, key: str, data: Mapping[str, Any]) -> None:
            self.bus.publish(topic, key, data, correlation=correlation)

        return say

    def _tell_of_the_account(self, shown: Shown, say: Callable[[str, str, Mapping[str, Any]], None]) -> None:
        for order in shown.traded.orders:
            say("order", order.request.client_order_id, order_payload(order))
        fills = [fill_payload(fill, shown.traded.sleeves.get(fill.client_order_id, "")) for fill in shown.traded.fills]
        for fill in fills:
            say("fill", fill["id"], fill)
        self.counts.orders += sum(o.request.decided_at == shown.at for o in shown.traded.orders)
        self.counts.fills += len(fills)
        held = {one["symbol"]: one for one in shown.positions}
        for fill in fills:
            symbol = fill["symbol"]
            if symbol not in held:
                named = {"symbol": symbol, "timeframe": symbol.partition("@")[2] or None}
                say("position", symbol, {**_NO_POSITION, **named})
        for symbol, one in held.items():
            say("position", symbol, one)
        say("account", "account", shown.account)
        if self._session.mode == "REPLAY":  # else the account has stored them, and whoever follows the records tells
            for alert in shown.traded.alerts:
                self._show_alert(alert["level"], alert["kind"], alert["what"])

    def alert(self, level: Level, kind: str, what: str, detail: Mapping[str, Any] | None = None) -> None:
        """Tell people something: a replay shows it and keeps it to itself, paper trading stores it for good."""
        if self._session.mode != "REPLAY":
            Controls(self._records, clock=self.clock).append_alert(level, kind, what, detail)
            return
        self._show_alert(level, kind, what, detail)

    def _show_alert(self, level: str, kind: str, what: str, detail: Mapping[str, Any] | None = None) -> None:
        self._told += 1
        number = f"{self._session.id}-{self._told}"
        at = payloads.stamp(self.clock.now())
        told = {"id": number, "at": at, "level": level, "kind": kind, "what": what, "detail": dict(detail or {})}
        self.alerts.append(told)
        self.bus.publish("alert", number, told)

    def account(self) -> dict[str, Any]:
        """Return the account as the page shows it, as it stood after the last bar."""
        return self._account() if self.shown is None else dict(self.shown.account)

    def positions(self) -> list[dict[str, Any]]:
        """Return what is held, as it stood after the last bar."""
        found = self.prepared.trader.positions() if self.shown is None else self.shown.positions
        return [dict(one) for one in found]

    def _account(self) -> dict[str, Any]:
        panel, trader = self.prepared.finest.panel, self.prepared.trader
        told = trader.told(panel.times[-1], self._closes[-1])
        return {**told, "mode": self._session.mode, "performance": self._performance()}

    def _performance(self) -> dict[str, Any]:
        """Return what was earned; the interval is worked out once a session."""
        equity, sessions = self.prepared.trader.equity, len(self._closes) - 1
        if self._earned is None or self._earned[0] != sessions:
            self._earned = sessions, performance(self._closes)
        return {**self._earned[1], "total_return": equity / self._closes[0] - 1}

    def forecast_of(self, sleeve: LiveSleeve, step: LiveStep, column: int, row: int) -> dict[str, Any]:
        """Return what was forecast of a symbol at one close of the session."""
        traded = step.decision.belief.forecast if step.world.plan.models.use == ENSEMBLE else None
        return payloads.forecast(
            step.world.panel,
            row,
            column,
            step.calibrated,
            traded,
            sleeve.corridor.serving,
            step.decision.signals,
        )


_NO_POSITION: Final[Mapping[str, Any]] = {
    "timeframe": None,
    "shares": 0.0,
    "price": None,
    "value": 0.0,
    "entry_price": None,
    "profit": None,
    "profit_pct": None,
    "stop": None,
    "opened": None,
    "weight": 0.0,
}


def _regime_of(step: LiveStep) -> str | None:
    regime = step.world.surroundings.regime
    if regime is None or regime[step.row] < 0:
        return None
    return LABELS[int(regime[step.row])]


class _NaiveScale:
    """One-bar volatility as the naive forecast has it, bar by bar."""

    def __init__(self, panel: Panel) -> None:
        self._close = np.full(panel.shape[1], np.nan)
        self._variance = ExponentialMean((panel.shape[1],), 0.94)
        self._take(panel, 0)

    def step(self, panel: Panel) -> FloatArray:
        """Take in the newest bar; return ``(N,)``."""
        return self._take(panel, len(panel) - 1)

    def _take(self, panel: Panel, start: int) -> FloatArray:
        price = np.where(panel.mask[start:], panel.close[start:] * panel.factor[start:], np.nan)
        close = np.log(price)
        known = last_known(np.concatenate([self._close[None], close]))
        variance = self._variance.step((close - known[:-1]) ** 2)
        self._close = known[-1]
        return np.asarray(np.sqrt(variance[-1])) if len(variance) else np.full(panel.shape[1], np.nan)
