"""A full retraining in one call: corporate actions → features → labels → train → validate → promote or keep → report.

Whatever it makes is stored under the hash of what it was made from, so it may be killed at any step: the next run takes
up the same job and makes only what is missing. On the same data it comes to the same decision, and writes it once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, RetryError, TradewindError
from tradewind.evaluation import corridor, runs
from tradewind.evaluation.challenge import FIRST, KEPT, PROMOTED, Judgement
from tradewind.evaluation.challenge_contest import Contest, bars_of_session, deciding_horizon
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.data import Loaded, check_data, load_or_sync, smaller_bars, synchronise
from tradewind.evaluation.fold_cache import code_version, panel_digest
from tradewind.evaluation.kept_models import KeptModels
from tradewind.evaluation.model_registry import CHALLENGER, CHAMPION, ModelRegistry, current, seats_of
from tradewind.evaluation.surroundings import laid_on, market_regimes
from tradewind.evaluation.training import Training, retraining_folds
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import Job, ModelDecision
from tradewind.models.artefact import Artefact

KIND = "retrain"
"""What its jobs are called in the records."""

LOCK = "retrain.lock"


def retrain(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    as_of: datetime | None = None,
    by: str = "retrain",
    dry_run: bool = False,
    sitting: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train every seat's model on all that is known, and let each winner sit down.

    Of a playbook with timeframes it is the one nearest to daily bars, as in ``train``.

    Parameters
    ----------
    as_of
        Use only bars known then: of a running corridor, its clock's present. Default: all.
    by
        Who asks, for the records of what was decided.
    dry_run
        Say what would be decided: nothing is synchronised, no alias moves, no look is counted. Models that were made
        stay for the run that means it.
    sitting
        Of a dry run, by seat: who is to be challenged instead of the champion.

    Returns
    -------
        What was read and cut, by seat what was trained, found and decided; at its end ``decision`` (``promoted`` where
        any seat has a new champion, ``first`` where any had none before, else ``kept``), ``evidence`` and ``champion``
        by seat.

    Raises
    ------
    RetryError
        Another retraining of this home is running, or the source is down.
    DataError
        Too few bars, or a model that cannot be fitted.
    """
    started = time.perf_counter()
    if workspace.plan.timeframes:
        _, workspace = workspace.system()
    with _alone(workspace.home):
        data = _read(workspace, progress, as_of, dry_run)
        work = _Work(workspace, data, progress, by, dry_run, sitting=dict(sitting or {}))
        try:
            result = work.done()
        except TradewindError as error:
            work.failed(error)
            raise
        result["seconds"] = round(time.perf_counter() - started, 2)
        return work.reported(result)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the one place of a retraining in a home; whoever dies leaves it."""
    with ExitStack() as held:
        try:
            held.enter_context(writer_lock(home / LOCK, patience_seconds=0.0))
        except RetryError as error:
            raise RetryError(
                f"another retraining of {home} is running",
                hint="wait until it has finished; `tradewind retrain` then goes on with what it stored",
            ) from error
        yield


# -- what is read --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Data:
    """What a retraining rests on: the bars, and what the search for corporate actions found."""

    loaded: Loaded
    world: World
    cache: KeptModels
    actions: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """Hash of the bars."""
        return panel_digest(self.world.panel)


def _read(workspace: Workspace, progress: Progress, as_of: datetime | None, dry_run: bool) -> _Data:
    """Bring bars, splits and dividends up to date, then compute features and labels."""
    plan = workspace.plan
    actions = {"synced": False} if dry_run else _actions(workspace, progress)
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    lineage = plan.lineage
    cache = KeptModels(workspace.home / "folds", kept=workspace.home / "fitted" / lineage)
    shown = plan.regimes.use and TIMEFRAMES[loaded.panel.timeframe] <= TIMEFRAMES["1d"]
    regimes = market_regimes(loaded.panel, plan.regimes) if shown else None
    around = laid_on(workspace, loaded.panel, regimes)
    world = corridor.build_world(plan, loaded.panel, loaded.notes, cache, progress, around)
    progress("features and labels", 1, 1)
    return _Data(loaded, world, cache, actions)


def _actions(workspace: Workspace, progress: Progress) -> dict[str, Any]:
    """Read splits and dividends anew, and look for splits that nobody told us of."""
    small = smaller_bars(workspace)
    report = synchronise(small, progress)
    found = check_data(small)
    suspected = found.findings.filter(found.findings["check"] == "split-suspected")
    progress("corporate actions", 1, 1)
    return {
        "synced": True,
        "bars": {"added": report.bars.added, "corrected": report.bars.corrected},
        "actions": {"added": report.actions.added, "corrected": report.actions.corrected},
        "splits_suspected": [
            {"symbol": row["symbol"], "time": row["time"].isoformat(), "detail": row["detail"]}
            for row in suspected.iter_rows(named=True)
        ],
    }


# -- what is done --------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Work:
    """One retraining, step by step; each step is noted in its job when what it makes is stored."""

    workspace: Workspace
    data: _Data
    progress: Progress
    by: str
    dry_run: bool
    job: Job | None = None
    repeated: bool = False
    steps: set[str] = field(default_factory=set)
    failures: dict[str, DataError] = field(default_factory=dict)
    sitting: Mapping[str, str] = field(default_factory=dict)

    def done(self) -> dict[str, Any]:
        """Train, validate and judge every seat, and return what came of it."""
        self._begin()
        contest = Contest(self.training)
        trained = self._all_trained()
        contest.members = self._members(trained)
        checked = {seat: self._validated(seat, one) for seat, one in trained.items()}
        told = {seat: self._judged(contest, seat, one, checked[seat]) for seat, one in trained.items()}
        self.data.cache.forget_others()
        return self._result(told)

    @cached_property
    def seats(self) -> dict[str, str]:
        """The seats of the plan and their models."""
        return seats_of(self.workspace.plan)

    @cached_property
    def registry(self) -> ModelRegistry:
        """The trained models of the home."""
        return ModelRegistry(self.workspace.home, self.workspace.records, self.workspace.clock)

    @cached_property
    def unseen_bars(self) -> int:
        """How many of the newest bars are kept from the training."""
        horizon = deciding_horizon(self.data.world)
        return self.workspace.plan.challenge.kept_from_training(horizon, bars_of_session(self.data.world))

    @cached_property
    def training(self) -> Training:
        """The walk up to the cut."""
        world = self.data.world
        folds = retraining_folds(world.plan, len(world.panel), world.labels.horizons, self.unseen_bars)
        return Training(self.registry, world, folds, self.data.loaded, self.data.cache, self.progress)

    @cached_property
    def key(self) -> str:
        """What names this retraining: the same playbook, code and bars, cut at the same bar."""
        plan = self.workspace.plan
        parts = [
            plan.lineage,
            plan.playbook.content_hash,
            plan.challenge.model_dump_json(),
            plan.data.source,
            self.data.digest,
            self.unseen_bars,
            code_version(),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    # -- its job --

    def _begin(self) -> None:
        """Take up the job of this retraining, or open one; one that died over older data is over."""
        if self.dry_run:
            return
        records, now = self.workspace.records, self.workspace.clock.now()
        lineage = self.workspace.plan.lineage
        own = [job for job in records.jobs(KIND) if job.detail.get("lineage") == lineage]
        for job in own:
            if job.status == "running" and job.key != self.key:
                records.update_job(job, error="it was interrupted, and there are newer bars, code or settings since")
                records.finish_job(job, at=now, status="failed")
        finished = next((job for job in own if job.status == "done" and job.key == self.key), None)
        if finished is not None:
            self.repeated, self.job = True, finished
            return
        detail = {"lineage": lineage, "by": self.by, "seats": list(self.seats), "total": 3 * len(self.seats)}
        self.job = records.resume_job(KIND, self.key, started=now, detail=detail)
        self.steps = set(records.finished_items(self.job))

    def _note(self, step: str) -> None:
        """Note that a step is done and that what it made is stored."""
        self.steps.add(step)
        self.progress("retrain", len(self.steps), 3 * len(self.seats))
        if self.job is not None and not self.repeated:
            self.workspace.records.finish_items(self.job, [step], at=self.workspace.clock.now())
            self.workspace.records.update_job(self.job, phase=step, done=len(self.steps))

    def failed(self, error: TradewindError) -> None:
        """Note why it could not be finished."""
        if self.job is not None and not self.repeated:
            self.workspace.records.update_job(self.job, error=error.what)
            self.workspace.records.finish_job(self.job, at=self.workspace.clock.now(), status="failed")

    # -- its steps --

    def _all_trained(self) -> dict[str, Artefact]:
        """Return the new model of every seat; one that cannot be fitted leaves its seat as it is, and is named."""
        found: dict[str, Artefact] = {}
        for seat, name in self.seats.items():
            try:
                found[seat] = self._trained(seat, name)
            except DataError as error:
                self.failures[seat] = error
        if not found:
            raise next(iter(self.failures.values()))
        return found

    def _trained(self, seat: str, name: str) -> Artefact:
        """Return the artefact of a seat's model, trained up to the cut; one that is stored is not fitted again."""
        told = self.training.stored_one(name)
        if "artefact" not in told:
            raise DataError(f"the model {name!r} of {seat} cannot be kept: {told['not_stored']}")
        artefact = self.registry.artefact(told["artefact"])
        self._note(f"train {seat}")
        return artefact

    def _members(self, trained: Mapping[str, Artefact]) -> dict[str, Artefact]:
        """Return who else sits in the seats of an ensemble: each champion that can be read, else the new model."""
        found = {self.seats[seat]: artefact for seat, artefact in trained.items()}
        for seat, name in self.seats.items():
            champion = self._champion(seat)
            if champion is not None:
                with suppress(DataError):
                    found[name] = self.registry.artefact(champion)
        return found

    def _validated(self, seat: str, artefact: Artefact) -> list[str]:
        """Return why a model must not serve; empty where it may."""
        problems = [*_unfit(artefact, self.data.world, self.training), *_export_problems(artefact, self.data.world)]
        self._note(f"validate {seat}")
        return problems

    def _judged(self, contest: Contest, seat: str, artefact: Artefact, problems: Sequence[str]) -> dict[str, Any]:
        """Decide who sits in a seat, and record it; what was decided on the same bars before stands."""
        before = self._champion(seat)
        decision = self._settled(seat, before, artefact)
        if decision is None:
            judgement = self._judgement(contest, seat, before, artefact, problems)
            decision = self._decision(seat, before, artefact, judgement)
            if not self.dry_run:
                self._carry_out(seat, artefact, decision)
        self._note(f"judge {seat}")
        if not self.dry_run and self._champion(seat) == artefact.id:
            contest.members[str(artefact.card["model"])] = artefact
        return self._told(seat, before, artefact, decision)

    def _judgement(
        self, contest: Contest, seat: str, before: str | None, artefact: Artefact, problems: Sequence[str]
    ) -> Judgement:
        if problems:
            return Judgement(KEPT, tuple(problems), {"tested": False})
        if before is None:
            return Judgement(FIRST, (f"{seat} had no champion: the first model sits down",), {"tested": False})
        try:
            champion = self.registry.artefact(before)
            if champion.card["version"] == artefact.card["version"]:
                words = "it has learnt exactly what the champion has: that challenges nobody"
                return Judgement(KEPT, (words,), {"tested": False})
            first = contest.first_row(champion, artefact)
            if first < len(contest.world.panel):
                contest.over_all_bars(champion)
        except DataError as error:
            words = f"the champion {before} cannot forecast any more, so its seat is as good as empty: {error.what}"
            return Judgement(PROMOTED, (words,), {"tested": False, "champion_unusable": error.what})
        except InputError as error:
            return Judgement(KEPT, (f"the champion {before} cannot be asked: {error.what}",), {"tested": False})
        if first >= len(contest.world.panel):
            words = f"the champion {before} has learnt from all bars there are: nothing is left to judge on"
            return Judgement(KEPT, (words,), {"tested": False})
        return contest.judged(champion, artefact, looks=self._looks(seat, before, contest.world.panel.times[first:]))

    def _champion(self, seat: str) -> str | None:
        if self.dry_run and seat in self.sitting:
            return self.sitting[seat]
        return current(self.workspace.records.alias_changes(seat)).get(CHAMPION)

    def _looks(self, seat: str, champion: str, times: NDArray[np.datetime64]) -> int:
        """Return how often this champion was judged on days that overlap with these, this time included."""
        since, until = _iso(times[0]), _iso(times[-1])
        judged = (
            one.evidence["bars"]
            for one in self.workspace.records.model_decisions(seat)
            if one.champion == champion and one.evidence.get("tested")
        )
        return 1 + sum(bars["to"] >= since and bars["from"] <= until for bars in judged)

    def _decision_key(self, seat: str, champion: str | None, artefact: Artefact) -> str:
        parts = [self.key, seat, champion, artefact.id]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _settled(self, seat: str, champion: str | None, artefact: Artefact) -> ModelDecision | None:
        """Return what was decided about this model on these bars before; None where nothing was.

        Who was promoted by it and is champion no more was rolled back: the same bars do not bring it back.
        """
        known = self.workspace.records.model_decisions(seat)
        if champion == artefact.id:
            promoted = (one for one in known if one.challenger == artefact.id and one.decision in (FIRST, PROMOTED))
            return next(promoted, None) or self._kept(seat, artefact, "it is the champion already")
        key = self._decision_key(seat, champion, artefact)
        found = next((one for one in known if one.key == key), None)
        if found is not None and found.decision != KEPT:
            return self._kept(
                seat, artefact, f"it was {found.decision} on these bars at {found.at} and is not any more"
            )
        return found

    def _kept(self, seat: str, artefact: Artefact, why: str) -> ModelDecision:
        return self._decision(seat, self._champion(seat), artefact, Judgement(KEPT, (why,), {"tested": False}))

    def _decision(self, seat: str, champion: str | None, artefact: Artefact, judgement: Judgement) -> ModelDecision:
        return ModelDecision(
            seat=seat,
            at=self.workspace.clock.now(),
            decision=judgement.decision,
            champion=champion,
            challenger=artefact.id,
            reasons=judgement.reasons,
            evidence=_plain(judgement.evidence),
            by=self.by,
            key=self._decision_key(seat, champion, artefact),
        )

    def _carry_out(self, seat: str, artefact: Artefact, decision: ModelDecision) -> None:
        """Move the aliases and record the decision, in one transaction where both happen."""
        if decision.decision == KEPT:
            if decision.champion is not None:
                self.registry.entered(seat, artefact.id)
            self.workspace.records.record_decision(decision)
        else:
            self.registry.promote(artefact.id, seat, decision=decision)

    # -- what is said --

    def _told(self, seat: str, before: str | None, artefact: Artefact, decision: ModelDecision) -> dict[str, Any]:
        state = self.registry.state_of(seat)
        return {
            "seat": seat,
            "model": artefact.card["model"],
            "artefact": artefact.id,
            "decision": decision.decision,
            "at": decision.at.isoformat(),
            "reasons": list(decision.reasons),
            "evidence": dict(decision.evidence),
            "champion_before": decision.champion if decision.challenger == artefact.id else before,
            "champion": state[CHAMPION],
            "challenger": state[CHALLENGER],
            "metrics": artefact.card["metrics"],
        }

    def _result(self, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        plan, panel = self.workspace.plan, self.data.world.panel
        made = {one["decision"] for one in told.values()}
        return {
            "playbook": plan.playbook.name,
            "source": plan.data.source,
            "by": self.by,
            "dry_run": self.dry_run,
            "repeated": self.repeated,
            "job": None if self.job is None else self.job.id,
            "data": {
                "from": _iso(panel.times[0]),
                "to": _iso(panel.times[-1]),
                "bars": len(panel),
                "symbols": len(panel.symbols),
                "version": self.data.digest,
            },
            "corporate_actions": dict(self.data.actions),
            "cut": self._cut(),
            "seats": dict(told),
            "failed": {seat: error.what for seat, error in self.failures.items()},
            "decision": next(one for one in (PROMOTED, FIRST, KEPT) if one in made),
            "evidence": {seat: one["evidence"] for seat, one in told.items()},
            "champion": {seat: one["champion"] for seat, one in told.items()},
        }

    def _cut(self) -> dict[str, Any]:
        """Say where the training ends and why there."""
        fold, panel, plan = self.training.folds[-1], self.data.world.panel, self.workspace.plan
        horizon = deciding_horizon(self.data.world)
        first, purged = int(fold.test[0]), int(fold.test[0]) - int(fold.train[-1]) - 1
        return {
            "trained_until": _iso(panel.times[first - 1]),
            "unseen_from": _iso(panel.times[first]),
            "unseen_bars": self.unseen_bars,
            "purged_bars": purged,
            "why": f"the newest {self.unseen_bars:,} bars are kept to judge on: a judgement needs "
            f"{plan.challenge.dates_needed(horizon):,} bars with an outcome over {horizon} bars and "
            f"{plan.challenge.unseen_sessions} sessions; the {purged:,} bars before them teach nothing, because their "
            "outcomes reach into those",
        }

    def reported(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write the report, close the job, and return the result with where the report is."""
        ends = {name: result.pop(name) for name in ("decision", "evidence", "champion")}
        if self.dry_run:
            return {**result, "report": None, **ends}
        folder = self.workspace.home / "retrain"
        name = f"{result['data']['to'][:10].replace('-', '')}-{self.workspace.plan.lineage}-{self.key[:10]}.json"
        whole = {**result, "report": str(folder / name), **ends}
        if not self.repeated:
            runs.write(folder, name, _plain({**whole, "lines": lines_of(whole)}))
        if self.job is not None and not self.repeated:
            short = {"decision": ends["decision"], "champion": ends["champion"], "report": name}
            self.workspace.records.update_job(self.job, result=short)
            self.workspace.records.finish_job(self.job, at=self.workspace.clock.now())
        return whole


def lines_of(result: Mapping[str, Any]) -> list[str]:
    """Return a retraining in a few lines for people."""
    cut, data, actions = result["cut"], result["data"], result["corporate_actions"]
    said = [
        f"{result['playbook']}: trained until {cut['trained_until'][:16]} on {data['symbols']} symbols of "
        f"{result['source']}; {cut['unseen_bars']:,} newer bars to judge on"
    ]
    if actions.get("splits_suspected"):
        some = ", ".join(f"{one['symbol']} {one['time'][:10]}" for one in actions["splits_suspected"][:5])
        said.append(f"splits that nobody reported are suspected: {some} (`tradewind data check`)")
    for seat, told in result["seats"].items():
        said.append(f"{seat}: {told['decision']}, champion {told['champion']} (trained: {told['artefact']})")
        said += [f"  {reason}" for reason in told["reasons"]]
    return [*said, *(f"{seat}: not trained: {why}" for seat, why in result["failed"].items())]


# -- whether a model may serve -------------------------------------------------------------------------------


def _unfit(artefact: Artefact, world: World, training: Training) -> list[str]:
    """Return what forbids a model to serve: no forecasts on the newest bars, or far fewer than the naive one."""
    from tradewind.evaluation.sleeves import NAIVE

    fold = training.folds[-1]
    own, naive = (training.walked(name, [fold]) for name in (str(artefact.card["model"]), NAIVE))
    made, could = (int(parts[-1][1].available.sum()) if parts else 0 for parts in (own, naive))
    if made < could / 2:
        return [f"it forecasts {made:,} of {could:,} outcomes on the newest bars that could be forecast"]
    return []


def _export_problems(artefact: Artefact, world: World) -> list[str]:
    """Write the file that a network is served from where there is none yet; return why that is impossible."""
    from tradewind.evaluation.model_exports import export
    from tradewind.evaluation.model_registry import exports_of
    from tradewind.models.base import MODELS
    from tradewind.models.sequence_model import SequenceModel

    kind = MODELS.factory(str(artefact.card["model"]))
    if not (isinstance(kind, type) and issubclass(kind, SequenceModel)):
        return []
    if any(one["format"] == "onnx" for one in exports_of(artefact.folder)):
        return []
    try:
        export(artefact, world, "onnx")
    except DataError as error:
        return [f"its exported file does not agree with it: {error.what}"]
    return []


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}+00:00"


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it; what is not finite becomes None."""
    from tradewind.evaluation.backtest import clean

    return clean(value)
