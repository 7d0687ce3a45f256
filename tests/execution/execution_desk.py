"""A desk over a panel of the tests, with as many timeframes as wanted, without limits unless some are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from tradewind.decisions.coordinator import Coordinator
from tradewind.decisions.settings import CoordinatorSection
from tradewind.execution.desk import Desk
from tradewind.execution.desk_bars import Bars
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.market.panel import Panel
from tradewind.portfolio.limits import Gate
from tradewind.portfolio.settings import LimitsSection
from tradewind.risk.monitor import Monitor
from tradewind.risk.settings import RiskSection

FREE: dict[str, Any] = {"position_max": 1.0, "gross_max": 4.0}


def desk_of(
    panel: Panel,
    execution: ExecutionSection,
    account: AccountSection,
    *,
    sleeves: tuple[str, ...] = ("",),
    capital: tuple[float, ...] = (1.0,),
    limits: dict[str, Any] | None = None,
    risk: dict[str, Any] | None = None,
    coordinator: dict[str, Any] | None = None,
) -> tuple[Desk, Bars]:
    count = len(panel.symbols)
    symbol_of = np.tile(np.arange(count), len(sleeves)).astype(np.int64)
    sleeve_of = np.repeat(np.arange(len(sleeves)), count).astype(np.int64)
    columns = tuple(f"{s}@{sleeve}" if sleeve else s for sleeve in sleeves for s in panel.symbols)
    sectors = sorted(set(panel.sectors))
    sector_of = np.array([sectors.index(s) for s in panel.sectors], dtype=np.int64)
    rules = LimitsSection.model_validate({**FREE, **(limits or {})})
    measured = RiskSection.model_validate(risk or {})
    gate = Gate(rules, measured, symbol_of, sector_of)
    section = CoordinatorSection.model_validate(coordinator or {})
    together = Coordinator(section, sleeves, np.array(capital), sleeve_of, symbol_of)
    monitor = Monitor(measured, rules.liquidity_sessions, count, measures=gate.needs_risk)
    borrowable = np.full(count, execution.short_allowed)
    desk = Desk(panel.symbols, columns, gate, together, monitor, execution, account, borrowable)
    return desk, Bars.of(panel, symbol_of)
