"""`tradewind tune`: better settings from the bars before the back-test's first test block, every trial counted.

The search has a panel that ends where the first test block begins, so that nothing it computes can come from a bar that
the back-test is judged on. Inside, it walks forward over blocks of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.errors import BugError, DataError, InputError, PlaybookError, RetryError, SafetyStop
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import FoldCache, code_version, panel_digest
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import NAIVE
from tradewind.evaluation.tuning import ranges, study
from tradewind.evaluation.tuning.objective import OBJECTIVES, Seen, sharpe
from tradewind.evaluation.tuning.study import Judged
from tradewind.evaluation.workspace import Workspace
from tradewind.labels.horizons import resolve
from tradewind.labels.splits import Fold
from tradewind.market.panel import Panel
from tradewind.market.store.lock import writer_lock

if TYPE_CHECKING:
    import optuna

LEAST_TRAIN_BARS = 60
"""As for ``evaluation.min_train_bars``."""


@dataclass(frozen=True, eq=False)
class Period:
    """What a search may see: all of ``panel``, which ends before the bar that the back-test is judged from.

    Attributes
    ----------
    panel
        The bars before the first test block.
    test_from
        Close of the back-test's first test bar, None where history ends before it.
    folds
        The inner walk-forward.
    evaluation
        The settings that make it: bars before the first inner block, and bars of a block.
    """

    panel: Panel
    test_from: np.datetime64 | None
    folds: tuple[Fold, ...]
    evaluation: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return first and last day, and those of the inner blocks."""
        days = [str(one)[:10] for one in self.panel.times]
        return {
            "bars": len(days),
            "from": days[0],
            "to": days[-1],
            "test_from": None if self.test_from is None else str(self.test_from)[:10],
            "blocks": [
                {"from": days[int(f.test[0])], "to": days[int(f.test[-1])], "train_bars": len(f.train)}
                for f in self.folds
            ],
        }


def period_of(plan: Plan, panel: Panel) -> Period:
    """Return the bars of a search and its inner blocks; ``DataError`` where they are too few."""
    horizons = resolve(plan.labels, panel.timeframe)[0]
    first_test = int(corridor.planned_folds(plan, len(panel), horizons)[0].test[0])
    stop = _until(plan, panel, first_test)
    gap = max(horizons) + plan.labels.embargo_bars
    train = int(stop * plan.tune.train_share) - gap
    block = math.ceil((stop - train - gap) / plan.tune.folds)
    if train < LEAST_TRAIN_BARS or block <= max(horizons):
        raise DataError(
            f"{stop} bars before the test are too few to search in: {train} to learn from and {plan.tune.folds} blocks "
            f"of {block} to judge by; {LEAST_TRAIN_BARS} and more than the longest horizon ({max(horizons)}) are due",
            hint="raise evaluation.min_train_bars: the search has the bars before the first test block",
        )
    evaluation = {"evaluation.min_train_bars": train, "evaluation.refit_bars": block}
    inner = Plan.of(plan.playbook.changed(evaluation, "the search"))
    folds = tuple(corridor.planned_folds(inner, stop, horizons))
    return Period(panel.head(stop), panel.times[first_test], folds, evaluation)


def _until(plan: Plan, panel: Panel, first_test: int) -> int:
    """Return the row where the search's bars end: where the test begins, or after ``tune.until``."""
    if plan.tune.until is None:
        return first_test
    last = datetime.combine(plan.tune.until, time.max)
    stop = int(np.searchsorted(panel.times, np.datetime64(last), side="right"))
    if stop > first_test:
        raise PlaybookError(
            f"{plan.playbook.place('tune.until')}: tune.until = {plan.tune.until} lies in the test period, which "
            f"begins {str(panel.times[first_test])[:10]}",
            hint="leave it out: the search ends where the test begins",
        )
    return stop


@dataclass(frozen=True, eq=False)
class Search:
    """One playbook's search on one set of bars."""

    workspace: Workspace
    period: Period
    progress: Progress = silent
    worlds: dict[str, World] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The playbook as it stands."""
        return self.workspace.plan

    @cached_property
    def data_version(self) -> str:
        """Hash of the bars that the search sees."""
        return panel_digest(self.period.panel)

    @cached_property
    def key(self) -> str:
        """Hash of what the search depends on but its length: playbook, ranges, bars, code."""
        section = self.plan.tune.model_dump(mode="json", exclude={"trials"})
        parts = [self.plan.playbook.content_hash, section, self.data_version, code_version()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def folder(self) -> Path:
        """Where its trials are kept."""
        return self.workspace.home / "tune" / self.key

    @property
    def cache(self) -> FoldCache:
        """Where the forecasts of inner blocks are kept."""
        return FoldCache(self.workspace.home / "folds")

    def run(self, trials: int) -> list[Judged]:
        """Judge trials until there are so many, and return all; goes on with what an interrupted search left.

        The first is the playbook as it stands. Stops early where the ranges hold nothing that was not tried.
        """
        done = study.read(self.folder)
        while len(done) < trials:
            self.progress("trials", len(done), trials)
            trial = study.ask(self.plan, done) if done else None
            if done and trial is None:
                break
            done.append(self._next(len(done), trial))
            study.write(self.folder, self.about(), done)
        self.progress("trials", len(done), trials)
        return done

    def about(self) -> dict[str, Any]:
        """Return what the search is of."""
        plan = self.plan
        return {
            "study": self.key,
            "playbook": plan.playbook.name,
            "lineage": plan.playbook.lineage,
            "source": plan.data.source,
            "objective": plan.tune.objective,
            "direction": OBJECTIVES[plan.tune.objective].direction,
            "period": self.period.to_dict(),
            "ranges": {k: v.model_dump(exclude_defaults=True) for k, v in plan.tune.ranges.items()},
        }

    def _next(self, number: int, trial: optuna.Trial | None) -> Judged:
        """Judge a trial; None is the playbook as it stands, which must not fail."""
        settings = {} if trial is None else ranges.as_settings(self.plan, trial.params)
        self._count(settings)
        blocks: list[float] = []
        try:
            whole = self._judge(settings, blocks, trial)
        except (RetryError, SafetyStop, BugError):
            raise
        except Exception as failure:  # what a model's library raises on odd settings ends this trial alone
            if trial is None:
                raise
            return Judged(number, settings, "failed", None, tuple(blocks), None, _said(failure))
        if whole is None:
            return Judged(number, settings, "pruned", None, tuple(blocks), None)
        traded = sharpe(whole)
        known = traded if math.isfinite(traded) else None
        return Judged(number, settings, "complete", blocks[-1], tuple(blocks), known)

    def _count(self, settings: Mapping[str, Any]) -> None:
        """Count the trial among its lineage's before its result is seen; the same one is counted once.

        Without a Sharpe ratio: its book is one of other bars than those that a back-test judges.
        """
        book = self.plan.playbook.changed(settings, "tradewind tune")
        parts = ["tune", book.content_hash, self.data_version]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        now = self.workspace.clock.now()
        self.workspace.records.record_trial(book.lineage, key, run=f"tune-{self.key[:12]}", seen=now)

    def _judge(self, settings: Mapping[str, Any], blocks: list[float], trial: optuna.Trial | None) -> Seen | None:
        """Note the objective after each inner block; None where the trial was pruned between two."""
        world = self._world(settings)
        measure = OBJECTIVES[self.plan.tune.objective].measure
        for number in range(len(self.period.folds)):
            seen = self._seen(world, number + 1)
            blocks.append(_finite(measure(seen)))
            if trial is not None:
                trial.report(blocks[-1], number)
                if number + 1 < len(self.period.folds) and trial.should_prune():
                    return None
        return seen

    def _seen(self, world: World, count: int) -> Seen:
        """Return the calibrated and the naive forecasts of the first inner blocks."""
        folds = self.period.folds[:count]
        believed = corridor.believed_out_of_sample(world, self.cache, self.progress, folds)
        naive = corridor.forecast_out_of_sample(world, NAIVE, self.cache, silent, folds)
        return Seen(world, believed.forecast, naive, believed.members)

    def _world(self, settings: Mapping[str, Any]) -> World:
        """Return the search's bars as a trial sees them; what trials share is computed once."""
        plan = self._trial_plan(settings)
        asked = (plan.features, plan.labels, plan.decision.rule, plan.decision.strategy, plan.decision.use_sentiment)
        key = repr(asked)
        if key not in self.worlds:
            self.worlds.clear()
            self.worlds[key] = corridor.base_world(plan, self.period.panel)
        return corridor.with_forecasts(replace(self.worlds[key], plan=plan), self.cache, self.progress)

    def _trial_plan(self, settings: Mapping[str, Any]) -> Plan:
        """Return the playbook with these settings on the inner walk-forward; nothing may move the test's begin."""
        from tradewind.evaluation.validate import validated

        book = self.plan.playbook.without("tune").changed(settings, "tradewind tune")
        plan = validated(Plan.of(book))
        if (plan.labels.embargo_bars, resolve(plan.labels, self.period.panel.timeframe)) != (
            self.plan.labels.embargo_bars,
            resolve(self.plan.labels, self.period.panel.timeframe),
        ):
            raise BugError("a trial would move the first test bar", hint="please report the playbook's [tune.ranges]")
        return Plan.of(book.changed(self.period.evaluation, "tradewind tune"))


def tune(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    trials: int | None = None,
    as_of: datetime | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Search the playbook's ranges on the bars before its first test block, and say what came of it.

    Parameters
    ----------
    trials
        How many there shall be in all, those of an earlier run included; default: the playbook's.
    as_of
        Use only bars known then.
    dry_run
        Say what would be searched, and judge nothing.

    Returns
    -------
        The search, its trials by number, the best and the playbook's own, and how many trials its lineage now has.

    Raises
    ------
    InputError
        Where the playbook declares no ranges, or Optuna is missing.
    DataError
        Where there are too few bars before the test, or the playbook as it stands cannot be judged.
    RetryError
        Where another process runs the same search.
    """
    plan = workspace.plan
    if not plan.tune.ranges:
        raise InputError(
            f"{plan.playbook.path} declares nothing to search",
            hint='add [tune.ranges] with e.g. "models.parameters.ridge.penalty" = { low = 1.0, high = 1e4 }',
        )
    if trials is not None and trials < 1:
        raise InputError(f"{trials} trials are none", hint="give --trials 1 or more")
    study.optuna_is_there()
    ranges.check_all(plan)
    period = period_of(plan, load_or_sync(workspace, progress, as_of=as_of).panel)
    search, wanted = Search(workspace, period, progress), trials or plan.tune.trials
    if dry_run:
        done = study.read(search.folder)
        return {**search.about(), "dry_run": True, "trials_wanted": wanted, "trials_done": len(done)}
    with writer_lock(search.folder / "writer.lock", patience_seconds=0.0):
        return _report(search, search.run(wanted), wanted)


def _report(search: Search, done: list[Judged], wanted: int) -> dict[str, Any]:
    plan = search.plan
    best = study.best_of(plan, done)
    assert best is not None  # the first trial is complete, or the search has stopped
    states = [trial.state for trial in done]
    return {
        **search.about(),
        "dry_run": False,
        "exhausted": len(done) < wanted,
        "counts": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "trials": [trial.to_dict() for trial in done],
        "best": best.to_dict(),
        "as_it_stands": done[0].to_dict(),
        "lineage_trials": len(search.workspace.records.trials(plan.playbook.lineage)),
        "note": "the best of several trials on the same bars flatters itself: only the back-test, on bars that the "
        "search has not seen and deflated by every trial counted here, says what it is worth",
    }


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DataError(f"the objective is {value}: nothing could be judged in the inner blocks")
    return value


def _said(failure: Exception) -> str:
    what = getattr(failure, "what", str(failure)) or type(failure).__name__
    return f"{type(failure).__name__}: {what}"
