"""Where a plan finds its stores: the home folder, the lake of its source, the records."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.clock import Clock, SystemClock
from tradewind.errors import did_you_mean
from tradewind.evaluation.plan import Plan
from tradewind.market.bars import TIMEFRAMES

if TYPE_CHECKING:
    from tradewind.market.sources.base import Source
    from tradewind.market.store.lake import Lake
    from tradewind.market.store.records import Records

DAY = TIMEFRAMES["1d"]


@dataclass(frozen=True)
class Workspace:
    """The stores that a plan works on. Every source, with its options, has a lake of its own."""

    plan: Plan
    home: Path
    clock: Clock = field(default_factory=SystemClock)

    def system(self, timeframe: str | None = None) -> tuple[str, Workspace]:
        """Return one of the plan's timeframes as a workspace of its own, by default that nearest to daily bars.

        Raises ``InputError`` for a name that the playbook does not have.
        """
        parts = self.plan.timeframes
        if timeframe is None:
            timeframe = min(parts, key=lambda name: abs(math.log(TIMEFRAMES[parts[name].data.timeframe] / DAY)))
        if timeframe not in parts:
            raise did_you_mean("timeframe", timeframe, parts)
        return timeframe, replace(self, plan=parts[timeframe])

    @cached_property
    def source(self) -> Source:
        """The plan's source, built from its options in the playbook."""
        from tradewind.market.sources.base import SOURCES, options_model

        model = options_model(self.plan.data.source)
        if model is not None:
            self.plan.playbook.options(model)
        return SOURCES.create(self.plan.data.source, **self.plan.playbook.source_options)

    @cached_property
    def lake(self) -> Lake:
        """The lake of the plan's source."""
        from tradewind.market.store.lake import Lake

        return Lake(self.home / "lake" / self.lake_name)

    @property
    def lake_name(self) -> str:
        """The source's name, with a hash of its options where it has any."""
        options: dict[str, Any] = dict(self.plan.playbook.source_options)
        if not options:
            return self.plan.data.source
        digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:8]
        return f"{self.plan.data.source}-{digest}"

    @cached_property
    def records(self) -> Records:
        """The records database of the home folder."""
        from tradewind.market.store.home import records_url
        from tradewind.market.store.records import Records

        self.home.mkdir(parents=True, exist_ok=True)
        return Records(records_url(self.home))
