"""The API's own description, WebSocket messages included: what the page's types are made from.

``python -m tradewind.server.openapi`` prints it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from tradewind import __version__

_TEXT = """Market forecasts, recommendations and a paper account as they are now. Everything but the probes needs a
token where tokens are set. Times are ISO 8601 in UTC; what is missing is null; errors are problem+json. `/ws` pushes
the same objects as they change: it takes a `ClientMessage` and sends a `ServerMessage`."""


def bare() -> FastAPI:
    """Return the application with its operations, without anything that answers them."""
    from tradewind.server import commands, probes, questions

    app = FastAPI(
        title="Tradewind",
        version=__version__,
        description=_TEXT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        generate_unique_id_function=_operation,
    )
    for router in (questions.router, commands.router, probes.router):
        app.include_router(router)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _operation(route: APIRoute) -> str:
    """Return the name of an operation as programs in other languages write it: getBars."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            separate_input_output_schemas=False,
        )
        app.openapi_schema["components"]["schemas"].update(_messages())
    return app.openapi_schema


def _messages() -> dict[str, Any]:
    """Return the schemas of what is said over the WebSocket, and of problems."""
    from pydantic.json_schema import models_json_schema

    from tradewind.server.messages import CLIENT, SERVER
    from tradewind.server.shapes import Problem

    place = "#/components/schemas/{model}"
    schemas: dict[str, Any] = {}
    for name, adapter in (("ClientMessage", CLIENT), ("ServerMessage", SERVER)):
        whole = adapter.json_schema(ref_template=place)
        schemas |= whole.pop("$defs", {})
        schemas[name] = whole
    _, problem = models_json_schema([(Problem, "validation")], ref_template=place)
    return {**schemas, **problem["$defs"]}


if __name__ == "__main__":
    json.dump(bare().openapi(), sys.stdout, indent=1)
    sys.stdout.write("\n")
