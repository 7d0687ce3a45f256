"""Playbook section ``[stress]``: what the book is put through."""

from __future__ import annotations

import difflib
from datetime import date
from typing import Self

from pydantic import Field, field_validator, model_validator

from tradewind.market.sectors import SECTORS, UNKNOWN, official
from tradewind.settings import Section

_WORST_SHOCK, _BEST_SHOCK = -1.0, 10.0


class ScenarioSection(Section):
    """Shocks by market, factor, sector and symbol; or a stretch of history, from its first close to its last."""

    description: str = Field("", description="one line for people")
    market: float | None = Field(
        None, ge=_WORST_SHOCK, le=_BEST_SHOCK, description="return of the benchmark index; reaches names by their beta"
    )
    factor: dict[str, float] = Field({}, description="return of a context series; reaches names by their beta to it")
    sector: dict[str, float] = Field({}, description="return of a GICS sector on top of what market and factors do")
    symbol: dict[str, float] = Field({}, description="return of a name, in place of everything else")
    start: date | None = Field(None, description="last close before the stretch of history")
    end: date | None = Field(None, description="last close of the stretch of history")

    @field_validator("sector")
    @classmethod
    def _known_sectors(cls, shocks: dict[str, float]) -> dict[str, float]:
        named: dict[str, float] = {}
        for name, shock in shocks.items():
            sector = sector_of(name)
            if sector in named:
                raise ValueError(f"{sector} is shocked twice")
            named[sector] = shock
        return named

    @field_validator("factor", "sector", "symbol")
    @classmethod
    def _possible(cls, shocks: dict[str, float]) -> dict[str, float]:
        for name, shock in shocks.items():
            if not _WORST_SHOCK <= shock <= _BEST_SHOCK:
                raise ValueError(f"{name} = {shock}: a return must lie in [{_WORST_SHOCK:g}, {_BEST_SHOCK:g}]")
        return shocks

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("a stretch of history needs both start and end")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"it ends ({self.end}) before it begins ({self.start})")
        if (self.start is not None) == self.shocks:
            raise ValueError("give either start and end, or shocks (market, factor, sector, symbol)")
        return self

    @property
    def shocks(self) -> bool:
        """Whether there are any shocks."""
        return self.market is not None or bool(self.factor or self.sector or self.symbol)


HISTORY: dict[str, ScenarioSection] = {
    "2008": ScenarioSection(description="Lehman and after", start=date(2008, 9, 2), end=date(2008, 11, 20)),
    "2020": ScenarioSection(description="the pandemic's crash", start=date(2020, 2, 19), end=date(2020, 3, 23)),
    "2022": ScenarioSection(description="the rise of interest rates", start=date(2022, 1, 3), end=date(2022, 10, 12)),
}
"""Scenarios that every book is put through; a playbook may redefine them by name."""


class StressSection(Section):
    """What ``tradewind stress`` puts the book through, and what it takes liquidity for."""

    history: tuple[str, ...] = Field(
        tuple(HISTORY), description="stretches of history that are replayed: " + ", ".join(HISTORY)
    )
    scenarios: dict[str, ScenarioSection] = Field({}, description="scenarios of your own, by name")
    samples: int = Field(20_000, ge=1000, le=1_000_000, description="draws of Monte Carlo and copula")
    horizon_sessions: int = Field(20, ge=1, le=250, description="sessions that the Monte Carlo scenario is over")
    history_sessions: int = Field(252, ge=60, description="sessions that betas and covariances look back on")
    participation: float = Field(0.10, gt=0, le=1, description="share of a day's volume that is sold into")
    volume_sessions: int = Field(20, ge=5, description="sessions that average daily volume is taken over")
    adv_share_max: float = Field(0.05, gt=0, description="positions above this share of average daily volume are named")

    @field_validator("history")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in HISTORY:
                raise ValueError(f"unknown stretch of history {name!r}: {_near(name, HISTORY)}")
        return names

    @property
    def all(self) -> dict[str, ScenarioSection]:
        """The scenarios by name: history first, then the playbook's own."""
        return {name: HISTORY[name] for name in self.history} | dict(self.scenarios)


def sector_of(name: str) -> str:
    """Return the GICS name of a sector however it is spelt; raise ``ValueError`` with the nearest for another word."""
    sector = official(name)
    if sector == UNKNOWN and name.strip().lower() != UNKNOWN:
        raise ValueError(f"unknown sector {name!r}: {_near(name, SECTORS)}")
    return sector


def _near(name: str, known: object) -> str:
    choices = sorted(map(str, known))  # type: ignore[call-overload]
    lower = {choice.lower(): choice for choice in choices}
    near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.5)]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(choices)}"
