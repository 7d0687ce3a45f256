"""What is said over the WebSocket, in both directions."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from tradewind.server import shapes
from tradewind.server.shapes import Instant, Shape


class _Said(Shape):
    """An event: its number, whose it is, when it was said, and what it came from."""

    seq: int
    key: str
    at: Instant
    correlation: str


class StatusEvent(_Said):
    """The system's status changed."""

    topic: Literal["status"]
    data: shapes.Status


class BarEvent(_Said):
    """A bar closed."""

    topic: Literal["bar"]
    data: shapes.Bar


class TickEvent(_Said):
    """A price between closes."""

    topic: Literal["tick"]
    data: shapes.Tick


class ForecastEvent(_Said):
    """A new forecast."""

    topic: Literal["forecast"]
    data: shapes.Forecast


class SignalEvent(_Said):
    """A new recommendation."""

    topic: Literal["signal"]
    data: shapes.Signal


class AccountEvent(_Said):
    """The account changed."""

    topic: Literal["account"]
    data: shapes.Account


class PositionEvent(_Said):
    """A position changed."""

    topic: Literal["position"]
    data: shapes.Position


class OrderEvent(_Said):
    """An order changed."""

    topic: Literal["order"]
    data: shapes.Order


class ManualOrderEvent(_Said):
    """An order of a person's changed."""

    topic: Literal["manual_order"]
    data: shapes.ManualOrder


class FillEvent(_Said):
    """An order was filled, or a part of it."""

    topic: Literal["fill"]
    data: shapes.Fill


class AlertEvent(_Said):
    """Something that a person should know."""

    topic: Literal["alert"]
    data: shapes.Alert


class ModelEvent(_Said):
    """A seat changed, or what is known of its model."""

    topic: Literal["model"]
    data: shapes.Model


class DriftEvent(_Said):
    """A new drift reading."""

    topic: Literal["drift"]
    data: shapes.Drift


class HealthEvent(_Said):
    """A new reading of the system's health."""

    topic: Literal["health"]
    data: shapes.Health


class JobEvent(_Said):
    """A job began, went on or ended."""

    topic: Literal["job"]
    data: shapes.Job


_Any = (
    StatusEvent | BarEvent | TickEvent | ForecastEvent | SignalEvent | AccountEvent | PositionEvent | OrderEvent
    | ManualOrderEvent | FillEvent | AlertEvent | ModelEvent | DriftEvent | HealthEvent | JobEvent
)  # fmt: skip
BusEvent = Annotated[_Any, Field(discriminator="topic")]
Topic = Literal[
    "status", "bar", "tick", "forecast", "signal", "account", "position", "order", "manual_order", "fill", "alert",
    "model", "drift", "health", "job",
]  # fmt: skip

PAYLOADS: dict[str, type[Shape]] = {
    get_args(event.model_fields["topic"].annotation)[0]: event.model_fields["data"].annotation
    for event in get_args(_Any)
}
"""The shape of an event's data, by topic."""


class Hello(Shape):
    """The first message: which process this is, and the number of its last event."""

    type: Literal["hello"]
    session: str
    seq: int
    version: str


class Snapshot(Shape):
    """The newest event of each topic and key; what follows has numbers beyond ``seq``."""

    type: Literal["snapshot"]
    seq: int
    events: list[BusEvent]


class Delta(Shape):
    """What was said since, with rising numbers."""

    type: Literal["delta"]
    events: list[BusEvent]


class Heartbeat(Shape):
    """A sign of life; ``dropped`` events of this listener gave way to newer ones."""

    type: Literal["heartbeat"]
    seq: int
    at: Instant
    dropped: int


class SocketError(Shape):
    """A message that was not understood."""

    type: Literal["error"]
    detail: str
    hint: str


class Subscribe(Shape):
    """What to hear: topics (none: all) and symbols (null: all); ``resume`` goes on after an event of ``session``."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["subscribe"]
    topics: list[Topic] = Field(default_factory=list, max_length=64)
    symbols: list[str] | None = Field(None, max_length=10_000)
    resume: int | None = Field(None, ge=0)
    session: str | None = Field(None, max_length=100)


class Ping(Shape):
    """Asks for a sign of life."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["ping"]


class SignIn(Shape):
    """Shows a token, for clients that cannot send it while they connect."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["auth"]
    token: str = Field(max_length=500, repr=False)


ClientMessage = Annotated[Subscribe | Ping | SignIn, Field(discriminator="type")]
ServerMessage = Annotated[Hello | Snapshot | Delta | Heartbeat | SocketError, Field(discriminator="type")]

CLIENT: TypeAdapter[Any] = TypeAdapter(ClientMessage)
SERVER: TypeAdapter[Any] = TypeAdapter(ServerMessage)
