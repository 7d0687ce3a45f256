"""What machines ask: alive, ready, and numbers that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_kit import Service, in_thread

from tradewind.errors import RetryError


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Service]:
    with in_thread(tmp_path) as service:
        yield service


def read(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the metrics as Prometheus's own parser reads them."""
    answer = httpx2.get(f"{service.url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_ready_means_that_the_corridor_is_and_else_it_says_every_reason(made: Service) -> None:
    assert httpx2.get(f"{made.url}/readyz").json()["ready"] is True
    made.desk.stale = True
    stale = httpx2.get(f"{made.url}/readyz")
    assert (stale.status_code, stale.headers["retry-after"]) == (503, "5")
    assert stale.json()["detail"] == "the newest bar is 900 s old"
    made.desk.bar = -1
    both = httpx2.get(f"{made.url}/readyz").json()["detail"]
    assert both == "warming up: the start; the newest bar is 900 s old"
    assert httpx2.get(f"{made.url}/healthz").json()["status"] == "ok"


def test_the_corridors_numbers_are_those_of_the_runtime(made: Service) -> None:
    for _ in range(3):
        made.desk.publish_bar()
    made.desk.controls.halt("a test", "test")
    found = read(made)
    assert found["tradewind_bars_total", ()] == 9
    assert found["tradewind_forecasts_total", ()] == 9
    assert found["tradewind_signals_total", ()] == 9
    assert found["tradewind_events_total", (("topic", "account"),)] == 3
    assert found["tradewind_dropped_total", ()] == 0
    assert found["tradewind_halted", ()] == 1
    assert found["tradewind_orders", (("status", "accepted"),)] == 2
    assert found["tradewind_account_equity", ()] == 101_234.5
    assert found["tradewind_fresh_seconds", ()] == 12
    assert found["tradewind_resident_bytes", ()] == 321.5e6
    assert found["tradewind_newest_bar_timestamp_seconds", ()] == 1796058000 + 3 * 300


def test_states_are_one_for_what_holds_and_zero_for_the_rest(made: Service) -> None:
    found = read(made)
    drift = {key[1]: value for key, value in found.items() if key[0] == "tradewind_drift_level"}
    assert drift[("level", "watch"), ("seat", "transformer")] == drift[("level", "ok"), ("seat", "lstm")] == 1
    assert sum(drift.values()) == 2
    services = {key[1]: value for key, value in found.items() if key[0] == "tradewind_service_state"}
    assert services[("service", "prices"), ("state", "ok")] == sum(services.values()) == 1


def test_what_is_not_known_is_absent_and_not_zero(made: Service) -> None:
    quantiles = {key[1][0][1]: value for key, value in read(made).items() if key[0] == "tradewind_bar_latency_seconds"}
    assert quantiles == {"0.5": 0.04, "0.95": 0.08}


def test_the_stages_are_a_histogram_in_seconds(made: Service) -> None:
    found = read(made)
    name, stage = "tradewind_stage_seconds", ("stage", "forecast")
    assert found[f"{name}_bucket", (("le", "0.01"), stage)] == 1
    assert found[f"{name}_bucket", (("le", "0.05"), stage)] == found[f"{name}_count", (stage,)] == 3
    assert found[f"{name}_sum", (stage,)] == pytest.approx(0.042)


def test_requests_are_counted_by_the_pattern_of_their_route(made: Service) -> None:
    for path in ("symbols/AAPL/bars", "symbols/MSFT/bars", "symbols/NONE/bars", "made-up", "made-up-too"):
        httpx2.get(f"{made.url}/api/v1/{path}")
    httpx2.request("BREW", f"{made.url}/")
    found = read(made)
    requests = {key[1]: value for key, value in found.items() if key[0] == "tradewind_http_requests_total"}
    bars = ("route", "/api/v1/symbols/{symbol}/bars")
    assert requests[("method", "GET"), bars, ("status", "200")] == 2
    assert requests[("method", "GET"), bars, ("status", "404")] == 1
    assert requests[("method", "GET"), ("route", "page"), ("status", "404")] == 2
    assert requests[("method", "other"), ("route", "page"), ("status", "405")] == 1
    assert found["tradewind_http_request_seconds_count", (bars,)] == 3


def test_while_it_warms_up_what_is_not_known_is_absent_and_the_rest_is_there(
    made: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ready() -> None:
        raise RetryError("the corridor is not ready yet", hint="wait until /readyz answers")

    monkeypatch.setattr(made.desk, "account", not_ready)
    found = read(made)
    assert not any(key[0].startswith("tradewind_account") for key in found)
    assert ("tradewind_uptime_seconds", ()) in found
    assert found["tradewind_orders", (("status", "filled"),)] == 1


def test_two_servers_count_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with in_thread(tmp_path / "a") as one, in_thread(tmp_path / "b") as other:
        httpx2.get(f"{one.url}/healthz")
        assert not any(key[0] == "tradewind_http_requests_total" for key in read(other))
