"""Planted changes: how soon the monitor sees them, what follows, and how often it speaks where nothing was planted.

History is cut into lives of a model: a training part and the bars after it, one after the other. Each is lived twice,
as it was and with a change from a bar on, by the same monitor as runs live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.live.drift_concept import ConceptReference, concept_reference, outcomes
from tradewind.live.drift_monitor import DriftMonitor, DriftReading
from tradewind.live.drift_reaction import Reaction, reaction
from tradewind.live.drift_reference import drift_reference
from tradewind.live.settings_drift import DriftSection
from tradewind.stats.losses import pinball
from tradewind.stats.proportion import clustered_wilson, wilson

FloatArray = NDArray[np.float64]
Table = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
Change = Literal[
    "mean_shift",
    "variance",
    "correlation",
    "mirrored_features",
    "sign_flip",
    "dead_feature",
    "missing_feature",
    "broken_champion",
]

CHANGES: Final[tuple[Change, ...]] = get_args(Change)
USUAL_SIZE: Final[Mapping[Change, float]] = {"mean_shift": 2.0, "variance": 3.0, "broken_champion": 0.5}
"""Deviations by which a mean moves; factor of a deviation; spreads by which forecasts err."""

OF_RESULTS: Final[tuple[Change, ...]] = ("sign_flip", "broken_champion")
"""Changes that show in forecasts and their outcomes alone."""

LIVES_MOST: Final = 12
_OF_LIFE: Final = 3
_ROWS, _VALUES = 50, 30


@dataclass(frozen=True, eq=False)
class Said:
    """What a model said out of sample.

    Attributes
    ----------
    quantiles
        ``(T, N, H, Q)`` log returns, NaN where it said nothing.
    again
        Asks it anew with other features ``(T, N, F)``; None: it says the same whatever the features are.
    """

    quantiles: FloatArray
    again: Callable[[Table], FloatArray] | None = None

    def under(self, features: Table) -> FloatArray:
        """Return what it says where these are the features."""
        return self.quantiles if self.again is None else self.again(features)


@dataclass(frozen=True, eq=False)
class History:
    """What a simulation lives through: as a world has it.

    Attributes
    ----------
    times, names, features
        ``(T,)`` closes, UTC; ``F`` names; ``(T, N, F)``.
    returns, horizons, levels
        ``(T, N, H)`` outcomes by the bar of the forecast, horizons in bars, and levels of the quantiles.
    champion, previous
        What two models said; None: nothing is known of one.
    """

    times: NDArray[np.datetime64]
    names: tuple[str, ...]
    features: Table
    returns: FloatArray | None = None
    horizons: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    champion: Said | None = None
    previous: Said | None = None


@dataclass(frozen=True, slots=True)
class Planted:
    """A change: its kind, how large it is, the share of the features that it is of, and after how many bars of a life.

    ``share`` None: all features that take many values, or one of them where features die.
    """

    change: Change
    size: float | None = None
    share: float | None = None
    after_bars: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Life:
    """Rows: the training part and the bars lived."""

    first: int
    start: int
    stop: int


def simulate(
    history: History,
    planted: Planted,
    *,
    train_bars: int,
    life_bars: int,
    window_bars: int,
    settings: DriftSection | None = None,
    lives_most: int = LIVES_MOST,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Plant a change into lives of a model, and count: :func:`simulate_all` of one change."""
    [found] = simulate_all(
        history,
        [planted],
        train_bars=train_bars,
        life_bars=life_bars,
        window_bars=window_bars,
        settings=settings,
        lives_most=lives_most,
        progress=progress,
    )
    return found


def simulate_all(
    history: History,
    changes: Sequence[Planted],
    *,
    train_bars: int,
    life_bars: int,
    window_bars: int,
    settings: DriftSection | None = None,
    lives_most: int = LIVES_MOST,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Plant changes into the same lives of a model, each by itself, and count.

    Parameters
    ----------
    train_bars, life_bars
        Bars before each life that its monitor learns from, and bars of a life: as long as until the next retraining.
    window_bars
        Bars of the monitor's window.
    lives_most
        Lives that are lived at most, evenly spread over history, the newest among them.

    Returns
    -------
    Of each change, JSON-able. Of the newest life: ``detected`` (level ``drift`` at a bar at which it was not without
    the change), ``delay_bars`` from the change to that reading, ``rolled_back`` (and ``rolled_back_after_bars`` from
    the change) and the reaction's ``action``, ``reasons`` and ``evidence``. Of all ``lives``: ``false_alarm_rate``, the
    share of windows (``windows`` that do not overlap) without a change in which the level was ever ``drift``,
    ``false_alarm_lives``, the share of such lives, with ``detected_share`` and ``delay_bars_median`` of those with a
    change; the same for ``watch`` or more under ``watch``. ``…_interval`` are 95 % intervals (Wilson 1927): lives do
    not overlap and count as independent, windows of one life do not. ``rolled_back_share`` and
    ``rolled_back_without_change_share`` are of the lives, too.

    Nothing of a life has set its thresholds: they come from the bars before it.

    Lives of whose champion too little is known by then are left out where the change shows in its results alone
    (:data:`OF_RESULTS`), and counted under ``lives_left_out``.

    Raises
    ------
    InputError
        An unknown change, or one that needs forecasts where there are none.
    DataError
        History is too short for a life, or nothing is known of the champion before any.
    """
    settings = settings or DriftSection()
    for planted in changes:
        _check(history, planted, life_bars)
    lives = _lives(len(history.times), train_bars, life_bars, lives_most)
    found: list[list[tuple[_Life, _Found]]] = [[] for _ in changes]
    for done, life in enumerate(lives):
        if progress is not None:
            progress("lives of a model", done, len(lives))
        quiet = _quiet(history, life, life_bars, window_bars, settings)
        for planted, kept in zip(changes, found, strict=True):
            if planted.change not in OF_RESULTS or quiet.monitor.expected is not None:
                kept.append((life, _lived(history, planted, life, quiet)))
    told = [_told(history, planted, kept, len(lives)) for planted, kept in zip(changes, found, strict=True)]
    asked = {"train_bars": train_bars, "life_bars": life_bars, "window_bars": window_bars}
    return [{**one, **asked} for one in told]


def _told(history: History, planted: Planted, kept: list[tuple[_Life, _Found]], lives: int) -> dict[str, Any]:
    if not kept:
        raise DataError(
            f"none of {lives} lives has a champion whose outcomes are known from before it",
            hint="forecast more of the history out of sample, or take more of it",
        )
    last, newest = kept[-1]
    found = [one for _, one in kept]
    return {
        "change": planted.change,
        "size": _size(planted) if planted.change in USUAL_SIZE else None,
        "share": planted.share,
        "lives": len(found),
        "lives_left_out": lives - len(found),
        "symbols": history.features.shape[1],
        "features": len(history.names),
        "changed_at": str(history.times[last.start + newest.after])[:19] + "Z",
        "level": newest.level,
        "what": newest.what,
        "action": newest.reaction.action if newest.reaction else "none",
        "reasons": list(newest.reaction.reasons) if newest.reaction else [],
        "evidence": dict(newest.reaction.evidence) if newest.reaction else {},
        "windows": sum(len(one.alarms) for one in found),
        "watch": _counted([(one.watch_delay, one.watch_alarms) for one in found]),
        **_counted([(one.delay, one.alarms) for one in found]),
        "detected": newest.delay is not None,
        "delay_bars": newest.delay,
        "rolled_back_after_bars": newest.back,
        "rolled_back": newest.back is not None,
        "rolled_back_share": float(np.mean([one.back is not None for one in found])),
        "rolled_back_without_change_share": float(np.mean([one.quiet_back is not None for one in found])),
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """Of one life: delays of ``drift`` and ``watch`` with the change, windows that read so without it, and the end.

    ``after``: bars until the change. ``back`` and ``quiet_back``: bars from it until the previous champion took over,
    and from the beginning until it did so without a change.
    """

    after: int
    delay: int | None
    alarms: list[bool]
    watch_delay: int | None
    watch_alarms: list[bool]
    level: str
    what: str
    reaction: Reaction | None
    back: int | None
    quiet_back: int | None


def _counted(lives: list[tuple[int | None, list[bool]]]) -> dict[str, Any]:
    delays = [delay for delay, _ in lives if delay is not None]
    seen, spoke = len(delays) / len(lives), float(np.mean([any(alarms) for _, alarms in lives]))
    return {
        "detected_share": seen,
        "detected_interval": _interval(seen, len(lives)),
        "delay_bars_median": float(np.median(delays)) if delays else None,
        "false_alarm_lives": spoke,
        "false_alarm_lives_interval": _interval(spoke, len(lives)),
        "false_alarm_rate": float(np.mean([alarm for _, alarms in lives for alarm in alarms])),
        "false_alarm_interval": list(
            clustered_wilson([sum(alarms) for _, alarms in lives], [len(alarms) for _, alarms in lives])
        ),
    }


def _interval(share: float, count: int) -> list[float]:
    return [float(end) for end in wilson(share, count)]


def _check(history: History, planted: Planted, life_bars: int) -> None:
    if planted.change not in CHANGES:
        raise did_you_mean("change", planted.change, CHANGES)
    if planted.change in OF_RESULTS and (history.champion is None or history.returns is None):
        raise InputError(f"{planted.change} shows in forecasts and their outcomes alone, and there are none")
    if planted.share is not None and not 0.0 < planted.share <= 1.0:
        raise InputError(f"a change of {planted.share:g} of the features cannot be planted, 0 < share <= 1")
    if not 0 <= _after(planted, life_bars) < life_bars:
        raise InputError(f"a change after {planted.after_bars} bars does not come within a life of {life_bars}")


def _after(planted: Planted, life_bars: int) -> int:
    return life_bars // _OF_LIFE if planted.after_bars is None else planted.after_bars


def _lives(bars: int, train: int, life: int, most: int) -> list[_Life]:
    starts = range(bars - life, train - 1, -life)
    if not starts:
        raise DataError(
            f"{bars} bars are too few for {train} bars of training and a life of {life}",
            hint="train on fewer bars, retrain more often, or take more history",
        )
    kept = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int))
    return [_Life(starts[i] - train, starts[i], starts[i] + life) for i in kept[::-1]]


@dataclass(frozen=True, eq=False)
class _Quiet:
    """A life without a change: its monitor, what that said, and when the previous champion took over all the same."""

    monitor: DriftMonitor
    readings: list[DriftReading]
    back: int | None


def _quiet(history: History, life: _Life, life_bars: int, window_bars: int, settings: DriftSection) -> _Quiet:
    training = history.features[life.first : life.start]
    reference = drift_reference(training, history.names, window_bars, life_bars, settings)
    monitor = DriftMonitor(reference, _expected(history, life, life_bars, settings), settings)
    readings = list(_readings(monitor, history, life))
    spoke = next((row for row, one in enumerate(readings) if one.level == "drift"), None)
    back, _ = (None, None) if spoke is None else _reacted(history, readings, spoke, life, settings)
    return _Quiet(monitor, readings, back)


def _lived(history: History, planted: Planted, life: _Life, without: _Quiet) -> _Found:
    """Live once more, with the change."""
    reference, settings, quiet = without.monitor.reference, without.monitor.settings, without.readings
    window_bars = reference.window_bars
    before = _after(planted, len(quiet))
    changed = with_change(history, planted, life.start + before, reference.deviation, reference.mean)
    loud = list(_readings(without.monitor, changed, life))
    delay, watch_delay = (_delay(loud, quiet, before, levels) for levels in (("drift",), ("drift", "watch")))
    end = loud[before + delay] if delay is not None else loud[-1]
    back, reacted = (None, None) if delay is None else _reacted(changed, loud, before + delay, life, settings)
    return _Found(
        before,
        delay,
        _windows([one.level == "drift" for one in quiet], window_bars),
        watch_delay,
        _windows([one.level != "ok" for one in quiet], window_bars),
        end.level,
        end.what,
        reacted,
        None if back is None else back - before,
        without.back,
    )


def _windows(reached: list[bool], window_bars: int) -> list[bool]:
    return [any(reached[row : row + window_bars]) for row in range(0, len(reached), window_bars)]


def _delay(readings: list[DriftReading], quiet: list[DriftReading], before: int, levels: tuple[str, ...]) -> int | None:
    """Return after how many bars one of the levels is first reached at a bar at which it is not without the change."""
    pairs = zip(readings[before:], quiet[before:], strict=True)
    return next(
        (row for row, (one, other) in enumerate(pairs) if one.level in levels and other.level not in levels), None
    )


def _expected(history: History, life: _Life, life_bars: int, settings: DriftSection) -> ConceptReference | None:
    """Return what the champion was worth on the bars of the training part; None where it said too little."""
    known = _known(history, life.first, life.start, settings)
    if known is None:
        return None
    try:
        return concept_reference(known, max(history.horizons), life_bars, settings)
    except DataError:
        return None


def _known(history: History, first: int, stop: int, settings: DriftSection) -> FloatArray | None:
    """Return what became known of the champion's forecasts at each bar from ``first`` on."""
    if history.champion is None or history.returns is None:
        return None
    before = max(0, first - max(history.horizons))
    rows = slice(before, stop)
    quantiles = history.champion.quantiles[rows]
    return outcomes(quantiles, history.levels, history.returns[rows], history.horizons, settings.coverage)[
        first - before :
    ]


def _readings(monitor: DriftMonitor, history: History, life: _Life) -> Iterator[DriftReading]:
    state = monitor.start(history.features.shape[1], history.features[life.first : life.start])
    rows = slice(life.start, life.stop)
    known = _known(history, life.start, life.stop, monitor.settings)
    _, readings = monitor.step(state, history.times[rows], history.features[rows], known)
    yield from readings


def _reacted(
    history: History, readings: list[DriftReading], first: int, life: _Life, settings: DriftSection
) -> tuple[int | None, Reaction]:
    """Return when the previous champion takes over and why; else None, and why recommendations stop.

    Asked at each bar from the first that reads drift until one does not.
    """
    horizon = max(history.horizons, default=1)
    newest: Reaction | None = None
    for row in range(first, len(readings)):
        if readings[row].level != "drift":
            break
        recent, now = readings[row].recent_bars, life.start + row
        champion, previous = (_losses(history, said, now, recent) for said in (history.champion, history.previous))
        newest = reaction(readings[row], champion, previous, settings, horizon_bars=horizon)
        if newest.action == "rolled_back":
            return row, newest
    assert newest is not None, "the first reading is one of drift"
    return None, newest


def _losses(history: History, said: Said | None, row: int, recent_bars: int) -> FloatArray | None:
    """Return the losses of forecasts whose outcome came with one of the newest bars up to ``row``, ``(T, N, H)``."""
    if said is None or history.returns is None:
        return None
    first = max(0, row + 1 - recent_bars - max(history.horizons))
    rows = slice(first, row + 1)
    loss = pinball(history.returns[rows], said.quantiles[rows], history.levels).mean(axis=-1)
    for column, horizon in enumerate(history.horizons):
        came = np.arange(first, row + 1) + horizon
        loss[(came > row) | (came <= row - recent_bars), :, column] = np.nan
    return np.asarray(loss)


def with_change(history: History, planted: Planted, row: int, deviation: FloatArray, mean: FloatArray) -> History:
    """Return the history with the change from bar ``row`` on; mean and deviation of the features are its measure.

    ``mean_shift``: features move by so many deviations. ``variance``: they and the outcomes lie so many times as far
    from their means. ``correlation``: each feature takes its own values of another time within the changed part, so
    that it looks as before by itself. ``mirrored_features``: they lie on the other side of their means. ``sign_flip``:
    what went up goes down; features stay. ``dead_feature``: keeps its last value. ``missing_feature``: has none.
    ``broken_champion``: the champion's distributions lie so many of their own spreads (of the outermost quantiles) to
    the side, as after a bad file; nothing else changes.
    """
    draw = np.random.default_rng(planted.seed)
    columns = _columns(planted, history.features[row:], draw)
    features = history.features.copy()
    part = features[row:]
    make = _MAKERS.get(planted.change)
    if make is not None:
        part[:, :, columns] = make(features, row, columns, _size(planted), deviation[columns], mean[columns], draw)
    returns = None if history.returns is None else history.returns.copy()
    if returns is not None and planted.change == "variance":
        returns[row:] *= _size(planted)
    if returns is not None and planted.change == "sign_flip":
        returns[row:] *= -1.0
    champion, previous = _again(history.champion, features), _again(history.previous, features)
    if champion is not None and planted.change == "broken_champion":
        champion = _broken(champion, row, _size(planted))
    return replace(history, features=features, returns=returns, champion=champion, previous=previous)


def _again(said: Said | None, features: Table) -> Said | None:
    return None if said is None else Said(said.under(features), said.again)


def _broken(said: Said, row: int, size: float) -> Said:
    quantiles = said.quantiles.copy()
    part = quantiles[row:]
    part += size * (part[..., -1:] - part[..., :1])
    return Said(quantiles)


def _columns(planted: Planted, part: Table, draw: np.random.Generator) -> NDArray[np.int64]:
    """Draw the features to change among those that take many values: days of the week have no other mean."""
    rows = part[:: max(1, len(part) // _ROWS)].reshape(-1, part.shape[-1])
    many = np.array([len(np.unique(column[np.isfinite(column)])) >= _VALUES for column in rows.T])
    among = np.flatnonzero(many) if many.any() else np.arange(part.shape[-1])
    dying = planted.change in ("dead_feature", "missing_feature")
    share = planted.share if planted.share is not None else (0.0 if dying else 1.0)
    return np.sort(draw.choice(among, max(1, round(share * len(among))), replace=False))


def _size(planted: Planted) -> float:
    return USUAL_SIZE.get(planted.change, 1.0) if planted.size is None else planted.size


def _moved(
    features: Table, row: int, columns: NDArray[np.int64], size: Any, deviation: FloatArray, _mean: Any, _draw: Any
) -> FloatArray:
    return np.asarray(features[row:, :, columns] + size * deviation)


def _spread(
    features: Table, row: int, columns: NDArray[np.int64], size: Any, _deviation: Any, mean: FloatArray, _draw: Any
) -> FloatArray:
    return np.asarray(mean + (features[row:, :, columns] - mean) * size)


def _shuffled(
    features: Table, row: int, columns: NDArray[np.int64], _size: Any, _dev: Any, _mean: Any, draw: np.random.Generator
) -> Table:
    part = features[row:, :, columns]
    shifts = draw.integers(1, max(len(part), 2), size=len(columns))
    return np.stack([np.roll(part[:, :, i], shift, axis=0) for i, shift in enumerate(shifts)], axis=-1)


def _mirrored(
    features: Table, row: int, columns: NDArray[np.int64], _size: Any, _deviation: Any, mean: FloatArray, _draw: Any
) -> FloatArray:
    return np.asarray(2.0 * mean - features[row:, :, columns])


def _kept(
    features: Table, row: int, columns: NDArray[np.int64], _size: Any, _dev: Any, _mean: Any, _draw: Any, *, known: bool
) -> Table:
    shape = (len(features) - row, features.shape[1], len(columns))
    return np.broadcast_to(features[max(row - 1, 0), :, columns].T if known else np.float32(np.nan), shape)


_MAKERS: Final[Mapping[Change, Callable[..., Any]]] = {
    "mean_shift": _moved,
    "variance": _spread,
    "correlation": _shuffled,
    "mirrored_features": _mirrored,
    "dead_feature": partial(_kept, known=True),
    "missing_feature": partial(_kept, known=False),
}
