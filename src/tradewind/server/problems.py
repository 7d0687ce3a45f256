"""What goes wrong, said as problem+json (RFC 9457): what happened, what to do next, and under which id it is logged."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tradewind.errors import BugError, DataError, InputError, RetryError, SafetyStop, TradewindError
from tradewind.live.logs import logger
from tradewind.server.shapes import Problem

MEDIA = "application/problem+json"
RETRY_SECONDS = 5
_NO_JSON = "send a JSON object with `Content-Type: application/json`"
_SEE_DOCS = "/docs lists what each path takes"
_log = logger(__name__)

_STATUS: tuple[tuple[type[TradewindError], int], ...] = (
    (InputError, 422),
    (DataError, 409),
    (RetryError, 503),
    (SafetyStop, 409),
)
_HINTS: Mapping[int, str] = {
    400: "/docs lists what each path takes",
    401: "send `Authorization: Bearer TOKEN`",
    403: "use a token with a greater role",
    404: "/docs lists what there is",
    405: "/docs lists the methods of each path",
    413: "send less, or raise server.largest_body_bytes",
    429: "wait as long as Retry-After says",
}


class Refused(HTTPException):
    """A request that is answered with a problem; for what no error of ours says better."""

    def __init__(
        self, status: int, detail: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.hint = hint


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    hint: str | None = None,
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the response that says it."""
    said = Problem(
        type=kind,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        hint=hint if hint is not None else _HINTS.get(status),
        instance=f"urn:tradewind:request:{request_id}",
    )
    return Response(said.model_dump_json(), status, dict(headers or {}), MEDIA)


def install(app: FastAPI) -> None:
    """Answer every exception with a problem."""
    app.add_exception_handler(TradewindError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def failed(request_id: str, path: str, failure: Exception) -> Response:
    """Return the answer to what should not have happened: its traceback is logged, and only its id is told."""
    _log.error("a request failed", request=request_id, path=path, exc_info=failure)
    return problem(
        500,
        "something failed that should not have",
        kind="urn:tradewind:error:BugError",
        hint=f"the log says more about request {request_id}; please report it",
        request_id=request_id,
    )


def of_error(error: TradewindError, request_id: str = "", *, status: int | None = None) -> Response:
    """Return the response that says one of our errors."""
    code = status or next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return problem(
        code,
        error.what,
        kind=f"urn:tradewind:error:{type(error).__name__}",
        hint=error.hint or None,
        request_id=request_id,
        headers={"Retry-After": str(RETRY_SECONDS)} if code == 503 else None,
    )


def of_refusal(error: HTTPException, request_id: str) -> Response:
    """Return the response that says a refusal."""
    hint = error.hint if isinstance(error, Refused) else None
    return problem(error.status_code, str(error.detail), hint=hint, request_id=request_id, headers=error.headers)


def request_id_of(request: Request) -> str:
    """Return the id under which a request is logged."""
    return str(getattr(request.state, "request_id", ""))


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TradewindError)
    if isinstance(error, BugError):
        return failed(request_id_of(request), request.url.path, error)
    missing = isinstance(error, InputError) and request.method == "GET" and "symbol" in request.path_params
    return of_error(error, request_id_of(request), status=404 if missing else None)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    broken = any(fault["type"] == "json_invalid" for fault in faults)
    return problem(
        400 if broken else 422,
        "; ".join(map(_fault, faults)) or "the request is not valid",
        kind="urn:tradewind:error:InputError",
        hint=_NO_JSON if any(fault["type"] == "model_attributes_type" for fault in faults) else _SEE_DOCS,
        request_id=request_id_of(request),
    )


def _fault(fault: Mapping[str, Any]) -> str:
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return of_refusal(error, request_id_of(request))


def unlike(error: ValidationError) -> BugError:
    """Return the error of an answer of the runtime that does not have its shape."""
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
    return BugError(f"an answer of the runtime is not a {error.title}: {faults}", hint="please report it")
