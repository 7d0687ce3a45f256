"""Playbook sections of the evaluation room."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tradewind.settings import Section


class EvaluationSection(Section):
    """How the track record is made and judged."""

    min_train_bars: int = Field(756, ge=60, description="bars before the first out-of-sample forecast")
    refit_bars: int = Field(252, ge=5, description="bars between refits: the length of each test block")
    window: Literal["expanding", "rolling"] = Field("expanding", description="training window")
    train_stride_bars: int = Field(1, ge=1, description="train on every n-th bar")
    bootstrap_samples: int = Field(2000, ge=100, description="stationary bootstrap samples for intervals")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="level of all intervals")
    seed: int = Field(11, ge=0, description="seed of the bootstrap")


class TargetsSection(Section):
    """What the playbook's author hoped for; reported as met, not met or cannot tell, never tuned for."""

    sharpe_min: float | None = Field(None, description="least Sharpe ratio, net, annualised")
    win_rate_min: float | None = Field(None, ge=0, le=1, description="least share of winning trades")
    max_drawdown_max: float | None = Field(None, gt=0, le=1, description="largest drawdown")
    annual_return_min: float | None = Field(None, description="least annual return, net")
    beats_index: bool | None = Field(None, description="annual return above the benchmark index")
    profit_factor_min: float | None = Field(None, gt=0, description="least gross profit over gross loss")
    directional_accuracy_min: float | None = Field(None, ge=0, le=1, description="least share of right directions")


class TuneRange(Section):
    """What a search may try for one setting: an interval, or a list of choices."""

    low: int | float | None = Field(None, description="least value; with high, whole numbers give whole numbers")
    high: int | float | None = Field(None, description="greatest value")
    step: int | float | None = Field(None, gt=0, description="only low, low + step, … up to high")
    log: bool = Field(False, description="as many trials between 1 and 10 as between 10 and 100")
    choices: tuple[Any, ...] = Field((), description="these values and no others")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for key, value in given.items() if isinstance(given, Mapping) else ():
            if isinstance(value, bool) and key != "log":
                raise ValueError(f"{key} is a number; for true and false write choices = [true, false]")
            if key not in cls.model_fields:
                near = difflib.get_close_matches(key, cls.model_fields, n=1)
                meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(cls.model_fields)}"
                raise ValueError(f"a range has no {key!r}; {meant}")
        return given

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if self.choices:
            self._require_choices()
        elif self.low is None or self.high is None:
            raise ValueError("a range is { low = …, high = … } or { choices = […] }")
        else:
            self._require_interval(self.low, self.high)
        return self

    def _require_choices(self) -> None:
        if (self.low, self.high, self.step, self.log) != (None, None, None, False):
            raise ValueError("choices stand alone: an interval is low and high")
        if len({repr(choice) for choice in self.choices}) < max(len(self.choices), 2):
            raise ValueError(f"choices {list(self.choices)} must be two or more, each once")

    def _require_interval(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError(f"low = {low} must be below high = {high}")
        if self.log and (low <= 0 or self.step is not None):
            raise ValueError("log wants low above 0 and no step")
        if self.step is not None and abs(round((high - low) / self.step) * self.step - (high - low)) > 1e-9:
            raise ValueError(f"high = {high} is not low = {low} plus whole steps of {self.step}")


Objective = Literal["pinball", "crps", "rank_ic", "sharpe"]


class TuneSection(Section):
    """What `tradewind tune` may try, and how it judges; the back-test itself reads nothing of it."""

    ranges: dict[str, TuneRange] = Field(
        default_factory=dict,
        description='what to try, by dotted setting: "models.parameters.ridge.penalty" = { low = 1.0, high = 1e4 }, '
        "with step or log, or { choices = [...] }; tables of tables do as well",
    )
    objective: Objective = Field(
        "pinball",
        description="pinball, crps: loss of the calibrated forecasts over the naive one's, mean over horizons; "
        "rank_ic: mean rank correlation; sharpe: of the book, net",
    )
    trials: int = Field(20, ge=1, le=100_000, description="settings judged in all, the playbook's own first")
    folds: int = Field(3, ge=2, le=50, description="inner test blocks; trials are pruned between them")
    train_share: float = Field(
        0.5, gt=0, lt=1, description="share of the search's bars that come before its first inner test block"
    )
    startup_trials: int = Field(6, ge=1, description="trials drawn at random before the search learns, unpruned")
    prune: bool = Field(True, description="stop a trial that is worse than the median of the earlier ones so far")
    until: date | None = Field(
        None, description="last day the search may see; default, and latest: the day before the first test block"
    )
    seed: int = Field(7, ge=0, description="seed of everything drawn")

    @field_validator("ranges", mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        return dict(_ranges_in(given)) if isinstance(given, Mapping) else given


def _ranges_in(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted setting and range; a table of nothing but tables is a part of the name."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        inner = isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values())
        found += _ranges_in(value, f"{prefix}{key}.") if inner else [(f"{prefix}{key}", value)]
    return found
