"""Everything that Prometheus may want to know, in a registry of its own.

What the corridor counts is read when it is asked for; what the server itself does is counted as it happens.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tradewind.errors import TradewindError
from tradewind.server.shapes import DriftLevel, ServiceState

if TYPE_CHECKING:
    from tradewind.live.runtime import Runtime

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COUNTED: Mapping[str, str] = {
    "bar": "tradewind_bars",
    "forecast": "tradewind_forecasts",
    "signal": "tradewind_signals",
    "fill": "tradewind_fills",
    "alert": "tradewind_alerts",
}
"""Topics that have a counter of their own; each is also in ``tradewind_events``."""


class Metrics:
    """The metrics of one server."""

    def __init__(self, runtime: Runtime) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.registry.register(_Corridor(runtime))
        own = self.registry
        self.requests = Counter("tradewind_http_requests", "HTTP requests", ["method", "route", "status"], registry=own)
        self.seconds = Histogram(
            "tradewind_http_request_seconds", "Time of HTTP requests", ["route"], buckets=SECONDS, registry=own
        )
        self.limited = Counter("tradewind_http_rate_limited", "Requests above the rate limit", registry=own)
        self.sockets = Gauge("tradewind_websocket_clients", "WebSocket clients", registry=own)
        self.messages = Counter("tradewind_websocket_messages", "Messages sent to WebSocket clients", registry=own)
        self.closed = Counter("tradewind_websocket_closed", "WebSocket clients gone", ["code"], registry=own)
        self.sending = Histogram(
            "tradewind_websocket_send_seconds", "Time to hand a delta to a client", buckets=SECONDS, registry=own
        )

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them; asks the runtime, so not for the event loop."""
        return generate_latest(self.registry)


class _Corridor:
    """What the runtime knows of itself, asked for at each reading."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> list[Metric]:
        """Return nothing: names are not asked for before the runtime is."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the corridor's metrics as they are now."""
        for part in (_bus, _health, _status, _account, _drift, _orders):
            try:
                yield from part(self._runtime)
            except TradewindError:  # not ready yet, or its records are locked: absent, not zero
                continue


def _bus(runtime: Runtime) -> Iterator[Metric]:
    said = runtime.bus.said
    events = CounterMetricFamily("tradewind_events", "Events said, by topic", labels=["topic"])
    for topic, number in sorted(said.items()):
        events.add_metric([topic], number)
    yield events
    for topic, name in COUNTED.items():
        yield CounterMetricFamily(name, f"Events of the topic {topic}", value=said.get(topic, 0))
    yield CounterMetricFamily(
        "tradewind_dropped", "Events that gave way to newer ones for slow listeners", value=runtime.bus.dropped
    )
    yield _gauge("tradewind_listeners", "Who listens to the events", runtime.bus.listeners)


def _health(runtime: Runtime) -> Iterator[Metric]:
    health = runtime.health()
    latency, freshness = health["latency_ms"], health["freshness"]
    quantiles = GaugeMetricFamily(
        "tradewind_bar_latency_seconds", "From a bar's arrival to its push", labels=["quantile"]
    )
    for name, quantile in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")):
        if latency[name] is not None:
            quantiles.add_metric([quantile], latency[name] / 1000)
    yield quantiles
    yield _stages(latency.get("stages") or {})
    yield _gauge("tradewind_fresh_seconds", "Age of the newest bar", freshness["seconds"])
    yield _gauge("tradewind_stale", "1 where the newest bar is too old", freshness["stale"])
    yield CounterMetricFamily("tradewind_errors", "Errors of the loop", value=health["errors"])
    yield _gauge("tradewind_uptime_seconds", "Time since the start", health["uptime_seconds"])
    yield _services(health["services"])
    memory = health["machine"]["rss_mb"]
    yield _gauge("tradewind_resident_bytes", "Memory of the process", None if memory is None else memory * 1e6)


def _stages(stages: Mapping[str, Any]) -> Metric:
    metric = HistogramMetricFamily("tradewind_stage_seconds", "Time of each stage of the loop", labels=["stage"])
    for name, stage in sorted(stages.items()):
        buckets = [(str(limit / 1000), count) for limit, count in stage["buckets"]]
        metric.add_metric([name], [*buckets, ("+Inf", stage["count"])], sum_value=stage["sum_ms"] / 1000)
    return metric


def _services(services: list[Mapping[str, Any]]) -> Metric:
    metric = GaugeMetricFamily("tradewind_service_state", "1 for the state of a service", labels=["service", "state"])
    for service in services:
        _tell_states(metric, service["name"], get_args(ServiceState), service["state"])
    return metric


def _status(runtime: Runtime) -> Iterator[Metric]:
    status = runtime.status()
    yield _gauge("tradewind_halted", "1 where trading is halted", status["halted"] is not None)
    as_of = status["as_of"]
    time = datetime.fromisoformat(as_of).timestamp() if isinstance(as_of, str) else None
    yield _gauge("tradewind_newest_bar_timestamp_seconds", "Close of the newest bar", time)


def _account(runtime: Runtime) -> Iterator[Metric]:
    account = runtime.account()
    for name in ("equity", "cash", "profit", "gross", "net", "drawdown"):
        yield _gauge(f"tradewind_account_{name}", f"The account's {name}", account[name])
    yield _gauge("tradewind_positions", "Positions held", account["positions"])
    yield _gauge("tradewind_open_orders", "Orders that are open", account["open_orders"])


def _drift(runtime: Runtime) -> Iterator[Metric]:
    metric = GaugeMetricFamily("tradewind_drift_level", "1 for the drift of a seat's model", labels=["seat", "level"])
    for reading in runtime.drift():
        _tell_states(metric, reading["seat"], get_args(DriftLevel), reading["level"])
    yield metric


def _orders(runtime: Runtime) -> Iterator[Metric]:
    metric = GaugeMetricFamily("tradewind_orders", "The newest 1,000 orders, by status", labels=["status"])
    for status, number in sorted(Count(order["status"] for order in runtime.orders(limit=1000)).items()):
        metric.add_metric([status], number)
    yield metric


def _tell_states(metric: GaugeMetricFamily, name: str, states: Sequence[str], current: str) -> None:
    for state in states:
        metric.add_metric([name, state], float(state == current))


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """Return a gauge; one without a value is told as absent, not as zero."""
    return GaugeMetricFamily(name, text, value=None if value is None else float(value))
