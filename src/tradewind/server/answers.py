"""How a route answers: who may ask, which runtime answers, and its payload as JSON or as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator, ValidationError, WithJsonSchema
from starlette.responses import Response

from tradewind.live.runtime import Runtime
from tradewind.server.problems import Refused, unlike
from tradewind.server.settings import Role, ServerSettings
from tradewind.server.shapes import Shape
from tradewind.server.tokens import Caller
from tradewind.server.wire import shaped

_BEARER = HTTPBearer(auto_error=False, description="a token of the role that the operation needs, or of a greater one")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""With what a text begins that a spreadsheet would compute."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "what went wrong, and what to do next",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
    422: {
        "description": "a value that cannot be meant",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
}
"""What every operation may answer beside its result."""


def needs(role: Role) -> Any:
    """Return the dependency that refuses callers without a role, and gives the caller."""

    async def check(
        request: Request, _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Caller:
        caller: Caller | None = request.state.caller
        if caller is None:
            raise Refused(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})
        if not caller.may(role):
            raise Refused(403, f"the token has the role {caller.role}; this needs {role}")
        return caller

    return Depends(check)


async def _runtime(request: Request) -> Any:
    return request.app.state.runtime


async def _settings(request: Request) -> ServerSettings:
    settings: ServerSettings = request.app.state.settings
    return settings


def _instant(value: Any) -> Any:
    """Read ISO 8601, UTC where no zone is said; pydantic alone would also take numbers for times."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("the time is beyond all calendars") from None


Live = Annotated[Runtime, Depends(_runtime)]
Settings = Annotated[ServerSettings, Depends(_settings)]
SymbolName = Annotated[str, Path(max_length=80, pattern=r"^[A-Za-z0-9^][A-Za-z0-9.^=_:@-]*$", examples=["AAPL"])]
SeatName = Annotated[str, Path(max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9.@_-]*$", examples=["lstm"])]
Until = Annotated[
    datetime | None,
    BeforeValidator(_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": form} for form in ("date-time", "date")]}),
    Query(description="only what was known by then (ISO 8601, UTC unless said)"),
]


def at_most(most: int) -> Any:
    """Return the query parameter that says how many are wanted."""
    return Query(ge=1, le=most, description=f"how many, at most {most:,}")


def answer(shape: type[Shape], payload: Any, *, status: int = 200) -> Response:
    """Return a payload as JSON of its shape."""
    return Response(shaped(shape, payload), status, media_type="application/json")


def listed(shape: type[Shape], rows: Sequence[Mapping[str, Any]]) -> Response:
    """Return rows as JSON of the shape of their list."""
    return answer(shape, {"items": list(rows)})


def table(name: str, shape: type[Shape], rows: Sequence[Mapping[str, Any]]) -> Response:
    """Return rows as a CSV file to be saved."""
    columns = [field.alias or key for key, field in shape.model_fields.items()]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: cell(value) for column, value in _read(shape, row).items()})
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


def _read(shape: type[Shape], row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return shape.model_validate(row).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise unlike(error) from error


def cell(value: Any) -> str:
    """Return a value as a cell of a table that no spreadsheet takes for a formula."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "; ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text
