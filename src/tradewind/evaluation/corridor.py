"""The corridor over history: one function per room, from bars to fills.

Back-test, recommendation, explanation and audit all call these; a live loop calls the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.adaptive import calibrate
from tradewind.calibration.blocked import Method, Training, conformal, is_blocked
from tradewind.decisions.memory import Memory
from tradewind.decisions.signals import RULES, Belief, Signals, asks_members, check, decide
from tradewind.decisions.surroundings import Surroundings
from tradewind.errors import DataError, InputError
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.surroundings import of_panel
from tradewind.execution.settings import ExecutionSection
from tradewind.features import compute
from tradewind.features.missing import missing_notes
from tradewind.features.registry import select
from tradewind.features.scaling import CrossSectionScaler, RollingScaler, Scaler, TrainScaler, scaler_from_dict
from tradewind.features.table import Features
from tradewind.labels.barriers import triple_barrier
from tradewind.labels.forward import forward_returns
from tradewind.labels.horizons import resolve
from tradewind.labels.splits import Fold, walk_forward
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.as_features import absent, as_features
from tradewind.models.base import MODELS, Model, Resumable, Windows
from tradewind.models.ensembles.base import combiner_of
from tradewind.models.ensembles.combine import Combined, blank_forecast, combine
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE
from tradewind.portfolio.sizing import Targets, size

if TYPE_CHECKING:
    from tradewind.calibration.coverage import CoverageReport

Progress = Callable[[str, int, int], None]
"""Called with a phase, the steps done and the steps there are."""


def silent(_phase: str, _done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False)
class World:
    """What a plan sees: its panel, the features known at each bar and the questions asked of them.

    ``surroundings`` are what rules and sizes may know besides; no model sees them.
    """

    plan: Plan
    panel: Panel
    features: Features
    labels: Labels
    notes: tuple[str, ...] = ()
    surroundings: Surroundings = field(default_factory=Surroundings)

    def head(self, stop: int) -> World:
        """Return the world as it was known at the close of bar ``stop - 1``."""
        return replace(
            self,
            panel=self.panel.head(stop),
            features=self.features.head(stop),
            labels=self.labels.head(stop),
            surroundings=self.surroundings.head(stop),
        )


def build_world(
    plan: Plan,
    panel: Panel,
    notes: tuple[str, ...] = (),
    cache: FoldCache | None = None,
    progress: Progress = silent,
    surroundings: Surroundings | None = None,
) -> World:
    """Compute features and labels for a panel, then the forecasts that are features too (kept in ``cache``).

    ``surroundings`` are what the panel's own bars say of them where nobody else does.
    """
    return with_forecasts(base_world(plan, panel, notes, surroundings), cache, progress)


def with_forecasts(world: World, cache: FoldCache | None = None, progress: Progress = silent) -> World:
    """Return the world with the forecasts that its plan takes as features among them."""
    plan = world.plan
    if not plan.features.forecasts:
        return world
    made = forecast_features(world, cache or FoldCache(None), progress)
    said = _about(plan.features.forecasts, made)
    return replace(world, features=world.features.joined(made), notes=(*world.notes, said))


def base_world(
    plan: Plan, panel: Panel, notes: tuple[str, ...] = (), surroundings: Surroundings | None = None
) -> World:
    """Compute features and labels for a panel: what the models see whose forecasts are features."""
    check(plan.decision, panel.timeframe)
    labels, said = labels_of(plan, panel)
    lacking = missing_notes(panel, plan.features.include, plan.features.exclude)
    around = of_panel(plan, panel) if surroundings is None else surroundings
    notes = (*lacking, *notes, *said, *_uncounted_costs(plan), *around.notes)
    return World(plan, panel, computed_features(plan, panel), labels, notes, around)


def computed_features(plan: Plan, panel: Panel) -> Features:
    """Compute the features of the registry that the plan asks for or its rule needs."""
    return compute(panel, feature_names(plan))


def feature_names(plan: Plan) -> list[str]:
    """Return the features of the registry that the plan asks for or its rule needs, in the order of the table."""
    names = select(plan.features.include, plan.features.exclude)
    return [*names, *(n for n in RULES.create(plan.decision.rule).needs if n not in names)]


def forecast_features(world: World, cache: FoldCache, progress: Progress = silent) -> Features:
    """Return the forecasts that the plan takes as features, ``(T, N, 2 H)`` for each model.

    At every bar they come from a model fitted on bars whose labels were resolved before it, in the training part of
    an evaluation fold as in its test block: a walk-forward of their own makes them. Their models see the computed
    features alone. NaN before the first fold, and everywhere in a history without one.
    """
    folds = forecast_folds(world)
    parts = []
    for name in world.plan.features.forecasts:
        MODELS.factory(name)  # an unknown one is refused, however short the history
        if folds:
            named = partial(_as_feature, progress)
            parts.append(as_features(name, forecast_out_of_sample(world, name, cache, named, folds)))
        else:
            parts.append(absent(name, world.panel.times, world.panel.symbols, world.labels.horizons))
    return reduce(Features.joined, parts)


def forecast_folds(world: World) -> list[Fold]:
    """Return the walk-forward of the forecasts that are features; empty where history is too short for any."""
    try:
        return folds_of(world, world.plan.features.forecast_min_train_bars)
    except DataError:
        return []


def _as_feature(progress: Progress, name: str, done: int, total: int) -> None:
    progress(f"{name} as a feature", done, total)


def _about(models: tuple[str, ...], made: Features) -> str:
    """Say what the forecasts among the features are and from when on there are any."""
    rows = np.flatnonzero(np.isfinite(made.values).any(axis=(1, 2)))
    since = f"from {str(made.times[rows[0]])[:10]} on, missing before" if rows.size else "none: history is too short"
    return f"out-of-fold forecasts of {', '.join(models)} are features ({len(made.names)} columns): {since}"


def labels_of(plan: Plan, panel: Panel) -> tuple[Labels, tuple[str, ...]]:
    """Return what the plan asks of each bar, and what there is to say about it.

    Barriers add classes; returns stay those to the end of the horizon, which is what forecasts are of.
    """
    horizons, dropped = resolve(plan.labels, panel.timeframe)
    labels = forward_returns(panel, horizons, plan.labels.scale_half_life_bars, plan.labels.scale_warm_up_bars)
    if not plan.labels.barriers:
        return labels, dropped
    up, down = plan.labels.barrier_up_sigma, plan.labels.barrier_down_sigma
    barriers = triple_barrier(panel, labels, up_sigma=up, down_sigma=down)
    ties = f"{int(barriers.ties.sum()):,} barrier labels touch both sides in one bar: taken as the losing one"
    only = "barrier classes are for models that forecast classes; quantiles are of the return over the horizon"
    return replace(labels, classes=barriers.labels.classes), (*dropped, ties, only)


def _uncounted_costs(plan: Plan) -> tuple[str, ...]:
    """Say what of the fills the confidence does not know of."""
    costs = plan.execution
    unknown = {
        "commission per share": costs.commission_per_share,
        "least commission": costs.commission_minimum,
        "impact": costs.impact_coefficient,
        "borrowing": costs.borrow_bps_per_year if costs.short_allowed else 0.0,
    }
    named = [name for name, size in unknown.items() if size > 0]
    said = (f"confidence does not count {', '.join(named)}: fills pay for it",) if named else ()
    late = "confidence is about trades that enter at the next open; these fill at the next close"
    return (*said, late) if costs.entry == "next_close" else said


def folds_of(world: World, min_train_bars: int | None = None) -> list[Fold]:
    """Return the purged and embargoed walk-forward of the plan; raises ``DataError`` when history is too short.

    ``min_train_bars`` stands in for the plan's.
    """
    return planned_folds(world.plan, len(world.panel), world.labels.horizons, min_train_bars)


def planned_folds(plan: Plan, bars: int, horizons: Sequence[int], min_train_bars: int | None = None) -> list[Fold]:
    """Return the folds of :func:`folds_of` for so many bars; nothing is computed for it."""
    settings = plan.evaluation
    try:
        return list(
            walk_forward(
                bars,
                min_train_bars=min_train_bars or settings.min_train_bars,
                test_bars=settings.refit_bars,
                longest_horizon_bars=max(horizons),
                embargo_bars=plan.labels.embargo_bars,
                window=settings.window,
            )
        )
    except InputError as error:
        raise DataError(
            f"no walk-forward: {error.what}", hint="sync more history, or lower evaluation.min_train_bars"
        ) from None


def forecast_out_of_sample(
    world: World, name: str, cache: FoldCache, progress: Progress = silent, folds: Sequence[Fold] | None = None
) -> Forecast:
    """Fit and forecast fold by fold (the plan's); every forecast comes from a model that had not seen its bar.

    ``ensemble`` is the combination of its members.
    """
    if name == ENSEMBLE:
        return combine_out_of_sample(world, cache, progress, folds).forecast
    folds = folds_of(world) if folds is None else folds
    return join(world, list(walk(world, name, cache, progress, folds)))


def combine_out_of_sample(
    world: World, cache: FoldCache, progress: Progress = silent, folds: Sequence[Fold] | None = None
) -> Combined:
    """Forecast with every member of the ensemble fold by fold, then combine them bar by bar.

    A member that cannot be fitted in a fold has no forecast there, and it is said why; raises ``DataError`` when none
    can in any. Weights learn from the whole walk: nothing is reset where a fold begins.
    """
    section, folds = world.plan.ensemble, folds_of(world) if folds is None else folds
    failures: dict[str, list[str]] = {name: [] for name in section.members}
    parts = {name: list(walk(world, name, cache, progress, folds, why)) for name, why in failures.items()}
    made = {name: join(world, part) for name, part in parts.items() if part}
    if failures and not made:
        raise DataError(f"no member of the ensemble could be fitted: {failures[section.members[0]][0]}")
    members = {name: made.get(name) or blank_forecast(next(iter(made.values())), name) for name in section.members}
    left_out = {name: f"in {len(why)} of {len(folds)} folds: {why[0]}" for name, why in failures.items() if why}
    return combine(members, world.labels.returns, combiner_of(section, world.plan.models.seed), left_out)


def walk(
    world: World,
    name: str,
    cache: FoldCache,
    progress: Progress,
    folds: Sequence[Fold],
    failures: list[str] | None = None,
) -> Iterator[tuple[int, Forecast]]:
    """Yield each fold's first test row and forecast; what cannot be fitted is noted in ``failures``, if there are."""
    for number, fold in enumerate(folds):
        try:
            make = partial(forecast_fold, world, name, fold, cache, progress)
            yield int(fold.test[0]), cache.get(world, name, fold, make)
        except DataError as error:
            if failures is None:
                raise
            failures.append(error.what)
        progress(name, number + 1, len(folds))


def forecast_fold(
    world: World, name: str, fold: Fold, cache: FoldCache | None = None, progress: Progress = silent
) -> Forecast:
    """Fit one model on a fold's training rows and forecast its test rows; checkpoints are kept beside the cache."""
    return fit_fold(world, name, fold, cache, progress).ask(fold.test)


@dataclass(frozen=True, eq=False)
class FittedFold:
    """A model fitted on a fold's training rows, and how to ask it for the forecasts of other rows.

    Attributes
    ----------
    scaled
        The whole world with its features as the model is shown them.
    shown
        What it was fitted on.
    scaler
        What brings the features to that scale, as it was before the first bar; None where nothing does.
    """

    model: Model
    parameters: Mapping[str, Any]
    scaled: World
    shown: Windows
    scaler: Scaler | None

    def ask(self, asked: NDArray[np.int64]) -> Forecast:
        """Return one row for each asked, NaN where nobody belongs to the universe."""
        wanted = windows(self.scaled.head(int(asked[-1]) + 1), asked)
        if not wanted.rows.size:  # what a model was shown it can forecast; none of it is of these rows
            wanted = replace(self.shown, rows=self.shown.rows[-1:], columns=self.shown.columns[-1:])
        return self.model.predict(wanted).at(self.scaled.panel.times[asked])


def fit_fold(
    world: World, name: str, fold: Fold, cache: FoldCache | None = None, progress: Progress = silent
) -> FittedFold:
    """Fit one model on a fold's training rows; checkpoints are kept beside the cache."""
    return _learn(world, name, fold, fold.train, cache or FoldCache(None), progress)


def parameters_of(plan: Plan, name: str) -> dict[str, Any]:
    """Return what a model of the plan is created with."""
    return {"seed": plan.models.seed, **plan.models.parameters.get(name, {})}


def _learn(
    world: World,
    name: str,
    fold: Fold,
    rows: NDArray[np.int64],
    cache: FoldCache,
    progress: Progress = silent,
) -> FittedFold:
    """Fit a model on some of a fold's training rows."""
    plan, part = world.plan, replace(fold, train=rows)
    parameters = parameters_of(plan, name)
    scaler = _scaler(world, part)
    scaled = world if scaler is None else replace(world, features=_anew(scaler).transform(world.features))
    seen = scaled.head(int(fold.test[0]))
    if len(rows) < len(fold.train):
        seen = replace(seen, labels=_only(seen.labels, rows))
    shown = training_windows(seen, part, plan.evaluation.train_stride_bars)

    def fit() -> Model:
        model = MODELS.create(name, **parameters)
        if isinstance(model, Resumable):
            model.resume_in(None if cache.folder is None else cache.folder / "training", progress)
        return model.fit(shown)

    return FittedFold(cache.fitted(name, parameters, shown, fit), parameters, scaled, shown, scaler)


def _only(labels: Labels, rows: NDArray[np.int64]) -> Labels:
    """Return the labels of these rows; those of the others are not known."""
    kept = np.isin(np.arange(len(labels.returns)), rows)[:, None, None]
    classes = None if labels.classes is None else np.where(kept, labels.classes, np.int8(0))
    returns, weight = np.where(kept, labels.returns, np.nan), np.where(kept, labels.weight, 0.0)
    return replace(labels, returns=returns, weight=weight, classes=classes)


def _scaler(world: World, fold: Fold) -> Scaler | None:
    """Return how the plan scales features; a ``train`` scaler has seen the fold's training rows alone."""
    settings = world.plan.features
    clip = settings.clip_deviations
    if settings.scaling == "train":
        return TrainScaler.fit(world.features, until=int(fold.train[-1]) + 1, clip=clip)
    if settings.scaling == "rolling":
        return RollingScaler(settings.scaling_half_life_bars, clip=clip)
    return CrossSectionScaler(clip=clip) if settings.scaling == "cross_section" else None


def _anew(scaler: Scaler) -> Scaler:
    """Return a scaler of its own: some learn as they scale, and what is kept of a fold has seen no bar yet."""
    return scaler_from_dict(scaler.to_dict())


def training_windows(seen: World, fold: Fold, stride: int = 1) -> Windows:
    """Return the samples of a fold's training rows with every label resolved."""
    whole = windows(seen, fold.train[::stride])
    resolved = np.isfinite(seen.labels.returns[whole.rows, whole.columns]).any(axis=1)
    return replace(whole, rows=whole.rows[resolved], columns=whole.columns[resolved])


def windows(world: World, rows: NDArray[np.int64]) -> Windows:
    """Return the samples of these rows: symbols with a bar that belong to the universe."""
    usable = world.panel.mask[rows] & world.panel.member[rows]
    at, columns = np.nonzero(usable)
    return Windows(world.panel, world.features, world.labels, rows[at].astype(np.int64), columns.astype(np.int64))


def calibrated(
    world: World, forecast: Forecast, cache: FoldCache | None = None, progress: Progress = silent
) -> tuple[Forecast, CoverageReport]:
    """Calibrate the traded model's forecast and put it on the grid that decisions are made on."""
    settings = world.plan.calibration
    if is_blocked(settings.method):
        forecast = _conformal_out_of_sample(world, forecast, settings.method, cache or FoldCache(None), progress)
        settings = settings.model_copy(update={"method": "none"})
    adjusted, report = calibrate(forecast, world.labels, settings)
    return adjusted.rounded(), report


@dataclass(frozen=True, eq=False)
class Believed:
    """What decisions are made on: the traded model's calibrated forecast and, for an ensemble, what it is made of.

    ``members`` are calibrated each by itself, and there only where the plan's rule looks at them.
    """

    forecast: Forecast
    coverage: CoverageReport
    members: Mapping[str, Forecast] = field(default_factory=dict)
    combined: Combined | None = None


def believed(
    world: World,
    made: Forecast,
    combined: Combined | None = None,
    cache: FoldCache | None = None,
    progress: Progress = silent,
) -> Believed:
    """Return the traded model's forecast as decisions are made on it; ``combined`` where an ensemble is traded."""
    forecast, coverage = calibrated(world, made, cache, progress)
    members = {} if combined is None else calibrated_members(world, combined.members)
    return Believed(forecast, coverage, members, combined)


def believed_out_of_sample(
    world: World, cache: FoldCache, progress: Progress = silent, folds: Sequence[Fold] | None = None
) -> Believed:
    """Walk forward with the traded model and return its forecasts as decisions are made on them."""
    if world.plan.models.use != ENSEMBLE:
        made = forecast_out_of_sample(world, world.plan.models.use, cache, progress, folds)
        return believed(world, made, None, cache, progress)
    combined = combine_out_of_sample(world, cache, progress, folds)
    return believed(world, combined.forecast, combined, cache, progress)


def _conformal_out_of_sample(
    world: World, forecast: Forecast, method: Method, cache: FoldCache, progress: Progress
) -> Forecast:
    """Calibrate fold by fold, each from blocks of its own training rows."""
    name, settings = world.plan.models.use, world.plan.calibration
    folds = [fold for fold in folds_of(world) if forecast.available[fold.test].any()]
    if not folds:
        return forecast
    parts: list[tuple[int, Forecast]] = []
    for number, fold in enumerate(folds):
        make = partial(_conformal_fold, world, name, fold, method, forecast.part(fold.test))
        besides = {"calibration": method, "blocks": settings.folds, "coverage": settings.coverage}
        parts.append((int(fold.test[0]), cache.get(world, name, fold, make, **besides)))
        progress(f"{name} {method}", number + 1, len(folds))
    return join(world, parts)


def _conformal_fold(world: World, name: str, fold: Fold, method: Method, forecast: Forecast) -> Forecast:
    settings = world.plan.calibration
    training = Training(
        learn=lambda rows: _learn(world, name, fold, rows, FoldCache(None)).ask,
        rows=fold.train,
        outcomes=world.labels.head(int(fold.test[0])).returns,
        longest_horizon_bars=max(world.labels.horizons),
        embargo_bars=world.plan.labels.embargo_bars,
    )
    return conformal(method, training, forecast, fold.test, folds=settings.folds, coverage=settings.coverage)


def calibrated_members(world: World, members: Mapping[str, Forecast]) -> dict[str, Forecast]:
    """Return an ensemble's members, each calibrated by itself, where the plan's rule looks at them; else nothing."""
    if world.plan.models.use != ENSEMBLE or not asks_members(world.plan.decision.rule):
        return {}
    if is_blocked(world.plan.calibration.method):
        raise InputError(
            f"the rule {world.plan.decision.rule!r} looks at the members of the ensemble, and calibration by blocks "
            f"({world.plan.calibration.method!r}) is of the traded forecast alone",
            hint='set calibration.method = "adaptive"',
        )
    return {name: calibrated(world, one)[0] for name, one in members.items()}


def act(
    world: World,
    forecast: Forecast,
    members: Mapping[str, Forecast] | None = None,
    *,
    must_fire: bool = True,
    memory: Memory | None = None,
) -> tuple[Belief, Signals, Targets]:
    """Decide and size on a calibrated forecast; a book takes the place of the sizes where the plan asks for one.

    Parameters
    ----------
    members
        What :func:`calibrated_members` returns, for rules that look at them.
    must_fire
        Whether a rule that never opens anything is an error; see :func:`tradewind.decisions.signals.decide`.
    memory
        What was worked out of the same world when it had fewer bars.
    """
    from tradewind.evaluation import books  # it asks the optimiser's questions, which are asked of worlds

    plan = world.plan
    cost = round_trip_cost(plan.execution)
    around = world.surroundings
    belief = Belief(world.panel, world.features, forecast, cost, plan.decision, around, members or {}, memory)
    signals = decide(belief, must_fire=must_fire)
    short = plan.execution.short_allowed
    targets = size(belief, signals, plan.sizing, plan.limits, short_allowed=short)
    return belief, *books.chosen(world, belief, signals, targets)


def round_trip_cost(execution: ExecutionSection) -> float:
    """Return what entering and leaving costs as a fraction of the notional (minimum fees and impact apart)."""
    return (2 * (execution.commission_bps + execution.slippage_bps) + execution.spread_bps) / 1e4


def scheduled(world: World, targets: Targets) -> NDArray[np.float64]:
    """Return the target weights that are acted on: those of every ``decision.every_bars``-th bar, NaN elsewhere."""
    due = world.plan.decision.due(len(world.panel))
    return np.where(due[:, None], targets.weight, np.nan)


def first_forecast_row(forecast: Forecast) -> int:
    """Return the first row with any forecast; raises ``DataError`` when there is none."""
    rows = np.flatnonzero(forecast.available.any(axis=(1, 2)))
    if not rows.size:
        raise DataError(
            f"the model {forecast.model!r} made no forecast",
            hint="`tradewind data check` shows what is missing",
        )
    return int(rows[0])


def join(world: World, parts: list[tuple[int, Forecast]]) -> Forecast:
    """Lay forecasts, each from its first row on, on the panel's time axis; NaN where nothing was forecast."""
    first, last = parts[0][1], parts[-1][1]
    bars = len(world.panel)
    said = {name: values for _, part in parts for name, values in part.arrays.items()}
    laid: dict[str, Any] = {name: np.full((bars, *values.shape[1:]), np.nan) for name, values in said.items()}
    for first_row, part in parts:
        for name, values in part.arrays.items():
            laid[name][first_row : first_row + len(part.times)] = values
    return replace(first, times=world.panel.times, version=last.version, explanation=last.explanation, **laid)
