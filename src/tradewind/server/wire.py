"""Payloads of the runtime as JSON text: each validated and written once, for REST and for every listener alike."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from tradewind.live.bus import Event
from tradewind.live.logs import logger
from tradewind.server.messages import PAYLOADS
from tradewind.server.problems import unlike
from tradewind.server.shapes import Shape

S = TypeVar("S", bound=Shape)

WRITTEN = 4_096
"""Events whose text is kept."""

_log = logger(__name__)


def shaped(shape: type[Shape], payload: Any) -> str:
    """Return a payload as JSON of its shape; raises ``BugError`` where it is not of that shape."""
    try:
        made = shape.model_validate(payload)
    except ValidationError as error:
        raise unlike(error) from error
    return made.model_dump_json(exclude_unset=True, fallback=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


class Writer:
    """Writes events. An event that is not of its topic's shape is written as it is, and logged once for its topic.

    Parameters
    ----------
    additions
        What the server knows of a topic's data beside the runtime.
    """

    def __init__(self, additions: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._written: OrderedDict[int, str] = OrderedDict()
        self._additions, self._odd = additions or {}, set[str]()

    def delta(self, events: Iterable[Event]) -> str:
        """Return the message that tells events."""
        return f'{{"type":"delta","events":[{",".join(map(self.text, events))}]}}'

    def snapshot(self, seq: int, events: Iterable[Event]) -> str:
        """Return the message that tells everything's newest event."""
        return f'{{"type":"snapshot","seq":{seq},"events":[{",".join(map(self.text, events))}]}}'

    def text(self, event: Event) -> str:
        """Return an event as JSON."""
        written = self._written.get(event.seq)
        if written is None:
            written = self._written[event.seq] = self._write(event)
            if len(self._written) > WRITTEN:
                self._written.popitem(last=False)
        return written

    def _write(self, event: Event) -> str:
        head = json.dumps(
            {
                "seq": event.seq,
                "topic": event.topic,
                "key": event.key,
                "at": event.at.isoformat(),
                "correlation": event.correlation,
            },
            separators=(",", ":"),
        )
        return f'{head[:-1]},"data":{self._data(event)}}}'

    def _data(self, event: Event) -> str:
        data = with_additions(event.data, self._additions.get(event.topic))
        shape = PAYLOADS.get(event.topic)
        try:
            if shape is not None:
                return shape.model_validate(data).model_dump_json(exclude_unset=True, fallback=_plain)
        except ValidationError as error:
            if event.topic not in self._odd:
                self._odd.add(event.topic)
                _log.error("an event does not have the shape of its topic", topic=event.topic, what=unlike(error).what)
        return to_json(dict(data), inf_nan_mode="null", fallback=_plain).decode()


def with_additions(data: Mapping[str, Any], additions: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a payload with what the server adds: a table within it is added to, not replaced."""
    if not additions:
        return data
    return {**data, **{key: {**dict(data.get(key) or {}), **value} for key, value in additions.items()}}
