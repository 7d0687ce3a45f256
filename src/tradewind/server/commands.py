"""What may be commanded: every POST and DELETE of the API. Who did it and why goes to the runtime, which records it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tradewind.errors import InputError, did_you_mean
from tradewind.live.logs import logger
from tradewind.live.runtime import Runtime
from tradewind.server.answers import PROBLEMS, Live, SeatName, Settings, SymbolName, answer, needs
from tradewind.server.problems import Refused
from tradewind.server.shapes import Closing, NewOrder, Ordered, OrderId, Outcome, Promotion, Reason, Shape, Speed
from tradewind.server.tokens import Caller

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)
_log = logger(__name__)

Trader = Annotated[Caller, needs("trade")]
Admin = Annotated[Caller, needs("admin")]


@router.post("/control/halt", response_model=Outcome, tags=["control"])
async def halt(live: Live, caller: Trader, body: Reason) -> Response:
    """Stop all trading, through restarts, until it is released. Role: trade."""
    return await _carry_out(live, "halt", caller, reason=body.reason)


@router.post("/control/release", response_model=Outcome, tags=["control"])
async def release(live: Live, caller: Trader, body: Reason) -> Response:
    """Let trading go on. Role: trade."""
    return await _carry_out(live, "release", caller, reason=body.reason)


@router.post("/orders", response_model=Ordered, tags=["account"])
async def order(live: Live, caller: Trader, body: NewOrder) -> Response:
    """Decide in the rule's place at the next close, on paper; the same id again is the same order. Role: trade."""
    return await _carry_out(live, "order", caller, Ordered, **body.model_dump())


@router.delete("/orders/{order_id}", response_model=Ordered, tags=["account"])
async def cancel_order(live: Live, caller: Trader, order_id: Annotated[OrderId, Path()]) -> Response:
    """Take back an order of a person's that waits. Role: trade."""
    try:
        return await _carry_out(live, "cancel_order", caller, Ordered, id=order_id)
    except InputError as error:
        raise Refused(404, error.what, hint=error.hint) from error


@router.post("/positions/{symbol}/close", response_model=Ordered, tags=["account"])
async def close_position(live: Live, caller: Trader, symbol: SymbolName, body: Closing) -> Response:
    """Close what is held of a symbol at the next close, on paper. Role: trade."""
    return await _carry_out(live, "close_position", caller, Ordered, symbol=symbol, **body.model_dump())


@router.post("/replay/speed", response_model=Outcome, tags=["control"])
async def set_speed(live: Live, caller: Trader, body: Speed) -> Response:
    """Replay so many times as fast as it happened, or as fast as can be. Role: trade."""
    return await _carry_out(live, "speed", caller, speed=body.speed)


@router.post("/models/{seat}/retrain", response_model=Outcome, tags=["models"])
async def retrain(live: Live, caller: Admin, seat: SeatName) -> Response:
    """Train a challenger for a seat now. Role: admin."""
    await _require_seat(live, seat)
    return await _carry_out(live, "retrain", caller, seat=seat)


@router.post("/models/{seat}/promote", response_model=Outcome, tags=["models"])
async def promote(live: Live, settings: Settings, caller: Admin, seat: SeatName, body: Promotion) -> Response:
    """Give a seat to a model by hand, against the gate; only with server.manual_override. Role: admin."""
    if not settings.manual_override:
        raise Refused(
            403, "the gate alone promotes models", hint="set server.manual_override = true to allow it by hand"
        )
    await _require_seat(live, seat)
    return await _carry_out(live, "promote", caller, seat=seat, model=body.model, reason=body.reason)


@router.post("/models/{seat}/rollback", response_model=Outcome, tags=["models"])
async def roll_back(live: Live, caller: Admin, seat: SeatName, body: Reason) -> Response:
    """Give a seat back to the champion before. Role: admin."""
    await _require_seat(live, seat)
    return await _carry_out(live, "rollback", caller, seat=seat, reason=body.reason)


@router.post("/alerts/test", response_model=Outcome, tags=["system"])
async def try_alerts(live: Live, caller: Admin) -> Response:
    """Send an alert to every destination, to see whether it arrives. Role: admin."""
    return await _carry_out(live, "test_alert", caller)


async def _require_seat(live: Runtime, seat: str) -> None:
    seats = [model["seat"] for model in await run_in_threadpool(live.models)]
    if seat not in seats:
        error = did_you_mean("seat", seat, seats)
        raise Refused(404, error.what, hint=error.hint)


async def _carry_out(
    live: Runtime, name: str, caller: Caller, shape: type[Shape] = Outcome, **arguments: Any
) -> Response:
    _log.info("command", command=name, by=caller.name, **{k: v for k, v in arguments.items() if k != "reason"})
    return answer(shape, dict(await live.command(name, caller.name, **arguments)))
