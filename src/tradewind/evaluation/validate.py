"""What a playbook may name: refused by file and line before anything is synced, as unknown keys are.

A section's own model knows its keys and ranges. Whether a model, rule, feature or source of that name exists, and
whether two sections fit together, is asked here: of the registries, without building anything that reads data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tradewind.errors import InputError, PlaybookError
from tradewind.evaluation.plan import IN_A_TIMEFRAME, SECTIONS, Plan
from tradewind.models.settings import ENSEMBLE

_Look = tuple[str, Callable[[], object]]


def validated(plan: Plan) -> Plan:
    """Return the plan; raise ``PlaybookError`` with the place of the first name or combination that cannot be.

    Where it has timeframes, what they leave to their own sections is looked at there.
    """
    _capital(plan)
    for part in plan.timeframes.values() or (plan,):
        _fits(part)
    return plan


def _fits(plan: Plan) -> None:
    """Look at the sections of one system."""
    for key, look in (
        *_source(plan),
        *_data(plan),
        *_features(plan),
        *_models(plan),
        *_ensemble(plan),
        *_decision(plan),
        *_books(plan),
        *_tune(plan),
    ):
        try:
            look()
        except PlaybookError:
            raise
        except InputError as error:
            raise PlaybookError(f"{plan.playbook.place(key)}: {key}: {error.what}", hint=error.hint) from None


def _capital(plan: Plan) -> None:
    """Look at whether the coordinator's shares and the timeframes name each other."""
    from tradewind.errors import did_you_mean

    for name in plan.coordinator.capital:
        if name not in plan.timeframes:
            known = tuple(plan.timeframes) or ("[timeframes.NAME]",)
            error = did_you_mean("timeframe", name, known)
            raise PlaybookError(f"{plan.playbook.place('coordinator.capital')}: {error.what}", hint=error.hint)
    if plan.timeframes:
        from tradewind.decisions.coordinator import capital_of

        try:
            capital_of(plan.coordinator, tuple(plan.timeframes))
        except InputError as error:
            place = plan.playbook.place("coordinator.capital")
            raise PlaybookError(f"{place}: {error.what}", hint=error.hint) from None


def _source(plan: Plan) -> Iterator[_Look]:
    """Look at the source in force and its options, and at what the file says of the other ones."""
    from tradewind.market.sources.base import SOURCES, options_model

    book = plan.playbook
    yield "data.source", lambda: SOURCES.factory(plan.data.source)
    for name in book.narrowings:
        yield f"source.{name}", lambda name=name: SOURCES.factory(name)  # type: ignore[misc]
        book.refuse_unknown_in_narrowing(name, SECTIONS, options_model(name), IN_A_TIMEFRAME)
    if (model := options_model(plan.data.source)) is not None:
        yield f"source.{plan.data.source}.options", lambda: book.options(model)


def _data(plan: Plan) -> Iterator[_Look]:
    from tradewind.market.indexes.base import INDEXES

    yield "data.end", lambda: _in_order(plan)
    if plan.universe.index:
        yield "universe.index", lambda: INDEXES.factory(plan.universe.index)


def _in_order(plan: Plan) -> None:
    start, end = plan.data.start, plan.data.end
    if start is not None and end is not None and end < start:
        raise InputError(
            f"the period ends ({end:%Y-%m-%d %H:%M}) before it begins ({start:%Y-%m-%d %H:%M})",
            hint="swap data.start and data.end",
        )


def _features(plan: Plan) -> Iterator[_Look]:
    from tradewind.features.registry import members, select

    yield "features.exclude", lambda: members(plan.features.exclude)
    yield "features.include", lambda: select(plan.features.include, plan.features.exclude)


def _models(plan: Plan) -> Iterator[_Look]:
    from tradewind.models.base import MODELS

    models = plan.models
    named = (("models.use", (models.use,)), ("models.compare", models.compare))
    for key, names in (*named, ("features.forecasts", plan.features.forecasts)):
        for name in names:
            if name == ENSEMBLE:
                yield key, lambda key=key: _is_traded(key)  # type: ignore[misc]
            else:
                yield key, lambda name=name: MODELS.create(name)  # type: ignore[misc]
                yield key, lambda name=name: _has_classes(plan, name)  # type: ignore[misc]
    for name, parameters in models.parameters.items():
        place = f"models.parameters.{name}"
        yield place, lambda name=name, given=parameters: MODELS.create(name, **given)  # type: ignore[misc]


def _ensemble(plan: Plan) -> Iterator[_Look]:
    """Look at members and method wherever any are named, and at what an ensemble needs where it is used."""
    from tradewind.models.base import MODELS
    from tradewind.models.ensembles.base import COMBINERS, combiner_of

    section, used = plan.ensemble, ENSEMBLE in plan.models.all
    for name in section.members:
        if name == ENSEMBLE:
            yield "ensemble.members", _member_of_itself
        yield "ensemble.members", lambda name=name: MODELS.create(name)  # type: ignore[misc]
        yield "ensemble.members", lambda name=name: _has_classes(plan, name)  # type: ignore[misc]
    if used or section.members:
        yield "ensemble.members", lambda: _several(section.members)
    known = max(len(section.members), 2)
    yield "ensemble.method", lambda: COMBINERS.factory(section.method)
    yield "ensemble.parameters", lambda: combiner_of(section, plan.models.seed).start((1,), known)
    if plan.models.use == ENSEMBLE:
        yield "calibration.method", lambda: _calibrates_together(plan)


def _has_classes(plan: Plan, model: str) -> None:
    from tradewind.models.base import MODELS

    if getattr(MODELS.factory(model), "needs_classes", False) and not plan.labels.barriers:
        raise InputError(
            f"{model!r} learns which barrier is touched first, and there are no barrier labels",
            hint="set labels.barriers = true",
        )


def _is_traded(key: str) -> None:
    if key == "features.forecasts":
        raise InputError(
            "an ensemble cannot be a feature", hint="name its members: whoever learns from them weighs them"
        )


def _member_of_itself() -> None:
    raise InputError("an ensemble cannot be a member of itself", hint="name the models that it combines")


def _several(members: tuple[str, ...]) -> None:
    twice = [name for name in dict.fromkeys(members) if members.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} is named twice", hint="name every member once; weights say how much it counts")
    if len(members) < 2:
        raise InputError(
            f"an ensemble of {len(members)} member(s) has nothing to weigh",
            hint='name two or more models, e.g. members = ["scale_blend", "garch_t"]',
        )


def _calibrates_together(plan: Plan) -> None:
    from tradewind.calibration.blocked import is_blocked

    if is_blocked(plan.calibration.method):
        raise InputError(
            f"{plan.calibration.method!r} fits one model to blocks of its training rows, and an ensemble has no fit",
            hint='use calibration.method = "adaptive" or "none"',
        )


def _decision(plan: Plan) -> Iterator[_Look]:
    from tradewind.decisions.confidence import EVENTS
    from tradewind.decisions.signals import RULES, check

    decision = plan.decision
    yield "decision.rule", lambda: RULES.factory(decision.rule)
    yield "decision.event", lambda: EVENTS.factory(decision.event)
    key = "use_sentiment" if decision.use_sentiment else "strategy"
    yield f"decision.{key}", lambda: check(decision, plan.data.timeframe)
    yield "decision.horizon_bars", lambda: _forecast(plan)


def _forecast(plan: Plan) -> None:
    from tradewind.labels.horizons import resolve

    bars, horizons = plan.decision.horizon_bars, resolve(plan.labels, plan.data.timeframe)[0]
    if bars not in horizons:
        raise InputError(
            f"there is no forecast over {bars} bars",
            hint=f"set decision.horizon_bars to one of {list(horizons)}, or add {bars} to [labels]",
        )


def _books(plan: Plan) -> Iterator[_Look]:
    yield "long_short.book", lambda: _may_be_short(plan)
    yield "optimiser.use", lambda: _one_book(plan)
    yield "borrow.default_bps", lambda: _one_cost_of_borrowing(plan)


def _may_be_short(plan: Plan) -> None:
    book = plan.long_short.book
    if book == "none":
        return
    if not plan.execution.short_allowed:
        raise InputError(
            f"the {book} book sells short, and execution.short_allowed = false",
            hint='set execution.short_allowed = true, or long_short.book = "none"',
        )
    gross = min(plan.long_short.gross_max, plan.limits.gross_max, plan.execution.margin_leverage_max)
    if book == "one_thirty_thirty" and gross <= 1.0:
        raise InputError(
            f"a 130/30 book has a gross weight above 1, and {gross:g} is the most that may be held",
            hint="raise limits.gross_max, execution.margin_leverage_max and long_short.gross_max above 1, e.g. to 1.6",
        )


def _one_book(plan: Plan) -> None:
    if plan.optimiser.use and plan.long_short.book != "none":
        raise InputError(
            f"optimiser.use = true and long_short.book = {plan.long_short.book!r} both choose the weights",
            hint='set optimiser.use = false, or long_short.book = "none"',
        )


def _one_cost_of_borrowing(plan: Plan) -> None:
    said = plan.playbook.values.get("execution", {}).get("borrow_bps_per_year")
    if "borrow" in plan.playbook.values and said not in (None, plan.borrow.default_bps):
        raise InputError(
            f"execution.borrow_bps_per_year = {said} and borrow.default_bps = {plan.borrow.default_bps:g} both say "
            "what borrowing costs",
            hint="take out execution.borrow_bps_per_year: with a section [borrow] its default_bps is what is charged",
        )


def _tune(plan: Plan) -> Iterator[_Look]:
    """Look at the names alone: whether a range fits depends on flags, and is asked where a search begins."""
    from tradewind.evaluation.tuning.ranges import require_a_setting

    for key in plan.tune.ranges:
        yield f"tune.ranges.{key}", lambda key=key: require_a_setting(plan, key)  # type: ignore[misc]
