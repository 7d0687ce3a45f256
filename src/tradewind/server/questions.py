"""What may be asked: every GET of the API. Answers are made in threads, because the runtime may read records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from tradewind.live.runtime import Runtime
from tradewind.server import shapes
from tradewind.server.answers import (
    PROBLEMS,
    Live,
    Settings,
    SymbolName,
    Until,
    answer,
    at_most,
    listed,
    needs,
    table,
)
from tradewind.server.problems import Refused
from tradewind.server.settings import ServerSettings
from tradewind.server.tokens import Caller
from tradewind.server.wire import with_additions

router = APIRouter(prefix="/api/v1", dependencies=[needs("read")], responses=PROBLEMS)

Rows = Sequence[Mapping[str, Any]]


def additions(settings: ServerSettings) -> dict[str, dict[str, Any]]:
    """Return what the server adds to the payload of a topic."""
    return {"status": {"available": {"manual_override": settings.manual_override}}}


@router.get("/status", response_model=shapes.Status, tags=["system"])
def get_status(live: Live, settings: Settings) -> Response:
    """What runs, on what, since when, and whether it is well."""
    return answer(shapes.Status, with_additions(live.status(), additions(settings)["status"]))


@router.get("/caller", response_model=shapes.Caller, tags=["system"])
def get_caller(caller: Annotated[Caller, needs("read")]) -> Response:
    """Who asks, and with which role."""
    return answer(shapes.Caller, {"name": caller.name, "role": caller.role})


@router.get("/health", response_model=shapes.Health, tags=["system"])
def get_health(live: Live) -> Response:
    """Services, freshness, latency and machine."""
    return answer(shapes.Health, live.health())


@router.get("/jobs", response_model=shapes.Jobs, tags=["system"])
def get_jobs(live: Live, limit: Annotated[int, at_most(1_000)] = 50) -> Response:
    """Jobs, newest first."""
    return listed(shapes.Jobs, live.jobs(limit=limit))


@router.get("/alerts", response_model=shapes.Alerts, tags=["system"])
def get_alerts(live: Live, limit: Annotated[int, at_most(10_000)] = 200) -> Response:
    """Alerts, newest first."""
    return listed(shapes.Alerts, live.alerts(limit=limit))


@router.get("/playbooks", response_model=shapes.Playbooks, tags=["system"])
def get_playbooks(live: Live) -> Response:
    """The playbooks of this home."""
    return listed(shapes.Playbooks, live.playbooks())


@router.get("/reports", response_model=shapes.Reports, tags=["system"])
def get_reports(live: Live) -> Response:
    """Finished runs with a result."""
    return listed(shapes.Reports, live.reports())


@router.get("/symbols", response_model=shapes.Symbols, tags=["market"])
def get_symbols(live: Live) -> Response:
    """The watch-list."""
    return listed(shapes.Symbols, live.symbols())


@router.get("/symbols/{symbol}/bars", response_model=shapes.Bars, tags=["market"])
def get_bars(
    live: Live, symbol: SymbolName, limit: Annotated[int, at_most(5_000)] = 500, until: Until = None
) -> Response:
    """The newest bars of a symbol, oldest first."""
    return listed(shapes.Bars, live.bars(symbol, limit=limit, until=until))


@router.get("/symbols/{symbol}/forecasts", response_model=shapes.Forecasts, tags=["market"])
def get_forecasts(
    live: Live, symbol: SymbolName, limit: Annotated[int, at_most(1_000)] = 1, until: Until = None
) -> Response:
    """The newest forecasts of a symbol, oldest first, each with the fans of all models."""
    return listed(shapes.Forecasts, live.forecasts(symbol, limit=limit, until=until))


@router.get("/symbols/{symbol}/news", response_model=shapes.NewsList, tags=["market"])
def get_news(live: Live, symbol: SymbolName, limit: Annotated[int, at_most(200)] = 50) -> Response:
    """News about a symbol, newest first, where this system reads any."""
    read = getattr(live, "news", None)
    if read is None:
        raise Refused(404, "this system reads no news", hint="status.available says what it has")
    return listed(shapes.NewsList, read(symbol, limit=limit))


@router.get("/signals", response_model=shapes.Signals, tags=["decisions"])
def get_signals(live: Live, symbol: shapes.Name | None = None, limit: Annotated[int, at_most(5_000)] = 100) -> Response:
    """The newest recommendation of each symbol, or the newest ones of one symbol; the surest first."""
    return listed(shapes.Signals, live.signals(symbol=symbol, limit=limit))


@router.get("/account", response_model=shapes.Account, tags=["account"])
def get_account(live: Live) -> Response:
    """The account as it stands."""
    return answer(shapes.Account, live.account())


@router.get("/account/equity", response_model=shapes.Equity, tags=["account"])
def get_equity(live: Live, limit: Annotated[int, at_most(50_000)] = 5_000) -> Response:
    """Equity and drawdown, oldest first."""
    return listed(shapes.Equity, live.equity(limit=limit))


@router.get("/positions", response_model=shapes.Positions, tags=["account"])
def get_positions(live: Live) -> Response:
    """What is held."""
    return listed(shapes.Positions, live.positions())


@router.get("/orders", response_model=shapes.Orders, tags=["account"])
def get_orders(live: Live, limit: Annotated[int, at_most(10_000)] = 200) -> Response:
    """Orders, newest first."""
    return listed(shapes.Orders, live.orders(limit=limit))


@router.get("/orders/manual", response_model=shapes.ManualOrders, tags=["account"])
def get_manual_orders(live: Live, limit: Annotated[int, at_most(10_000)] = 200) -> Response:
    """What persons ordered, those that wait included, newest first."""
    return listed(shapes.ManualOrders, live.manual_orders(limit=limit))


@router.get("/symbols/{symbol}/ticket", response_model=shapes.Ticket, tags=["account"])
def get_ticket(live: Live, symbol: SymbolName) -> Response:
    """What may be ordered of a symbol now, and at which close it would be applied."""
    return answer(shapes.Ticket, live.ticket(symbol))


@router.get("/fills", response_model=shapes.Fills, tags=["account"])
def get_fills(live: Live, limit: Annotated[int, at_most(10_000)] = 200) -> Response:
    """Fills, newest first."""
    return listed(shapes.Fills, live.fills(limit=limit))


@router.get("/models", response_model=shapes.Models, tags=["models"])
def get_models(live: Live) -> Response:
    """Every model's seat: champion, challenger, live skill, decisions."""
    return listed(shapes.Models, live.models())


@router.get("/drift", response_model=shapes.Drifts, tags=["models"])
def get_drift(live: Live) -> Response:
    """The newest drift reading of each seat."""
    return listed(shapes.Drifts, live.drift())


# -- the same as tables -------------------------------------------------------------------------------------------


@router.get("/symbols/{symbol}/bars.csv", response_class=Response, responses=shapes.CSV, tags=["tables"])
def get_bars_table(
    live: Live, symbol: SymbolName, limit: Annotated[int, at_most(5_000)] = 5_000, until: Until = None
) -> Response:
    """The bars of a symbol as a CSV file."""
    return table("bars", shapes.Bar, live.bars(symbol, limit=limit, until=until))


def _add_table(name: str, path: str, shape: type[shapes.Shape], ask: Callable[[Runtime, int], Rows]) -> None:
    def read(live: Live, limit: Annotated[int, at_most(50_000)] = 10_000) -> Response:
        return table(name, shape, ask(live, limit))

    read.__doc__ = f"The {name} as a CSV file."
    router.add_api_route(
        path, read, name=f"get_{name}_table", response_class=Response, responses=shapes.CSV, tags=["tables"]
    )


_add_table("symbols", "/symbols.csv", shapes.Symbol, lambda live, limit: live.symbols()[:limit])
_add_table("signals", "/signals.csv", shapes.Signal, lambda live, limit: live.signals(limit=limit))
_add_table("equity", "/account/equity.csv", shapes.EquityPoint, lambda live, limit: live.equity(limit=limit))
_add_table("positions", "/positions.csv", shapes.Position, lambda live, limit: live.positions()[:limit])
_add_table("orders", "/orders.csv", shapes.Order, lambda live, limit: live.orders(limit=limit))
_add_table("fills", "/fills.csv", shapes.Fill, lambda live, limit: live.fills(limit=limit))
_add_table("alerts", "/alerts.csv", shapes.Alert, lambda live, limit: live.alerts(limit=limit))
_add_table("models", "/models.csv", shapes.Model, lambda live, limit: live.models()[:limit])
_add_table("drift", "/drift.csv", shapes.Drift, lambda live, limit: live.drift()[:limit])
_add_table("jobs", "/jobs.csv", shapes.Job, lambda live, limit: live.jobs(limit=limit))
_add_table("reports", "/reports.csv", shapes.Report, lambda live, limit: live.reports()[:limit])
