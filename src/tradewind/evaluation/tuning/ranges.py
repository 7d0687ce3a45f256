"""What a search may try: every range is refused before anything runs where a setting could not take it.

A search looks for better answers to the playbook's question. What makes the question (bars, universe, horizons, costs,
the length of the training) is no setting of it, and neither is what its objective cannot see.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.errors import InputError, PlaybookError, did_you_mean
from tradewind.evaluation.plan import SECTIONS, Plan
from tradewind.evaluation.settings import TuneRange
from tradewind.models.settings import ENSEMBLE

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FORECASTS = ("features", "labels", "models", "ensemble", "calibration")
"""Sections that change what is forecast."""

BOOK = ("decision", "sizing", "limits")
"""Sections that change what is made of a forecast."""

TRAINING = ("evaluation.train_stride_bars",)

QUESTION = ("labels.horizons_bars", "labels.horizons", "labels.embargo_bars", "labels.barriers")
"""Settings that change what is asked, or from which bar on the back-test is judged."""

_INSIDE = 0.381966
"""A point of an interval that is no round number: a float where a whole number belongs shows there."""


def check_all(plan: Plan) -> None:
    """Raise ``PlaybookError`` unless every value of every declared range is a setting that the objective can judge."""
    for key in plan.tune.ranges:
        try:
            _check(plan, key)
        except InputError as error:
            place = plan.playbook.place(f"tune.ranges.{key}")
            raise PlaybookError(f"{place}: tune.ranges.{key}: {error.what}", hint=error.hint) from None


def _check(plan: Plan, key: str) -> None:
    require_a_setting(plan, key)
    _require_tunable(plan, key)
    declared = plan.tune.ranges[key]
    _require_whole_numbers(plan, key, declared)
    for value in probes(plan, key, declared):
        _require_possible(plan, key, value)


def probes(plan: Plan, key: str, declared: TuneRange) -> list[Any]:
    """Return the ends of a range and a value inside, or every choice."""
    if declared.choices:
        return list(declared.choices)
    low, high = _ends(plan, key, declared)
    inside = low + _INSIDE * (high - low)
    return [low, high, round(inside) if isinstance(low, int) else inside] if declared.step is None else [low, high]


def distribution(plan: Plan, key: str) -> BaseDistribution:
    """Return a range in Optuna's words; choices are told apart by their JSON, so that lists may be chosen too."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    declared = plan.tune.ranges[key]
    if declared.choices:
        return CategoricalDistribution([written(choice) for choice in declared.choices])
    low, high = _ends(plan, key, declared)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=declared.log, step=int(declared.step or 1))
    return FloatDistribution(low, high, log=declared.log, step=declared.step)


def written(choice: Any) -> str:
    """Return a choice as text."""
    return json.dumps(choice, sort_keys=True, default=str)


def as_parameters(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as the search draws them: choices by their text."""
    return {k: written(v) if plan.tune.ranges[k].choices else v for k, v in settings.items()}


def as_settings(plan: Plan, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was drawn as settings of the playbook."""
    chosen = {key: {written(c): c for c in declared.choices} for key, declared in plan.tune.ranges.items()}
    return {key: chosen[key].get(value, value) if chosen[key] else value for key, value in parameters.items()}


def standing(plan: Plan) -> dict[str, Any] | None:
    """Return the playbook's own value of every range; None where one lies outside of its range."""
    own = {key: _value(plan, key) for key in plan.tune.ranges}
    return own if all(_holds(plan, key, value) for key, value in own.items()) else None


def _holds(plan: Plan, key: str, value: Any) -> bool:
    declared = plan.tune.ranges[key]
    if declared.choices:
        return written(value) in {written(choice) for choice in declared.choices}
    low, high = _ends(plan, key, declared)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return False
    steps = 0.0 if declared.step is None else (value - low) / declared.step
    return abs(steps - round(steps)) < 1e-9 and (isinstance(low, float) or float(value).is_integer())


def _ends(plan: Plan, key: str, declared: TuneRange) -> tuple[float, float]:
    """Return both ends: whole numbers where all of the range is and the setting is no fraction, else floats."""
    low, high, step = declared.low, declared.high, declared.step
    assert low is not None and high is not None
    whole = isinstance(low, int) and isinstance(high, int) and isinstance(step or 1, int)
    return (low, high) if whole and _kind(plan, key) is not float else (float(low), float(high))


# -- which setting it is ---------------------------------------------------------------------------------------


def require_a_setting(plan: Plan, key: str) -> None:
    """Raise ``InputError`` with the nearest known name where there is no such setting."""
    section, _, rest = key.partition(".")
    if section not in SECTIONS:
        raise did_you_mean("section", section, SECTIONS)
    if not rest:
        raise InputError(f"[{section}] is a section, not a setting", hint=f'name one, e.g. "{section}.NAME"')
    name, _, inner = rest.partition(".")
    fields = SECTIONS[section].model_fields
    if name not in fields:
        raise did_you_mean(f"setting of [{section}]", name, fields)
    if name == "parameters":
        _require_a_parameter(plan, section, inner)
    elif inner:
        raise InputError(f"{section}.{name} has no parts", hint=f'write "{section}.{name}"')


def _require_a_parameter(plan: Plan, section: str, inner: str) -> None:
    model, _, parameter = inner.partition(".")
    if section == "models" and not parameter:
        raise InputError(
            f"models.parameters.{inner} names a model, not a parameter",
            hint='write "models.parameters.MODEL.PARAMETER"',
        )
    known = _parameters(plan, section, model)
    if (parameter or inner) not in known:
        raise did_you_mean(f"parameter of {model or section!r}:", parameter or inner, known)


def _parameters(plan: Plan, section: str, model: str) -> Mapping[str, inspect.Parameter]:
    from tradewind.models.base import MODELS
    from tradewind.models.ensembles.base import COMBINERS

    factory = COMBINERS.factory(plan.ensemble.method) if section == "ensemble" else MODELS.factory(model)
    return inspect.signature(factory).parameters


def _require_tunable(plan: Plan, key: str) -> None:
    section, objective = key.partition(".")[0], plan.tune.objective
    if key == "models.seed" or key.endswith(".seed") or key.endswith(".threads"):
        raise InputError(f"{key} is luck, not a setting", hint="leave it out of [tune.ranges]")
    if key == "models.compare":
        raise InputError("models.compare changes nothing that is searched for", hint="leave it out of [tune.ranges]")
    if key in QUESTION or key.endswith(".levels") or (section not in (*FORECASTS, *BOOK) and key not in TRAINING):
        raise InputError(
            f"{key} is a part of the question, or of how answers are judged: no search may change it",
            hint=f"tune settings of {', '.join((*FORECASTS, *BOOK))}, or {TRAINING[0]}",
        )
    if section in BOOK and objective != "sharpe":
        raise InputError(
            f"{key} changes nothing that {objective} measures: that is about forecasts, not about the book",
            hint='tune.objective = "sharpe" judges the book',
        )
    if key.startswith("models.parameters."):
        _require_used(plan, key.split(".")[2])


def _require_used(plan: Plan, model: str) -> None:
    used = _used(plan)
    if model not in used:
        raise InputError(
            f"the model {model!r} is not traded on, so its parameters change nothing",
            hint=f"used here: {', '.join(sorted(used))}",
        )


def _used(plan: Plan) -> set[str]:
    """Return the models that the traded forecast may come from, or be made with."""
    declared = plan.tune.ranges.get("models.use")
    traded = {plan.models.use, *(declared.choices if declared is not None else ())}
    members = plan.ensemble.members if ENSEMBLE in traded else ()
    return {*traded, *members, *plan.features.forecasts} - {ENSEMBLE}


# -- what it may be ------------------------------------------------------------------------------------------------


def _kind(plan: Plan, key: str) -> type:
    """Return ``float``, ``int`` or ``object`` where nothing says what a setting is."""
    section, name, *inner = key.split(".")
    if name == "parameters":
        default = _parameters(plan, section, inner[0])[inner[-1]].default
        return type(default) if type(default) in (int, float) else object
    declared = SECTIONS[section].model_fields[name].annotation
    named = [part for part in (declared, *typing.get_args(declared)) if part in (int, float)]
    return named[0] if len(named) == 1 else object


def _value(plan: Plan, key: str) -> Any:
    section, name, *inner = key.split(".")
    part = getattr(plan, section)
    if name != "parameters":
        value = part.model_dump(mode="json")[name]
        return list(value) if isinstance(value, tuple) else value
    given = part.parameters if section == "ensemble" else part.parameters.get(inner[0], {})
    return given.get(inner[-1], _parameters(plan, section, inner[0])[inner[-1]].default)


def _require_whole_numbers(plan: Plan, key: str, declared: TuneRange) -> None:
    if not declared.choices and _kind(plan, key) is int and isinstance(_ends(plan, key, declared)[0], float):
        raise InputError(
            f"{key} is a whole number, and the range {declared.low} … {declared.high} is not",
            hint="write low, high and step without a point",
        )


def _require_possible(plan: Plan, key: str, value: Any) -> None:
    """Raise where the playbook with this one value would be refused."""
    from tradewind.evaluation.validate import validated

    book = plan.playbook.without("tune").changed({key: value}, f"tune.ranges.{key}: {value!r}")
    try:
        validated(Plan.of(book))
    except PlaybookError as error:
        raise InputError(error.what.removeprefix(f"tune.ranges.{key}: "), hint=error.hint) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{value!r} cannot be: {error}") from None
