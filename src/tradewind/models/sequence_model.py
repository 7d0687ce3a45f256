"""Networks behind the model protocol: parameters that all of them share, fitting, forecasting, explaining.

PyTorch is imported when a network is fitted, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.models.assembly import assemble, content_hash, feature_names, settings_of, top_importance, training_id
from tradewind.models.base import Origin, Windows
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.naive import naive_scale

if TYPE_CHECKING:
    from torch import Tensor

    from tradewind.models.artefact import Artefact
    from tradewind.models.networks.export import Exported
    from tradewind.models.networks.forecaster import Fitted, Reading, Targets
    from tradewind.models.networks.network import Network, Outputs, Shape
    from tradewind.models.networks.stepping import SequenceStepper
    from tradewind.models.networks.training import Auxiliary, Progress, Schedule

FloatArray = NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class SequenceModel:
    """Base of forecasters that are networks over windows of bars; subclasses build theirs.

    A sample is read as the last ``window_bars`` bars of the playbook's features and of the bar itself, every channel in
    units of its symbol's own past. Targets are log returns in units of the causal volatility over each horizon. With
    barrier labels the network also learns the three classes. It stops when the later part of the training bars, purged
    of overlap, is no longer told better.

    Parameters
    ----------
    window_bars, least_share
        Bars of a window, and the least share of them that a symbol must have to be forecast.
    half_life_bars
        Half-life of the scaling of inputs.
    epochs, patience, epoch_windows, batch_windows, run_windows, run_stride_bars
    learning_rate, weight_decay, clip_norm, averaging
        See :class:`tradewind.models.networks.training.Schedule`; ``run_windows = 1`` trains on random windows.
    late_share
        Share of the training bars, the last ones, that stop the training.
    huber
        Weight of the Huber loss of the median beside the pinball loss.
    seeds
        Networks trained from different seeds; their answers are averaged.
    start_from
        Folder of a stored model of the same kind whose weights the training goes on from (fine-tuning on another sector
        or universe); it may not have seen bars after the training's last one.
    device
        ``auto``, ``cpu`` or ``cuda``.
    levels, threads, seed
        Quantile levels, threads of torch, first seed.
    """

    name: ClassVar[str] = ""
    path: ClassVar[bool] = False
    whole_dates: ClassVar[bool] = False
    window_bars: int = 60
    least_share: float = 0.5
    half_life_bars: float = 126.0
    epochs: int = 16
    patience: int = 4
    epoch_windows: int = 8_000
    batch_windows: int = 512
    run_windows: int = 16
    run_stride_bars: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    averaging: float = 0.98
    late_share: float = 0.15
    huber: float = 0.0
    seeds: int = 1
    start_from: str = ""
    device: str = "auto"
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0
    _around: dict[str, Any] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; keep the levels as a tuple, whatever a playbook wrote."""
        self.levels = tuple(self.levels)
        if list(self.levels) != sorted({*self.levels}) or self.levels[len(self.levels) // 2] != 0.5:
            raise InputError(f"levels {self.levels} of {self.name!r} must rise, the middle one 0.5")
        if not (self.levels[0] > 0 and self.levels[-1] < 1):
            raise InputError(f"levels {self.levels} of {self.name!r} must lie between 0 and 1")
        if self.window_bars < 2:
            raise InputError(f"window_bars = {self.window_bars} is no sequence", hint="give it 2 bars or more")
        if not 0 < self.least_share <= 1 or not 0 < self.late_share < 1:
            raise InputError("least_share and late_share must lie between 0 and 1")
        if not self.half_life_bars > 0 or min(self.weight_decay, self.huber) < 0 or not 0 <= self.averaging < 1:
            raise InputError("half_life_bars must be above 0, weight_decay and huber not below 0, averaging in [0, 1)")
        if self.seeds < 1:
            raise InputError(f"seeds = {self.seeds} must be 1 or more")

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        raise NotImplementedError

    def resume_in(self, folder: Path | None, progress: Progress) -> None:
        """See :class:`tradewind.models.base.Resumable`; checkpoints go once the training is done."""
        self._around = {"folder": folder, "progress": progress}

    def fit(self, windows: Windows) -> Self:
        """Train; see :func:`tradewind.models.networks.training.train` for what it raises."""
        torch_is_there(self.name)
        from tradewind.models.networks.forecaster import fit_networks
        from tradewind.models.networks.sequences import require_window
        from tradewind.models.networks.training import device_of, silent, threads

        feature_names(windows, self.name)
        require_window(windows, self.window_bars, model=self.name)
        parent = self._parent(windows)
        parents = [] if parent is None else [parent.digest]
        identity = content_hash(self.name, self._settings(), *parents, *_shown(windows))
        key = content_hash(identity, code_digest())
        with threads(self.threads):
            self.fitted_ = fit_networks(
                self.network,
                windows,
                self._targets(windows),
                reading=self._reading(),
                schedule=self._schedule(),
                levels=tuple(self.levels),
                huber=self.huber,
                late_share=self.late_share,
                seeds=range(self.seed, self.seed + self.seeds),
                device=device_of(self.device),
                parent=None if parent is None else cast("Any", parent.model()).fitted_,
                auxiliary=self._auxiliary(windows),
                checkpoints=self._around.get("folder"),
                key=f"{self.name}-{key}",
                progress=self._around.get("progress", silent),
                name=self.name,
            )
        self.version_ = content_hash(
            identity, *(p.numpy() for n in self.fitted_.networks for p in n.state_dict().values())
        )
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the median. No forecast where the window has too few bars."""
        return self._forecast(windows, self.fitted_)

    def predict_with(self, runners: Sequence[Exported], windows: Windows) -> Forecast:
        """Forecast with exported files in place of the networks, see :mod:`tradewind.models.networks.export`.

        In single precision; explained by the networks themselves. ``DataError`` where the files are of another model.
        """
        from tradewind.models.networks.export import answering_with

        return self._forecast(windows, answering_with(self, runners, windows.labels.horizons))

    def stepper(self, history: Windows, runners: Sequence[Exported] = ()) -> SequenceStepper | None:
        """Return what forecasts one bar after the other from the end of a history on, as :meth:`predict` would.

        With exported files in place of the networks where there are any, as :meth:`predict_with` would. None for a
        network that reads whole dates: it is asked with its history.
        """
        from tradewind.models.networks.export import answering_with
        from tradewind.models.networks.stepping import SequenceStepper

        fitted = answering_with(self, runners, history.labels.horizons) if runners else self.fitted_
        return None if fitted.reading.whole_dates else SequenceStepper(self, fitted, history)

    def _forecast(self, windows: Windows, fitted: Fitted) -> Forecast:
        from tradewind.models.networks.training import threads

        scale = naive_scale(windows, _decay())
        with threads(self.threads):
            answer, _ = fitted.answer(windows, self.batch_windows)
            explanation = self.explain(windows)
        return self.assembled(windows, answer, scale, explanation)

    def assembled(self, windows: Windows, answer: Outputs, scale: FloatArray, explanation: dict[str, Any]) -> Forecast:
        """Return the networks' answers, ``(n, H, …)``, as a forecast of the samples; ``scale`` is ``(n, H)``."""
        unit = answer.quantiles.numpy()
        quantiles = unit * scale[:, :, None]
        return assemble(
            windows,
            quantiles,
            quantiles[:, :, len(self.levels) // 2],
            model=self.name,
            version=self.version_,
            levels=self.levels,
            probabilities=None if answer.logits is None else answer.logits.softmax(-1).numpy(),
            high=_scaled(answer.high, scale),
            low=_scaled(answer.low, scale),
            explanation=explanation,
        )

    def explain(self, windows: Windows) -> dict[str, Any]:
        """Return what moved the forecasts of the newest samples: shares by channel and by bar of the window."""
        from tradewind.models.networks.forecaster import saliency

        channels, bars = saliency(self.fitted_, windows)
        return {
            "importance": top_importance(self.fitted_.channels, np.nan_to_num(channels)),
            "bars": [round(float(share), 5) for share in np.nan_to_num(bars)],
            "training": [
                {"epochs": len(h.late), "kept": h.best + 1, "loss": round(h.late[h.best], 6)}
                for h in self.fitted_.histories
            ],
        }

    def origin(self) -> Origin | None:
        """Return what the training goes on from; None where it begins anew."""
        if not self.start_from:
            return None
        from tradewind.models.networks.transfer import parent_of

        parent = parent_of(self.start_from, self.name)
        return Origin(parent.id, parent.digest, parent.card["manifest"]["trained_until"][:10])

    def _parent(self, windows: Windows) -> Artefact | None:
        if not self.start_from:
            return None
        from tradewind.models.networks.transfer import parent_of, require_past

        parent = parent_of(self.start_from, self.name)
        require_past(parent, windows)
        return parent

    def _targets(self, windows: Windows) -> Targets:
        import torch

        from tradewind.models.networks.forecaster import LARGEST, Targets

        rows, columns = windows.rows, windows.columns
        ratio = np.clip(windows.labels.returns[rows, columns] / naive_scale(windows, _decay()), -LARGEST, LARGEST)
        weight = np.where(np.isfinite(ratio), windows.labels.weight[rows, columns], 0.0)
        weight /= np.maximum(weight.sum(axis=0) / np.maximum((weight > 0).sum(axis=0), 1), 1e-12)
        classes = windows.labels.classes
        high, low = self._path(windows) if self.path else (None, None)
        return Targets(
            returns=torch.from_numpy(ratio).float(),
            weight=torch.from_numpy(weight).float(),
            classes=None if classes is None else torch.from_numpy(_numbered(windows, classes)),
            high=None if high is None else torch.from_numpy(high).float(),
            low=None if low is None else torch.from_numpy(low).float(),
        )

    def _auxiliary(self, windows: Windows) -> Auxiliary | None:
        """Return a further target that is no quantity of one sample; None without."""
        return None

    def _path(self, windows: Windows) -> list[FloatArray]:
        """Return the scaled extremes of each sample's path, which begins at the deciding close."""
        from tradewind.labels.path import path_extremes
        from tradewind.models.networks.forecaster import LARGEST

        scale = naive_scale(windows, _decay())
        both = path_extremes(windows.panel, windows.labels.horizons)
        high, low = (part[windows.rows, windows.columns] / scale for part in both)
        return [np.clip(high, 0.0, LARGEST), np.clip(low, -LARGEST, 0.0)]

    def _reading(self) -> Reading:
        from tradewind.models.networks.forecaster import Reading

        return Reading(self.window_bars, self.least_share, self.half_life_bars, self.whole_dates)

    def _schedule(self) -> Schedule:
        from tradewind.models.networks.training import Schedule

        names = ("epochs", "patience", "epoch_windows", "batch_windows", "run_windows", "run_stride_bars")
        numbers = ("learning_rate", "weight_decay", "clip_norm", "averaging")
        return Schedule(**{name: getattr(self, name) for name in (*names, *numbers)})

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in settings_of(self).items() if not name.startswith("_")}


def _decay() -> float:
    """Return the decay of the volatility that forecasts are scaled by: that which bars are read in."""
    from tradewind.models.networks.sequences import DECAY

    return DECAY


def _numbered(windows: Windows, classes: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return 0 down, 1 neutral and 2 up of each sample; -1 where it had no volatility to stand barriers in."""
    rows, columns = windows.rows, windows.columns
    known = np.isfinite(windows.labels.scale[rows, columns])[:, None]
    return np.where(known, classes[rows, columns].astype(np.int64) + 1, -1)


def _shown(windows: Windows) -> list[Any]:
    """Return all that a network learns from: whatever of it changes, a checkpoint is of another training."""
    features, labels = windows.features, windows.labels
    arrays = [features.values, labels.returns, labels.weight]
    classes = [] if labels.classes is None else [labels.classes]
    return [training_id(windows), features.names, labels.horizons, *arrays, *classes]


@cache
def code_digest() -> str:
    """Return a hash of the package's source and PyTorch's version: a training goes on with what it began with."""
    from importlib.metadata import version

    texts = [path.read_text("utf-8") for path in sorted(Path(__file__).parent.parent.rglob("*.py"))]
    return content_hash(version("torch"), *texts)


def _scaled(unit: Tensor | None, scale: FloatArray) -> FloatArray | None:
    return None if unit is None else unit.numpy() * scale[:, :, None]


def torch_is_there(model: str) -> None:
    """Raise ``InputError`` with the command that installs PyTorch where it is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"the model {model!r} is a network and needs {' and '.join(missing)}, not installed here",
            hint="pip install 'tradewind[deep]'",
        )
