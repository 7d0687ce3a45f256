"""The audit of a whole playbook: every room recomputed on other futures, and the rules that need no recomputing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.audit.corridor import Subject, audit_corridor
from tradewind.audit.findings import CorridorAudit
from tradewind.audit.rules import FillRecord, audit_fills, audit_splits
from tradewind.decisions.signals import RULES, Belief
from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.account import trade_alone
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache, key_of, panel_digest
from tradewind.evaluation.workspace import Workspace
from tradewind.features.table import Features
from tradewind.labels.splits import Fold
from tradewind.market.panel import Panel
from tradewind.models.base import Model
from tradewind.models.ensembles.combine import Combined
from tradewind.models.forecast import GRID, Forecast
from tradewind.models.settings import ENSEMBLE
from tradewind.portfolio.sizing import size

MOMENTS = 2
TOLERANCE = {"forecast features": 1.01 * GRID, "forecasts": 1e-9, "calibration": 1.01 * GRID}
"""Matrix products differ in their last bits with the shape of the batch; the grid is there so that decisions do not."""

PlaybookAudit = CorridorAudit


def audit_playbook(workspace: Workspace, progress: Progress = silent, *, seed: int = 5) -> PlaybookAudit:
    """Prove that features, labels, scalers, forecasts, calibration, decisions and fills use nothing from the future.

    Each is recomputed on panels whose future was truncated, perturbed or shuffled after a few moments; the past must
    not change. Splits are checked for labels that reach into their test block, fills for their order and price.
    The model is audited on the last walk-forward fold that leaves room for a future, an ensemble on the one before too.
    """
    loaded = load_or_sync(workspace, progress)
    panel = workspace.plan.universe.restrict(loaded.panel)
    walk = _Walk(workspace, corridor.build_world(workspace.plan, panel))
    rng = np.random.default_rng(seed)
    found = audit_corridor(panel, walk.cheap_subjects(), moments=MOMENTS + 1, rng=rng, progress=progress)
    walk.require_repeatable()
    moments = _moments_in(walk.fold, rng)
    found = found.joined(audit_corridor(panel, walk.chain_subjects(), moments=moments, rng=rng, progress=progress))
    return found.joined(walk.rules())


def _moments_in(fold: Fold, rng: np.random.Generator) -> list[int]:
    """Return moments inside a fold's test block, its last bar excluded."""
    return sorted(int(row) for row in rng.choice(fold.test[:-1], size=min(MOMENTS, len(fold.test) - 1), replace=False))


@dataclass(frozen=True)
class _Shared(FoldCache):
    """Folds and fitted models kept while the audit lasts.

    Where a future differs only after a model's training rows, all that the model was shown is the same to the bit, and
    fitting it again would give it again, which :meth:`_Walk.require_repeatable` makes sure of. Folds are kept by the
    bars and settings that their features follow from.
    """

    folder: Path | None = None
    models: dict[str, Model] | None = field(default_factory=dict)
    kept: dict[str, Forecast] = field(default_factory=dict)

    def get(
        self, world: World, model: str, fold: Fold, make: Callable[[], Forecast], **besides: str | float
    ) -> Forecast:
        key = key_of(world, model, fold, **besides)
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]


@dataclass
class _Walk:
    """The corridor as functions of a panel, each panel walked once."""

    workspace: Workspace
    world: World
    walked: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: _Shared = field(default_factory=_Shared)

    @property
    def fold(self) -> Fold:
        """The last fold with at least three test rows."""
        return [f for f in corridor.folds_of(self.world) if len(f.test) >= 3][-1]

    def cheap_subjects(self) -> list[Subject]:
        plan = self.workspace.plan
        return [
            Subject("universe", lambda panel: plan.universe.restrict(panel).member.astype(np.int8)),
            Subject("adjustment", lambda panel: panel.factor),
            Subject("features", lambda panel: corridor.computed_features(plan, panel)),
            *self.forecast_subjects(),
            Subject("labels", lambda panel: corridor.labels_of(plan, panel)[0]),
        ]

    def forecast_subjects(self) -> list[Subject]:
        """Return the forecasts among the features, if there are any, made anew for each panel and never stored."""
        plan, part = self.workspace.plan, "forecast features"
        if not plan.features.forecasts:
            return []

        def made(panel: Panel) -> Features:
            return corridor.forecast_features(corridor.base_world(plan, panel), FoldCache(None))

        return [Subject(part, made, TOLERANCE[part])]

    def chain_subjects(self) -> list[Subject]:
        first = int(self.fold.test[0])
        parts = ("forecasts", "calibration", "decisions", "weights", "fills")
        return [Subject(part, partial(self.part, part), TOLERANCE.get(part, 0.0), first_row=first) for part in parts]

    def part(self, name: str, panel: Panel) -> Any:
        """Return one room's output for a panel."""
        return self.walk(panel)[name]

    def walk(self, panel: Panel) -> Mapping[str, Any]:
        """Return what every room after the features makes of a panel, from the audited fold on."""
        key = panel_digest(panel)
        if key not in self.walked:
            self.walked[key] = self._walk(panel)
        return self.walked[key]

    def _walk(self, panel: Panel) -> Mapping[str, Any]:
        plan, fold = self.workspace.plan, self.fold
        world = corridor.build_world(plan, panel)
        clipped = Fold(fold.train, fold.test[fold.test < len(panel)], fold.purge_cut, fold.number)
        forecast, combined = self._forecast(world, clipped, self.shared)
        believed = corridor.believed(world, forecast, combined)
        calibrated, cost = believed.forecast, corridor.round_trip_cost(plan.execution)
        around = world.surroundings
        belief = Belief(panel, world.features, calibrated, cost, plan.decision, around, believed.members)
        signals = RULES.create(plan.decision.rule).decide(belief)
        targets = size(belief, signals, plan.sizing, plan.limits, short_allowed=plan.execution.short_allowed)
        book = trade_alone(world, signals, targets, plan.execution, start=int(fold.test[0]))
        return {
            "forecasts": forecast,
            "calibration": calibrated,
            "decisions": {"action": signals.action, "stop": signals.stop, "confidence": signals.confidence},
            "weights": {"weight": targets.weight},
            "fills": {"shares": book.shares, "equity": book.equity},
            "book": book,
        }

    def require_repeatable(self) -> None:
        """Refuse a model that forecasts otherwise when it is fitted again: nothing could be proved of it."""
        first, again = (self._forecast(self.world, self.fold, kept)[0].arrays for kept in (self.shared, _Shared()))
        near = partial(np.allclose, rtol=0.0, atol=TOLERANCE["forecasts"], equal_nan=True)
        other = [name for name in first if name not in again or not near(first[name], again[name])]
        if other:
            raise DataError(
                f"the model {self.world.plan.models.use!r} is not deterministic: fitted twice on the same bars it gave "
                f"other {' and '.join(other)}",
                hint="let everything random in it follow from its parameter `seed`, and audit again",
            )

    def _forecast(self, world: World, fold: Fold, kept: _Shared) -> tuple[Forecast, Combined | None]:
        """Return a fold's forecast on the whole time axis; an ensemble, told too, learns in the fold before as well."""
        name = world.plan.models.use
        if name != ENSEMBLE:
            return corridor.join(world, [(int(fold.test[0]), corridor.forecast_fold(world, name, fold, kept))]), None
        before = [earlier for earlier in corridor.folds_of(self.world) if earlier.number < fold.number][-1:]
        combined = corridor.combine_out_of_sample(world, kept, folds=[*before, fold])
        return combined.forecast, combined

    def rules(self) -> CorridorAudit:
        """Check the splits for overlapping labels, and the fills for their order and price."""
        world = self.world
        labels, rows = world.labels, np.arange(len(world.panel))
        learnt = np.where(np.isfinite(labels.returns), labels.end, rows[:, None, None]).max(axis=(1, 2))
        walks = corridor.folds_of(world)
        if world.plan.features.forecasts:
            walks = [*walks, *corridor.forecast_folds(world)]
        folds = [(fold.train, fold.test) for fold in walks]
        found = audit_splits(folds, learnt, world.panel.times)
        fills = self.walk(world.panel)["book"].fills
        record = FillRecord(
            decided=fills["decided_row"].to_numpy(),
            filled=fills["row"].to_numpy(),
            column=_columns(fills["symbol"].to_list(), world.panel.symbols),
            price=fills["price"].to_numpy(),
        )
        planned = np.flatnonzero(fills["reason"].is_in(["signal"]).to_numpy())
        ordered = FillRecord(
            record.decided[planned], record.filled[planned], record.column[planned], record.price[planned]
        )
        return CorridorAudit((*found, *audit_fills(ordered, world.panel)), ("splits", "fills in order"))


def _columns(names: list[str], symbols: tuple[str, ...]) -> NDArray[np.int64]:
    place = {symbol: i for i, symbol in enumerate(symbols)}
    return np.array([place[name] for name in names], dtype=np.int64)
