"""The models behind a walk-forward's newest forecasts, as artefacts: made, asked for forecasts again, and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.adaptive import Block, CalibratorState, ConformalCalibrator, became_known, calibrate
from tradewind.calibration.settings import CalibrationSection
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor, runs
from tradewind.evaluation.fold_cache import code_version, key_of, panel_digest
from tradewind.evaluation.forecast_quality import LEAST_DATES, quality_table, scores
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.features.scaling import scaler_from_dict
from tradewind.labels.splits import Fold
from tradewind.models import artefact as artefacts
from tradewind.models.artefact import Artefact
from tradewind.models.base import Windows
from tradewind.models.forecast import GRID, Forecast
from tradewind.models.state import UnstorableError, pack, unpack
from tradewind.stats.significance import diebold_mariano

if TYPE_CHECKING:
    from tradewind.evaluation.corridor import FittedFold, World
    from tradewind.market.store.lake import Pin

LAST_BITS = 1e-3 * GRID
"""How far products of matrices on several threads may be apart: a thousandth of the grid that decisions are made on."""

SHOWN = ("pinball", "pinball_skill", "dm_p", "crps", "coverage_80", "ic", "rank_ic", "n")
"""What of a model's scores is stored with it."""


def artefact_id(world: World, name: str, folds: Sequence[Fold]) -> str:
    """Return the id of the last fold's model: readable, and the same for the same walk over the same bars.

    The folds before it are part of it: the calibrator remembers them, and the scores are of all.
    """
    plan, fold = world.plan, folds[-1]
    walked = [[int(row) for row in (one.train[0], one.train[-1], one.test[0])] for one in folds]
    parts = [
        key_of(world, name, fold),
        walked,
        plan.lineage,
        plan.data.source,
        _calibration(world).model_dump_json(),
    ]
    until = str(world.panel.times[int(fold.test[0]) - 1])[:10].replace("-", "")
    return f"{name}-{until}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}"


def store(
    registry: ModelRegistry,
    world: World,
    fitted: FittedFold,
    folds: Sequence[Fold],
    own: Forecast,
    naive: Forecast,
    pin: Pin,
) -> Artefact:
    """Write the last fold's model with everything that is needed to use and to judge it, and enter it in the records.

    Parameters
    ----------
    own, naive
        Out-of-sample forecasts of the walk, uncalibrated: the model's, and those that it is judged by.
    pin
        What of the store was read.

    Raises
    ------
    UnstorableError
        Parts of the model cannot be stored, or it would not forecast what it did once it is read back.
    """
    name, fold = fitted.model.name, folds[-1]
    _require_same_answers(fitted, fold, own.version)
    section = _calibration(world)
    row = int(fold.test[0])
    calibrated, _ = calibrate(own, world.labels, section)
    arrays = {f"track/{key}": value for key, value in _track(calibrated, world).items()}
    remembered = None
    if section.method == "adaptive":
        state = _calibrator_state(own, world, section, row)
        arrays |= {f"calibrator/{key}": np.asarray(value) for key, value in vars(state).items()}
        remembered = {"settings": section.model_dump(mode="json"), "symbols": list(world.panel.symbols)}
    card = {
        "model": name,
        "version": own.version,
        "parameters": dict(fitted.parameters),
        "features": list(fitted.shown.features.names),
        "question": {
            "timeframe": world.panel.timeframe,
            "horizons_bars": list(world.labels.horizons),
            "levels": list(own.levels),
            "classes": world.labels.classes is not None,
        },
        "scaler": None if fitted.scaler is None else fitted.scaler.to_dict(),
        "calibrator": remembered,
        "metrics": _metrics(calibrated, naive, world),
        "manifest": _manifest(registry, world, fitted, row, pin),
        "explanation": dict(own.explanation),
    }
    folder = registry.folder / artefact_id(world, name, folds)
    kept = artefacts.write(folder, fitted.model, json.loads(json.dumps(card, default=str)), arrays)
    registry.add(kept)
    return kept


def forecast_with(artefact: Artefact, world: World, predict: Callable[[Windows], Forecast]) -> Forecast:
    """Forecast every bar after the training, calibrated on from what the calibrator remembered then.

    Where it remembered nothing (no calibration, or by blocks of a fold's training rows) they are as the model says.

    Parameters
    ----------
    world
        Of the playbook that the model was trained for, with bars after its training.
    predict
        The artefact's model's, or what answers in its place.

    Raises
    ------
    DataError
        Other features or horizons than it was trained with, or no bar after its training that could be forecast.
    """
    made, row = uncalibrated_with(artefact, world, predict)
    return _calibrated_on(artefact, world, made, row)


def uncalibrated_with(artefact: Artefact, world: World, predict: Callable[[Windows], Forecast]) -> tuple[Forecast, int]:
    """Forecast every bar after the training as the model says it, and say which row the first of them is.

    Raises as :func:`forecast_with`.
    """
    row = first_unseen_row(artefact, world)
    if row >= len(world.panel):
        until = artefact.card["manifest"]["trained_until"]
        raise DataError(
            f"no bar after {until}, up to which {artefact.id} was trained",
            hint="sync newer bars: `tradewind sync PLAYBOOK`",
        )
    rows = np.arange(row, len(world.panel))
    asked = corridor.windows(scaled_as(artefact, world), rows)
    if not asked.rows.size:
        until = artefact.card["manifest"]["trained_until"]
        raise DataError(f"no symbol belongs to the universe after {until}, up to which {artefact.id} was trained")
    return predict(asked).at(world.panel.times[rows]), row


def first_unseen_row(artefact: Artefact, world: World) -> int:
    """Return the row of the first bar after those that a model was trained on, the last of their outcomes included."""
    until = np.datetime64(artefact.card["manifest"]["trained_until"].removesuffix("+00:00"))
    return int(np.searchsorted(world.panel.times, until, side="right"))


def scaled_as(artefact: Artefact, world: World) -> World:
    """Return the world with its features as the model was shown them; ``DataError`` where they are others."""
    _require_same(artefact.card, world)
    stored = artefact.card["scaler"]
    if stored is None:
        return world
    return replace(world, features=scaler_from_dict(stored).transform(world.features))


def compared(first: Artefact, second: Artefact) -> dict[str, Any]:
    """Return how two models did on the dates and symbols that both forecast out of sample, by horizon.

    ``pinball`` of each after calibration, date means; the share of it that the second saves, and the two-sided
    Diebold-Mariano p-value that they are as good; None where they share fewer than 50 dates.

    Raises
    ------
    InputError
        They forecast bars of another length, or other levels: their losses are not of one kind.
    """
    _require_comparable(first, second)
    times = np.intersect1d(first.arrays["track/times"], second.arrays["track/times"])
    symbols = [s for s in first.card["manifest"]["symbols"] if s in second.card["manifest"]["symbols"]]
    tracks = [_losses(one, times, symbols) for one in (first, second)]
    found: dict[str, Any] = {}
    for horizon in (h for h in tracks[0] if h in tracks[1]):
        losses = [track[horizon] for track in tracks]
        both = np.isfinite(losses[0]) & np.isfinite(losses[1])
        known = both.any(axis=1)
        a, b = (np.nanmean(np.where(both, one, np.nan)[known], axis=1) for one in losses)
        enough = int(known.sum()) >= LEAST_DATES
        found[str(horizon)] = {
            "dates": int(known.sum()),
            "pinball": [float(a.mean()), float(b.mean())] if known.any() else None,
            "saved_by_second": float(1 - b.mean() / a.mean()) if known.any() else None,
            "dm_p": diebold_mariano(a, b, horizon).p_value if enough and np.ptp(a - b) > 0 else None,
        }
    same = first.card["manifest"]["data_version"] == second.card["manifest"]["data_version"]
    return {
        "models": [first.id, second.id],
        "same_data": same,
        "symbols": len(symbols),
        "horizons": found,
        "differences": _differences(first.card, second.card),
    }


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the settings is not the same, as pairs."""
    found = {}
    for key in ("model", "version", "parameters", "question", "scaler"):
        if first[key] != second[key]:
            found[key] = [first[key], second[key]]
    listed = {"features": [one["features"] for one in (first, second)]}
    listed |= {"symbols": [one["manifest"]["symbols"] for one in (first, second)]}
    for key, (old, new) in listed.items():
        if set(old) != set(new):
            found[key] = [sorted(set(old) - set(new)), sorted(set(new) - set(old))]
    return found


def _require_comparable(first: Artefact, second: Artefact) -> None:
    for key in ("timeframe", "levels"):
        asked = [one.card["question"][key] for one in (first, second)]
        if asked[0] != asked[1]:
            raise InputError(f"{first.id} and {second.id} differ in {key}: {asked[0]} and {asked[1]}; no comparison")


def _losses(artefact: Artefact, times: NDArray[np.int64], symbols: Sequence[str]) -> dict[int, NDArray[np.float64]]:
    """Return the pinball losses at some of the artefact's times and symbols, by horizon."""
    rows = np.searchsorted(artefact.arrays["track/times"], times)
    known = artefact.card["manifest"]["symbols"]
    columns = [known.index(symbol) for symbol in symbols]
    losses = artefact.arrays["track/pinball"][rows][:, columns].astype(np.float64)
    return {h: losses[:, :, i] for i, h in enumerate(artefact.card["question"]["horizons_bars"])}


def _require_same_answers(fitted: FittedFold, fold: Fold, version: str) -> None:
    """Raise ``UnstorableError`` where the model is not the one that forecast, or forecasts otherwise once read back."""
    name = fitted.model.name
    if (found := getattr(fitted.model, "version_", version)) != version:
        raise UnstorableError(
            f"{name!r} fitted again is another model (version {found}, its forecasts are of {version})",
            hint="its training does not repeat: give it a seed, one thread, the CPU",
        )
    try:
        again = unpack(name, fitted.parameters, pack(fitted.model), trust_pickle=True)
        answers = [replace(fitted, model=one).ask(fold.test[-1:]).arrays for one in (fitted.model, again)]
    except (DataError, AttributeError) as failure:
        raise UnstorableError(f"{name!r} does not come back from its stored parts: {failure}") from failure
    pairs = zip(*(x.values() for x in answers), strict=True)
    if not all(np.allclose(a, b, rtol=0.0, atol=LAST_BITS, equal_nan=True) for a, b in pairs):
        raise UnstorableError(
            f"{name!r} forecasts otherwise once it is read back: parts of it are not stored",
            hint="keep what is learnt in attributes whose names end in an underscore",
        )


def _calibration(world: World) -> CalibrationSection:
    """Return the plan's calibration where it is online; block methods are of a fold, and nothing outlives it."""
    settings = world.plan.calibration
    return settings if settings.method == "adaptive" else settings.model_copy(update={"method": "none"})


def _calibrator_state(made: Forecast, world: World, section: CalibrationSection, row: int) -> CalibratorState:
    """Return what the online calibrator remembers before a row."""
    calibrator = ConformalCalibrator(section, made.horizons, made.levels)
    outcomes = became_known(world.labels.returns, made.horizons)
    start = calibrator.initial_state(len(made.symbols))
    return calibrator.step(start, Block(made.quantiles[:row], outcomes[:row]))[0]


def _calibrated_on(artefact: Artefact, world: World, made: Forecast, row: int) -> Forecast:
    remembered = artefact.card["calibrator"]
    if remembered is None:
        return made
    symbols = tuple(remembered["symbols"])
    if symbols != made.symbols:
        changed = sorted(set(symbols) ^ set(made.symbols)) or ["their order"]
        raise DataError(
            f"the calibrator of {artefact.id} remembers other symbols: {', '.join(changed[:5])} differ",
            hint="train it again on the symbols of today: `tradewind train PLAYBOOK`",
        )
    calibrator = ConformalCalibrator(CalibrationSection(**remembered["settings"]), made.horizons, made.levels)
    kept = {k.removeprefix("calibrator/"): v for k, v in artefact.arrays.items() if k.startswith("calibrator/")}
    state = CalibratorState(**{**kept, "bars": int(kept["bars"])})  # type: ignore[arg-type]
    outcomes = became_known(world.labels.returns, made.horizons)[row:]
    _, quantiles = calibrator.step(state, Block(made.quantiles, outcomes))
    return replace(made, quantiles=quantiles)


def _require_same(card: Mapping[str, Any], world: World) -> None:
    wanted, given = card["features"], list(world.features.names)
    if wanted != given:
        changed = sorted(set(wanted) ^ set(given)) or ["their order"]
        raise DataError(
            f"the model was trained on other features: {', '.join(changed[:5])} differ",
            hint="give it the playbook that it was trained with, or train it again",
        )
    horizons, frame = list(world.labels.horizons), world.panel.timeframe
    question = card["question"]
    if (question["horizons_bars"], question["timeframe"]) != (horizons, frame):
        raise DataError(
            f"the model answers horizons of {question['horizons_bars']} bars of {question['timeframe']}, "
            f"asked for {horizons} of {frame}"
        )


def _track(calibrated: Forecast, world: World) -> dict[str, NDArray[Any]]:
    """Return the times and the pinball losses ``(T, N, H)`` of the dates that were forecast, in single precision."""
    horizons = range(len(calibrated.horizons))
    losses = np.stack([scores(calibrated, world.labels.returns[:, :, i], i).losses for i in horizons], axis=-1)
    rows = np.flatnonzero(np.isfinite(losses).any(axis=(1, 2)))
    times = world.panel.times[rows].astype("datetime64[us]").astype(np.int64)
    return {"times": times, "pinball": losses[rows].astype(np.float32)}


def _metrics(calibrated: Forecast, naive: Forecast, world: World) -> dict[str, dict[str, Any]]:
    """Return the scores of a calibrated forecast by horizon, None where there is none.

    The naive forecast is taken as it is, uncalibrated, as in a back-test's report.
    """
    made = {"own": calibrated, "naive": naive}
    table = quality_table(made, world.labels.returns, "naive", world.labels.horizons)["own"]
    return {h: {key: _finite(row[key]) for key in SHOWN} for h, row in table.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _manifest(registry: ModelRegistry, world: World, fitted: FittedFold, row: int, pin: Pin) -> dict[str, Any]:
    plan, shown = world.plan, fitted.shown
    return {
        "made": registry.clock.now().isoformat(),
        "lineage": plan.lineage,
        "playbook": runs.playbook_record(plan.playbook),
        "source": plan.data.source,
        "data_version": panel_digest(world.panel),
        "pin": pin.to_dict(),
        "trained_from": _iso(world.panel.times[int(shown.rows.min())]),
        "trained_until": _iso(world.panel.times[row - 1]),
        "judged_until": _iso(world.panel.times[-1]),
        "samples": len(shown.rows),
        "symbols": list(world.panel.symbols),
        "seed": plan.models.seed,
        "code": code_version(),
        "environment": runs.environment(),
        "flags": list(world.panel.flags),
        "notes": list(world.notes),
    }


def _iso(time: np.datetime64) -> str:
    return time.astype("datetime64[us]").item().replace(tzinfo=UTC).isoformat()
