"""Everything that an account is between two bars, and how it is kept: NumPy's archive, without pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.coordinator import CoordinatorState
from tradewind.errors import DataError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book
from tradewind.portfolio.limits import GateState
from tradewind.risk.monitor import Exposure, MonitorState

FloatArray = NDArray[np.float64]


@dataclass(eq=False)
class DeskState:
    """Everything between two bars.

    Attributes
    ----------
    values, flows
        Market value at the last session's end, and cash moved since then, by column, in cents ``(M,)``.
    waiting
        Targets with their brackets for the next bar, as the compiled step reads them.
    exposure
        What ``monitor`` says of each name's risk, computed once a session.
    """

    book: Book
    gate: GateState
    coordinator: CoordinatorState
    monitor: MonitorState
    values: FloatArray
    flows: FloatArray
    waiting: tuple[FloatArray, ...] | None = None
    exposure: Exposure | None = None

    def copy(self) -> DeskState:
        """Return a state of its own with the same content."""
        waiting = None if self.waiting is None else tuple(row.copy() for row in self.waiting)
        book, monitor = self.book.copy(), self.monitor.copy()
        values, flows = self.values.copy(), self.flows.copy()
        return replace(self, book=book, monitor=monitor, values=values, flows=flows, waiting=waiting)


def column_values(book: Book) -> FloatArray:
    """Return the columns' market values in cents, ``(M,)``, rounded as the compiled step rounds them."""
    return np.asarray(np.rint(book.state[k.SHARES] * marks(book) * 100.0))


def marks(book: Book) -> FloatArray:
    """Return the columns' last prices, 0 before the first."""
    mark = book.state[k.MARK]
    return np.where(np.isnan(mark), 0.0, mark)


def to_bytes(state: DeskState) -> bytes:
    """Return a desk's state as bytes (NumPy's archive without pickle): what a paper account is kept as."""
    waiting = np.empty((0, 0)) if state.waiting is None else np.concatenate(state.waiting)
    head = {"symbols": state.book.symbols, "gate": asdict(state.gate), "sessions": state.coordinator.sessions}
    stream = io.BytesIO()
    np.savez(
        stream,
        allow_pickle=False,
        head=np.array(json.dumps(head)),
        time=state.book.time,
        state=state.book.state,
        scalars=state.book.scalars,
        orders=state.book.orders,
        share=state.coordinator.share,
        profit=state.coordinator.profit,
        values=state.values,
        flows=state.flows,
        waiting=waiting,
        **state.monitor.arrays(),
    )
    return stream.getvalue()


def from_bytes(content: bytes) -> DeskState:
    """Return the state that :func:`to_bytes` kept; ``DataError`` where it cannot be read."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            return _restored({name: kept[name] for name in kept.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise DataError(f"a stored paper account cannot be read: {error}", hint="restore a backup") from None


def _restored(stored: Mapping[str, NDArray[Any]]) -> DeskState:
    head, waiting = json.loads(str(stored["head"])), stored["waiting"]
    time = np.datetime64(stored["time"].astype("datetime64[us]").item(), "us")
    return DeskState(
        book=Book(tuple(head["symbols"]), stored["state"], stored["scalars"], time, stored["orders"]),
        gate=GateState(**head["gate"] | {"told": tuple(head["gate"].get("told", ()))}),
        coordinator=CoordinatorState(stored["share"], stored["profit"], head["sessions"]),
        monitor=MonitorState.of(stored),
        values=stored["values"],
        flows=stored["flows"],
        waiting=None if not waiting.size else tuple(np.ascontiguousarray(row[None, :]) for row in waiting),
    )
