"""What a running corridor shows and takes orders from: the one face that server, page and tests know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from tradewind.live.bus import Bus

Mode = Literal["REPLAY", "PAPER", "LIVE"]

Payload = Mapping[str, Any]
"""JSON-able; instants as ISO 8601 in UTC, what is missing as None."""


class Runtime(Protocol):
    """A playbook that runs. Questions are answered from memory or records and never wait for the loop.

    Everything that changes is said on ``bus`` too, in the same shapes: topics ``status``, ``bar``, ``tick``,
    ``forecast``, ``signal``, ``account``, ``position``, ``order``, ``manual_order``, ``fill``, ``alert``, ``model``,
    ``drift``, ``health``, ``job``. The key is the symbol, or the id of the thing.
    """

    bus: Bus
    mode: Mode

    def status(self) -> Payload:
        """Return playbook, mode, source, timeframe, as_of, halted, progress, warnings."""
        ...

    def symbols(self) -> Sequence[Payload]:
        """Return the watch-list: symbol, sector, tier, price, change, its newest signal and confidence."""
        ...

    def bars(self, symbol: str, *, limit: int = 500, until: datetime | None = None) -> Sequence[Payload]:
        """Return the newest bars of a symbol, oldest first. Raises ``InputError`` for a symbol that is not traded."""
        ...

    def forecasts(self, symbol: str, *, limit: int = 1, until: datetime | None = None) -> Sequence[Payload]:
        """Return the newest forecasts of a symbol, oldest first, each with the fans of all models."""
        ...

    def signals(self, *, symbol: str | None = None, limit: int = 100) -> Sequence[Payload]:
        """Return the newest recommendation of each symbol, or the newest ones of one symbol; surest first."""
        ...

    def account(self) -> Payload:
        """Return equity, cash, profit, exposure and limits of the paper account."""
        ...

    def equity(self, *, limit: int = 5000) -> Sequence[Payload]:
        """Return time, equity and drawdown, oldest first."""
        ...

    def positions(self) -> Sequence[Payload]:
        """Return what is held."""
        ...

    def orders(self, *, limit: int = 200) -> Sequence[Payload]:
        """Return orders, newest first."""
        ...

    def manual_orders(self, *, limit: int = 200) -> Sequence[Payload]:
        """Return what persons ordered and what became of it, newest first."""
        ...

    def ticket(self, symbol: str) -> Payload:
        """Return what may be ordered of a symbol now. Raises ``InputError`` for a symbol that is not traded."""
        ...

    def fills(self, *, limit: int = 200) -> Sequence[Payload]:
        """Return fills, newest first."""
        ...

    def alerts(self, *, limit: int = 200) -> Sequence[Payload]:
        """Return alerts, newest first."""
        ...

    def models(self) -> Sequence[Payload]:
        """Return every model's seat: champion, challenger, live coverage and skill, reliability, decisions."""
        ...

    def drift(self) -> Sequence[Payload]:
        """Return the newest drift reading of each model."""
        ...

    def health(self) -> Payload:
        """Return services, freshness, latency, machine, version."""
        ...

    def readiness(self) -> tuple[bool, Sequence[str]]:
        """Return whether work may be sent here, and every reason why not. Reads nothing but memory."""
        ...

    def jobs(self, *, limit: int = 50) -> Sequence[Payload]:
        """Return jobs, newest first."""
        ...

    def playbooks(self) -> Sequence[Payload]:
        """Return the playbooks that this home knows: name, description, whether it runs."""
        ...

    def reports(self) -> Sequence[Payload]:
        """Return finished runs with a result: id, verb, playbook, started, seconds."""
        ...

    async def command(self, name: str, actor: str, **arguments: Any) -> Payload:
        """Carry out ``halt``, ``release``, ``retrain``, ``promote``, ``rollback``, ``test_alert`` or ``speed``.

        Or ``order``, ``cancel_order`` and ``close_position``. Returns what came of it. Raises ``InputError`` for what
        cannot be meant, ``SafetyStop`` for what a halt forbids.
        """
        ...
