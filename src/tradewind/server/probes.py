"""What machines ask: is it alive, is it ready, and what Prometheus counts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tradewind import __version__
from tradewind.server.answers import PROBLEMS, Live, answer, needs
from tradewind.server.metrics import MEDIA, Metrics
from tradewind.server.problems import Refused
from tradewind.server.shapes import Alive, Ready

router = APIRouter(responses=PROBLEMS, tags=["probes"])


@router.get("/healthz", response_model=Alive)
async def get_alive() -> Response:
    """Whether the process answers."""
    return answer(Alive, {"status": "ok", "version": __version__})


@router.get("/readyz", response_model=Ready)
def get_ready(live: Live) -> Response:
    """Whether all is warm, bars are fresh, and source, records, lake and models are well; 503 with every reason."""
    ready, reasons = live.readiness()
    if not ready:
        raise Refused(503, "; ".join(reasons), hint="/api/v1/health says more", headers={"Retry-After": "5"})
    return answer(Ready, {"ready": True, "as_of": live.status()["as_of"]})


@router.get(
    "/metrics",
    dependencies=[needs("read")],
    response_class=Response,
    responses={200: {"description": "metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(request: Request) -> Response:
    """Everything that Prometheus may want to know."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), media_type=MEDIA)
