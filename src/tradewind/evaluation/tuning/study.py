"""What a search has tried, in one file that a kill leaves whole; Optuna is told of it anew at every trial.

What is drawn next depends on the seed, on how many trials were judged and on what came of them, and on nothing else:
a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tradewind.errors import DataError, InputError
from tradewind.evaluation import runs
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.tuning import ranges
from tradewind.evaluation.tuning.objective import OBJECTIVES

if TYPE_CHECKING:
    import optuna

State = Literal["complete", "pruned", "failed"]
FILE = "study.json"
DRAWS = 100
"""In a row that were all tried before end a search: there is nothing left in its ranges."""


@dataclass(frozen=True)
class Judged:
    """A trial that is over.

    Attributes
    ----------
    settings
        What was tried, by dotted key; empty for the playbook as it stands.
    state
        ``complete``; ``pruned``: stopped between inner blocks; ``failed``: with the ``error``.
    value
        The objective over all inner blocks, None unless complete.
    blocks
        The objective over the first inner block, the first two, and so on.
    sharpe
        Of the book over the inner blocks, net, per year; None where nothing was traded, or not all blocks were.
    """

    number: int
    settings: Mapping[str, Any]
    state: State
    value: float | None
    blocks: tuple[float, ...]
    sharpe: float | None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain values."""
        return asdict(self)


def read(folder: Path) -> list[Judged]:
    """Return the trials of a study, none where it has not begun; ``DataError`` for a damaged file."""
    if not (folder / FILE).is_file():
        return []
    try:
        rows = runs.read(folder, FILE)["trials"]
        trials = [Judged(**{**row, "blocks": tuple(row["blocks"])}) for row in rows]
    except (DataError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / FILE} is damaged: {error}",
            hint=f"remove {folder}: the search begins anew, its trials stay counted and its forecasts stay kept",
        ) from None
    return trials


def write(folder: Path, about: Mapping[str, Any], trials: Sequence[Judged]) -> None:
    """Replace the file of a study; a reader, or the next start after a kill, finds the old one or the new one."""
    runs.write(folder, FILE, {**about, "trials": [trial.to_dict() for trial in trials]})


def optuna_is_there() -> None:
    """Raise ``InputError`` with the command that installs Optuna where it is missing."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise InputError("a search needs optuna, not installed here", hint="pip install 'tradewind[tune]'")


def ask(plan: Plan, trials: Sequence[Judged]) -> optuna.Trial | None:
    """Return Optuna's next trial after these, its settings drawn; None where it draws nothing that was not tried."""
    study = _told(plan, trials)
    space = {key: ranges.distribution(plan, key) for key in plan.tune.ranges}
    own = ranges.as_parameters(plan, ranges.standing(plan) or {})
    tried = [ranges.as_parameters(plan, trial.settings) if trial.settings else own for trial in trials]
    drawn = (study.ask(space) for _ in range(DRAWS))
    return next((trial for trial in drawn if trial.params not in tried), None)


def _told(plan: Plan, trials: Sequence[Judged]) -> optuna.Study:
    """Return a study that knows these trials, and draws by the seed and their number."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    section = plan.tune
    seed = int(np.random.SeedSequence([section.seed, len(trials)]).generate_state(1)[0])
    startup = section.startup_trials
    study = optuna.create_study(
        direction=OBJECTIVES[section.objective].direction,
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=startup) if section.prune else optuna.pruners.NopPruner(),
    )
    study.add_trials([_frozen(plan, trial) for trial in trials])
    return study


def _frozen(plan: Plan, trial: Judged) -> optuna.trial.FrozenTrial:
    import optuna

    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
        "failed": optuna.trial.TrialState.FAIL,
    }
    settings = trial.settings or ranges.standing(plan) or {}
    return optuna.trial.create_trial(
        state=states[trial.state],
        value=trial.value,
        params=ranges.as_parameters(plan, settings),
        distributions={key: ranges.distribution(plan, key) for key in settings},
        intermediate_values=dict(enumerate(trial.blocks)),
    )


def best_of(plan: Plan, trials: Sequence[Judged]) -> Judged | None:
    """Return the complete trial with the best value, the earliest of equals."""
    sign = 1.0 if OBJECTIVES[plan.tune.objective].lower_is_better else -1.0
    complete = [(sign * t.value, t.number, t) for t in trials if t.state == "complete" and t.value is not None]
    return min(complete, key=lambda one: one[:2])[2] if complete else None
