"""Market regimes: a Gaussian hidden Markov model over session closes; see ``docs`` for what it may and may not know.

Hamilton (1989) for the model and its filter; what was known at a close is only ever filtered, never smoothed.
"""

from tradewind.risk.regimes.detector import (
    UNSURE,
    DetectorState,
    FitEvent,
    RegimeDetector,
    RegimeRows,
)
from tradewind.risk.regimes.hidden_markov import Fit, NoFitError, fit_window
from tradewind.risk.regimes.naming import LABELS
from tradewind.risk.regimes.observations import Observations, observations
from tradewind.risk.regimes.result import RegimeAlert, Regimes, Spell, detect
from tradewind.risk.regimes.settings import RegimeMultipliers, RegimesSection

__all__ = [
    "LABELS",
    "UNSURE",
    "DetectorState",
    "Fit",
    "FitEvent",
    "NoFitError",
    "Observations",
    "RegimeAlert",
    "RegimeDetector",
    "RegimeMultipliers",
    "RegimeRows",
    "Regimes",
    "RegimesSection",
    "Spell",
    "detect",
    "fit_window",
    "observations",
]
