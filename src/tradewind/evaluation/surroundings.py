"""What surrounds a panel's bars: the market's regime, companies' calendars and filings, laid on its rows as known then."""

from __future__ import annotations

import numpy as np

from tradewind.decisions.surroundings import Surroundings
from tradewind.evaluation.workspace import Workspace
from tradewind.market.panel import Panel
from tradewind.risk.regimes.result import Regimes
from tradewind.risk.regimes.settings import RegimesSection


def market_regimes(panel: Panel, settings: RegimesSection) -> Regimes:
    """Return the regimes of the market that a panel shows, as filtered at each session's close."""
    from tradewind.risk.regimes.observations import observations
    from tradewind.risk.regimes.result import detect

    return detect(observations(panel, settings), settings)


def laid_on(workspace: Workspace, panel: Panel, regimes: Regimes | None) -> Surroundings:
    """Return what surrounds a panel's bars, row by row as known at their closes."""
    if regimes is None:
        return Surroundings()
    state = np.asarray(regimes.regime_at(panel.times), dtype=np.int8)
    return Surroundings(regime=state, multiplier=regimes.multiplier_at(panel.times), notes=tuple(regimes.notes))
