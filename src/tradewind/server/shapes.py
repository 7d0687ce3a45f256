"""The shapes of everything that the server says: answers of REST and events of the WebSocket, the same objects.

The page's types are generated from these through ``/openapi.json``. Instants stay the strings that the runtime
gave, so that one bar has one time wherever it is told; what is missing is null. A key that the runtime leaves out,
where it is not said to be optional here, is an error of the runtime.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from tradewind.execution.controls import Level
from tradewind.execution.manual import Side, State
from tradewind.live.runtime import Mode
from tradewind.server.settings import Role

Action = Literal["STRONG_BUY", "BUY", "HOLD", "SELL", "STRONG_SELL"]
Verdict = Literal["promoted", "kept", "rolled_back", "first"]
DriftLevel = Literal["ok", "watch", "drift"]
DriftAction = Literal["rolled_back", "stopped", "retrain"]
ServiceState = Literal["ok", "starting", "retrying", "open", "stopped"]
JobStatus = Literal["running", "done", "failed"]


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


Instant = Annotated[str, BeforeValidator(_said), WithJsonSchema({"type": "string", "format": "date-time"})]
"""ISO 8601, UTC."""

Id = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]
"""What names a thing; a number is told as text."""

Name = Annotated[str, Field(max_length=80, pattern=r"^[A-Za-z0-9^][A-Za-z0-9.^=_:@-]*$")]
"""A symbol as it is asked for; ``SYMBOL@TIMEFRAME`` where a playbook has several."""

CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "a table", "content": {"text/csv": {"schema": {"type": "string"}}}}
}
"""How an operation that answers with a file is described."""

Score = Annotated[float, Field(ge=0, le=100)] | None
"""Sentiment, 0 to 100."""


class Shape(BaseModel):
    """Base of all shapes; what a shape does not name is not told."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Progress(Shape):
    """How far a phase of the work is."""

    phase: str
    done: int
    total: int


class Halt(Shape):
    """Since when and why nothing is traded."""

    since: Instant
    reasons: list[str]
    by: str


class Replay(Shape):
    """Which days are replayed, and how far that is."""

    first: Instant | None = Field(alias="from")
    last: Instant | None = Field(alias="to")
    speed: Literal["max"] | float
    bars_done: int
    bars_total: int | None
    done: bool


class Available(Shape):
    """What this system has beside the rest."""

    sentiment: bool = False
    news: bool = False
    manual_override: bool = Field(False, description="whether a model may be promoted by hand")


class Status(Shape):
    """What runs, on what, since when, and whether it is well."""

    playbook: str
    description: str
    mode: Mode
    source: str
    timeframe: str
    as_of: Instant | None = Field(description="time of the newest bar")
    started: Instant
    now: Instant
    market_open: bool | None
    halted: Halt | None
    progress: Progress | None
    replay: Replay | None
    stale: bool
    fresh_seconds: float | None
    dropped: int = Field(description="events that slow listeners did not get, a newer one in their place")
    warnings: list[str]
    version: str
    zone: str | None = Field(None, description="IANA name of the exchange's time zone")
    available: Available
    stopped_seats: list[str] = Field(
        default_factory=list, description="keys of the seats whose recommendations drift has stopped"
    )


class Caller(Shape):
    """Who asks, and what they may."""

    name: str
    role: Role


class Symbol(Shape):
    """One line of the watch-list."""

    symbol: str
    sector: str | None
    tier: str | None
    price: float | None
    change: float | None = Field(description="fraction since the close of the session before")
    action: Action | None
    confidence: float | None
    time: Instant | None
    sentiment: Score = None


class Bar(Shape):
    """One closed bar; ``time`` is its close."""

    symbol: str
    time: Instant
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


class Tick(Shape):
    """A price between closes."""

    symbol: str
    time: Instant
    price: float | None


class HorizonForecast(Shape):
    """Quantiles of the price at the end of one horizon."""

    time: Instant | None = Field(description="when the horizon ends")
    levels: list[float]
    prices: list[float | None]


class ModelForecast(Shape):
    """What one model forecasts; ``horizons`` by their length in bars."""

    model_id: str | None
    version: str | None
    calibrated: bool
    horizons: dict[str, HorizonForecast]
    p_up: float | None


class Forecast(Shape):
    """What all models forecast for one symbol at one close."""

    symbol: str
    time: Instant
    close: float | None
    models: dict[str, ModelForecast]
    combined: ModelForecast | None


Pair = Annotated[list[float | None], Field(min_length=2, max_length=2)]


class Interval(Shape):
    """Central intervals of the price at a horizon."""

    median: float | None
    half: Pair | None = Field(None, alias="50")
    four_fifths: Pair | None = Field(None, alias="80")
    nine_tenths: Pair | None = Field(None, alias="90")


class Opinion(Shape):
    """What one model would do."""

    action: Action | None
    probability: float | None


class Disagreement(Shape):
    """How far the members of an ensemble are apart at a horizon, in deviations."""

    spread: float | None
    distance: float | None


class Signal(Shape):
    """One recommendation, with its reasons."""

    symbol: str
    as_of: Instant
    action: Action
    confidence: float | None
    event: str = Field(description="what the confidence is about")
    horizon_bars: int
    style: str | None
    entry: float | None
    entry_note: str | None
    target: float | None
    target_note: str | None
    stop: float | None
    stop_note: str | None
    weight: float | None
    shares: float | None
    bound_by: str | None
    sector: str | None
    tier: str | None
    intervals: dict[str, Interval]
    disagreement: dict[str, Disagreement] | None = None
    reasons: list[str]
    agreement: dict[str, Opinion]


class Performance(Shape):
    """What the account earned so far; the Sharpe ratio with its 95 % interval."""

    total_return: float | None
    sharpe: float | None
    sharpe_interval: Pair | None
    sessions: int


class Account(Shape):
    """The account as it stands."""

    account: str
    mode: Mode
    time: Instant | None
    equity: float | None
    cash: float | None
    profit: float | None
    profit_today: float | None
    start_capital: float | None
    gross: float | None
    net: float | None
    drawdown: float | None
    high_water: float | None
    positions: int
    open_orders: int
    halted: str | None
    limits: dict[str, int] = Field(description="how often each limit bound")
    performance: Performance | None = None


class EquityPoint(Shape):
    """The account's equity at one moment."""

    time: Instant
    equity: float | None
    drawdown: float | None


class Position(Shape):
    """What is held of one symbol; no shares: it is closed."""

    symbol: str
    timeframe: str | None
    shares: float
    price: float | None
    value: float | None
    entry_price: float | None
    profit: float | None
    profit_pct: float | None
    stop: float | None
    opened: Instant | None
    weight: float | None


class Order(Shape):
    """One order and what became of it."""

    id: str
    symbol: str
    timeframe: str | None
    side: str
    quantity: float
    kind: str
    time_in_force: str
    status: str
    filled: float
    reason: str | None
    decided_at: Instant | None
    reduce_only: bool


class ManualOrder(Shape):
    """What a person ordered: a decision in the rule's place at the close of one bar, and what became of it."""

    id: str
    symbol: str
    side: Side
    weight: float | None = Field(description="size of the position after it, a fraction of equity")
    stop: float | None
    target: float | None
    reason: str
    by: str
    asked_at: Instant
    state: State
    why: str | None = Field(description="why it was refused or cancelled")
    effective: Instant | None = Field(description="the close that it was applied at")
    orders: list[str] = Field(description="ids of the account's orders that came of it; none where nothing had to move")


class Ticket(Shape):
    """What may be ordered of a symbol now, and when it would be applied."""

    symbol: str
    price: float | None = Field(description="the last close")
    equity: float | None
    shares: float = Field(description="held now")
    weight_max: float = Field(description="the largest position, a fraction of equity")
    short_allowed: bool
    fractional_shares: bool
    stop_distance: float | None = Field(description="the rule's, else the price tier's, as a fraction of the price")
    next_close: Instant | None = Field(description="by the exchange's calendar")
    halted: str | None = Field(description="why nothing may be opened")


class Fill(Shape):
    """One execution; ``quantity`` is negative where it was sold."""

    id: str
    order_id: str | None
    symbol: str
    quantity: float
    price: float
    fee: float | None
    time: Instant


class Alert(Shape):
    """Something that a person should know."""

    id: Id
    at: Instant
    level: Level
    kind: str
    what: str
    detail: dict[str, Any]


class ModelVersion(Shape):
    """A model that sits in a seat, or wants to."""

    id: str
    version: str | None
    trained_until: Instant | None
    made: Instant | None


class RollingValue(Shape):
    """A value along time."""

    time: Instant
    value: float | None


class LiveRecord(Shape):
    """How good a model's forecasts were whose outcome is known."""

    forecasts: int
    resolved: int
    coverage_80: float | None
    coverage_rolling: list[RollingValue]
    pinball_skill: float | None
    brier: float | None
    hit_rate: float | None
    by_regime: dict[str, Any]
    by_symbol: dict[str, Any] | None = None
    by_model: dict[str, Any] | None = None
    by_horizon: dict[str, Any] | None = None
    judged: int | None = Field(None, description="forecasts that these figures are of")
    dates: int | None = None
    coverage: dict[str, float | None] | None = Field(
        None, description="by the interval's nominal coverage, in per cent"
    )
    pinball: float | None = None
    calibration_error: float | None = None
    direction: dict[str, Any] | None = Field(None, description="accuracy, precision, recall and F1 of the side")


class ReliabilityPoint(Shape):
    """How often what was said with a probability happened."""

    probability: float
    happened: float | None
    n: int


class GateDecision(Shape):
    """Who was given a seat, and on what evidence."""

    at: Instant
    decision: Verdict
    champion: str | None
    challenger: str | None
    reasons: list[str]
    evidence: dict[str, Any]
    by: str | None = None


class Model(Shape):
    """A model's seat: champion, challenger, live skill and the decisions so far."""

    seat: str
    key: str | None = Field(None, description="the seat as the records name it")
    model: str | None
    champion: ModelVersion | None
    challenger: ModelVersion | None
    champions_before: list[str]
    live: LiveRecord
    reliability: list[ReliabilityPoint]
    decisions: list[GateDecision]


class FeatureDrift(Shape):
    """How far a feature is from what the model was trained on."""

    name: str
    psi: float | None
    js: float | None
    ks_p: float | None
    wasserstein: float | None
    threshold: float | None
    drifted: bool
    ks: float | None = None
    p: float | None = None
    silent: bool | None = Field(None, description="whether it stopped moving")


class DataDrift(Shape):
    """Drift of the features, the worst first."""

    share_drifted: float | None
    features: list[FeatureDrift]
    warm: bool | None = Field(None, description="whether there are enough bars to judge")
    share_limit: float | None = None
    stability: float | None = None


class ConceptDrift(Shape):
    """Drift of what the forecasts are worth."""

    coverage: float | None
    coverage_expected: float | None
    brier: float | None
    brier_expected: float | None
    loss_ratio: float | None
    adwin: bool
    confidence_shift: float | None
    hit_rate: float | None = None
    hit_rate_expected: float | None = None
    broken: list[str] | None = Field(None, description="which of these are beyond their limit")


class Persistence(Shape):
    """How long a drift has lasted, and how long it must before something is done."""

    bars: int
    needed: int


class Drift(Shape):
    """The newest reading of a seat's drift, and what was done about it."""

    seat: str
    model_id: str | None
    time: Instant | None
    level: DriftLevel
    since: Instant | None
    data: DataDrift
    concept: ConceptDrift
    persistence: Persistence
    action: DriftAction | None
    what: str
    triggers: list[str] | None = Field(None, description="why a challenger is called for")


class Service(Shape):
    """A service that fetches something. ``open``: its circuit breaker is, nothing is asked for a while."""

    name: str
    state: ServiceState
    last_success: Instant | None
    last_error: str | None
    failures: int
    next_try: Instant | None
    heartbeat: Instant | None
    waiting: int | None = Field(None, description="alerts that wait to be sent")


class Freshness(Shape):
    """How old the newest bar is, against how old it may be."""

    seconds: float | None
    limit: float | None
    stale: bool


class Stage(Shape):
    """How long one stage of the loop took: how many times, together, and ``[up to ms, how many]``, cumulative."""

    count: int
    sum_ms: float
    buckets: list[tuple[float, int]]
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Latency(Shape):
    """From the arrival of a bar to its push."""

    p50: float | None
    p95: float | None
    p99: float | None
    bars: int
    stages: dict[str, Stage] | None = None


class Machine(Shape):
    """How busy the machine is."""

    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None
    rss_mb: float | None


class Check(Shape):
    """Something that the system depends on, and whether it is well; null: not known."""

    name: str
    ok: bool | None
    detail: str


class Backup(Shape):
    """The newest backup."""

    file: str
    age_hours: float
    unreadable: int = Field(description="newer ones that cannot be read")


class Health(Shape):
    """Services, freshness, latency and machine."""

    services: list[Service]
    freshness: Freshness
    latency_ms: Latency
    errors: int
    machine: Machine
    dropped: int
    listeners: int
    uptime_seconds: float
    version: str
    error_rate: float | None = Field(None, description="share of the newest operations that failed")
    checks: list[Check] | None = None
    backup: Backup | None = None
    clock_skew_seconds: dict[str, float | None] | None = None


class Job(Shape):
    """A piece of work and how it ended."""

    id: Id
    kind: str
    status: JobStatus
    started: Instant
    finished: Instant | None
    progress: Progress | None
    result: dict[str, Any] | None
    error: str | None


class Playbook(Shape):
    """A playbook that this home knows."""

    name: str
    description: str
    running: bool


class Report(Shape):
    """A finished run with a result."""

    id: str
    verb: str
    playbook: str
    started: Instant
    seconds: float | None


class News(Shape):
    """One piece of news about a symbol."""

    time: Instant
    title: str
    source: str
    url: str | None
    sentiment: Score


class NewsList(Shape):
    """News, newest first."""

    items: list[News]


class Symbols(Shape):
    """The watch-list."""

    items: list[Symbol]


class Bars(Shape):
    """Bars, oldest first."""

    items: list[Bar]


class Forecasts(Shape):
    """Forecasts, oldest first."""

    items: list[Forecast]


class Signals(Shape):
    """Recommendations, the surest first."""

    items: list[Signal]


class Equity(Shape):
    """Equity, oldest first."""

    items: list[EquityPoint]


class Positions(Shape):
    """What is held."""

    items: list[Position]


class Orders(Shape):
    """Orders, newest first."""

    items: list[Order]


class ManualOrders(Shape):
    """What persons ordered, newest first."""

    items: list[ManualOrder]


class Fills(Shape):
    """Fills, newest first."""

    items: list[Fill]


class Alerts(Shape):
    """Alerts, newest first."""

    items: list[Alert]


class Models(Shape):
    """Every model's seat."""

    items: list[Model]


class Drifts(Shape):
    """The newest drift reading of each seat."""

    items: list[Drift]


class Jobs(Shape):
    """Jobs, newest first."""

    items: list[Job]


class Playbooks(Shape):
    """The playbooks of this home."""

    items: list[Playbook]


class Reports(Shape):
    """Finished runs."""

    items: list[Report]


class Reason(Shape):
    """Why something is done by hand."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, max_length=500)


OrderId = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Given by whoever asks: the same id is the same order."""

Price = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class NewOrder(Reason):
    """What is to be held of a symbol after the next close; a repeated ``id`` is the same order, asked for once."""

    id: OrderId
    symbol: Name
    side: Side
    weight: Annotated[float, Field(gt=0, le=4, allow_inf_nan=False)] | None = Field(
        None, description="size of the position after it, a fraction of equity; not for CLOSE"
    )
    stop: Price | None = Field(None, description="on the losing side of the last price; not for CLOSE")
    target: Price | None = Field(None, description="on the winning side; not for CLOSE")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = {name for name in ("weight", "stop", "target") if getattr(self, name) is not None}
        if self.side == "CLOSE" and given:
            raise ValueError(f"a CLOSE takes no {', '.join(sorted(given))}: it closes all that is held")
        missing = {"weight", "stop"} - given
        if self.side != "CLOSE" and missing:
            raise ValueError(f"a {self.side} needs a {' and a '.join(sorted(missing))}")
        return self


class Closing(Reason):
    """Why a position is to be closed."""

    id: OrderId


class Ordered(Shape):
    """The order as it stands."""

    order: ManualOrder


class Promotion(Reason):
    """Which model is to sit in a seat, and why."""

    model: str = Field(min_length=1, max_length=120)


class Speed(Shape):
    """How many times as fast as it happened a day is replayed."""

    model_config = ConfigDict(extra="forbid")

    speed: Literal["max"] | Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)]


class Outcome(Shape):
    """What came of a command."""

    model_config = ConfigDict(extra="allow")


class Alive(Shape):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Ready(Shape):
    """It has bars, they are fresh, and what it depends on is well."""

    ready: Literal[True]
    as_of: Instant


class Problem(Shape):
    """What went wrong and what to do about it (RFC 9457)."""

    type: str = Field(description="what kind of error, as a URI")
    title: str
    status: int
    detail: str
    hint: str | None = Field(description="what to do next")
    instance: str = Field(description="this request, as its log lines name it")
