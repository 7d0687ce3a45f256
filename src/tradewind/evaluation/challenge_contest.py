"""What the models of a playbook's seats forecast and earn on the bars that a retraining kept from its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.blocked import is_blocked
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.account import trade_alone
from tradewind.evaluation.challenge import CHALLENGER, CHAMPION, Judgement, Question, judge
from tradewind.evaluation.corridor import World
from tradewind.evaluation.sleeves import NAIVE
from tradewind.evaluation.stored_models import first_unseen_row, uncalibrated_with
from tradewind.evaluation.track_record import book_returns, periods_per_year
from tradewind.evaluation.training import Training
from tradewind.models.artefact import Artefact
from tradewind.models.ensembles.base import combiner_of
from tradewind.models.ensembles.combine import combine
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE

FloatArray = NDArray[np.float64]


@dataclass(eq=False)
class Contest:
    """The bars of a retraining and what models forecast on them, each asked once.

    Attributes
    ----------
    training
        The walk whose last fold begins with the first bar that was kept from the training.
    members
        Who sits, or is to sit, in each seat, by model: what an ensemble is combined of.
    """

    training: Training
    members: dict[str, Artefact] = field(default_factory=dict)
    _asked: dict[str, Forecast] = field(default_factory=dict)

    @property
    def world(self) -> World:
        """The bars."""
        return self.training.world

    @property
    def cut(self) -> int:
        """Return the first row that was kept from the training."""
        return int(self.training.folds[-1].test[0])

    def over_all_bars(self, artefact: Artefact) -> Forecast:
        """Return what a running corridor would have had of a model: of the walk-forward's until its training ends.

        Uncalibrated, on all bars. Raises ``DataError`` where it cannot be asked about the playbook as it is now.
        """
        if artefact.id not in self._asked:
            own, row = uncalibrated_with(artefact, self.world, artefact.model().predict)
            parts = [*self.training.walked(artefact.card["model"], self.training.folds[:-1]), (row, own)]
            self._asked[artefact.id] = corridor.join(self.world, parts)
        return self._asked[artefact.id]

    def first_row(self, champion: Artefact, challenger: Artefact) -> int:
        """Return the first row that neither has learnt from; ``InputError`` where they cannot be compared."""
        _require_same_levels(champion, challenger)
        return max(self.cut, *(first_unseen_row(one, self.world) for one in (champion, challenger)))

    def judged(self, champion: Artefact, challenger: Artefact, *, looks: int) -> Judgement:
        """Judge a challenger on the bars that neither has learnt from. Raises as :meth:`over_all_bars`."""
        first = self.first_row(champion, challenger)
        rows = np.arange(first, len(self.world.panel))
        made = {CHAMPION: self.over_all_bars(champion), CHALLENGER: self.over_all_bars(challenger)}
        calibrated = {name: self.calibrated(one).part(rows) for name, one in made.items()}
        naive = corridor.join(self.world, self.training.walked(NAIVE, self.training.folds)).part(rows)
        name = str(challenger.card["model"])

        def shadow(which: str) -> FloatArray:
            return self.earned(name, made[which], first)

        return judge(
            calibrated[CHAMPION],
            calibrated[CHALLENGER],
            _as_said(naive, calibrated[CHAMPION]),
            self.question(rows),
            self.world.plan.challenge,
            looks=looks,
            shadow=shadow,
        )

    def question(self, rows: NDArray[np.int64]) -> Question:
        """Return what happened on these rows."""
        plan, labels, panel = self.world.plan, self.world.labels, self.world.panel
        return Question(
            times=panel.times[rows],
            horizons=labels.horizons,
            horizon_bars=deciding_horizon(self.world),
            returns=labels.returns[rows],
            classes=None if labels.classes is None else labels.classes[rows],
            bars_per_year=periods_per_year(plan.data.timeframe),
        )

    def calibrated(self, made: Forecast) -> Forecast:
        """Return a forecast as it is decided on; blocks of training rows calibrate nothing that is served."""
        if is_blocked(self.world.plan.calibration.method):
            return made.rounded()
        return corridor.calibrated(self.world, made)[0]

    def earned(self, name: str, made: Forecast, first: int) -> FloatArray:
        """Return what the playbook's account would have earned from a row on with a seat's model forecasting so."""
        world = self.world
        if world.plan.models.use == ENSEMBLE:
            believed = self._believed(name, made)
            _, signals, targets = corridor.act(world, believed.forecast, believed.members, must_fire=False)
        else:
            _, signals, targets = corridor.act(world, self.calibrated(made), must_fire=False)
        simulation = trade_alone(world, signals, targets, world.plan.execution, start=first)
        return book_returns(simulation, first)

    def _believed(self, name: str, made: Forecast) -> corridor.Believed:
        """Return what is decided on where one member of the ensemble forecasts so and the others as they do."""
        plan = self.world.plan
        members = {one: made if one == name else self._of_member(one) for one in plan.ensemble.members}
        there: Mapping[str, Forecast] = {one: said for one, said in members.items() if said is not None}
        if len(there) < 2:
            raise DataError(f"of the ensemble only {', '.join(there)} can forecast: nothing can be combined")
        combined = combine(there, self.world.labels.returns, combiner_of(plan.ensemble, plan.models.seed))
        return corridor.believed(self.world, combined.forecast, combined)

    def _of_member(self, name: str) -> Forecast | None:
        found = self.members.get(name)
        return None if found is None else self.over_all_bars(found)


def deciding_horizon(world: World) -> int:
    """Return the horizon that decides between models: the playbook's choice, else that of its decisions."""
    return world.plan.challenge.horizon_bars or world.plan.decision.horizon_bars


def bars_of_session(world: World) -> int:
    """Return how many bars a session has, 1 where they are longer."""
    from tradewind.market.bars import SESSIONS_PER_YEAR

    return max(1, math.ceil(periods_per_year(world.plan.data.timeframe) / SESSIONS_PER_YEAR))


def _require_same_levels(champion: Artefact, challenger: Artefact) -> None:
    levels = [one.card["question"]["levels"] for one in (champion, challenger)]
    if levels[0] != levels[1]:
        raise InputError(f"{champion.id} forecasts the levels {levels[0]}, {challenger.id} {levels[1]}: no comparison")


def _as_said(naive: Forecast, like: Forecast) -> Forecast:
    """Return the naive forecast on another's levels, which are the same in every shipped model."""
    if naive.levels == like.levels:
        return naive
    raise DataError(f"the naive forecast has the levels {naive.levels}, the models {like.levels}: no yardstick")
