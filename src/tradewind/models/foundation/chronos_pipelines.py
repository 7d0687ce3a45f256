"""Chronos-T5, Chronos-Bolt and Chronos-2 through Amazon's own package, ``chronos-forecasting``.

References
----------
Ansari et al., *Chronos: Learning the Language of Time Series*, 2024 (arXiv:2403.07815); *Chronos-2: From Univariate to
Universal Forecasting*, 2025 (arXiv:2510.15821).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.models.foundation.forecaster import Forecaster, loading
from tradewind.models.foundation.weights import Weights, require_all_loaded
from tradewind.models.networks.training import device_of

if TYPE_CHECKING:
    from chronos import Chronos2Pipeline, ChronosBoltPipeline, ChronosPipeline

FloatArray = NDArray[np.float64]
#: What older releases of the packages wrote and newer ones leave out.
_UNUSED = ("lm_head.weight",)


class SampledPaths:
    """Chronos-T5: tokens of a language model, drawn one after the other.

    A forecast is the quantiles of ``samples`` paths. Each series is drawn by itself from a seed made of its content,
    so that it is forecast the same whatever stands beside it; a level with less than one path beyond it is not its own.
    """

    def __init__(self, pipeline: ChronosPipeline, samples: int, seed: int) -> None:
        self.kind = "Chronos-T5"
        self.pipeline, self.samples, self.seed = pipeline, samples, seed
        self.longest_context = int(pipeline.model_context_length)
        self.longest_horizon = int(pipeline.model_prediction_length)

    def own_levels(self, wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the levels that enough paths lie beyond."""
        return tuple(p for p in sorted({*wanted, 0.25, 0.5, 0.75}) if self.samples * min(p, 1.0 - p) >= 1.0 - 1e-9)

    def quantiles(self, series: NDArray[np.float32], horizon: int, wanted: Sequence[float]) -> FloatArray:
        """See :meth:`Forecaster.quantiles`; a series that stands there twice is drawn once."""
        own = torch.tensor(self.own_levels(wanted))
        drawn: dict[bytes, FloatArray] = {}
        for row in series:
            key = row.tobytes()
            if key not in drawn:
                paths = self._paths(row, horizon)
                drawn[key] = torch.quantile(paths[0], own, dim=0).T.double().numpy()
        return np.stack([drawn[row.tobytes()] for row in series])

    def _paths(self, row: NDArray[np.float32], horizon: int) -> torch.Tensor:
        with _seeded(seed_of(row, self.seed), self.pipeline.model.device):
            return self.pipeline.predict(
                torch.from_numpy(row)[None], horizon, num_samples=self.samples, limit_prediction_length=True
            )


class DirectQuantiles:
    """Chronos-Bolt: the quantiles of all steps at once."""

    def __init__(self, pipeline: ChronosBoltPipeline) -> None:
        self.kind = "Chronos-Bolt"
        self.pipeline = pipeline
        self.longest_context = int(pipeline.model_context_length)
        self.longest_horizon = int(pipeline.model_prediction_length)

    def own_levels(self, _wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the levels it was trained on."""
        return tuple(float(p) for p in self.pipeline.quantiles)

    def quantiles(self, series: NDArray[np.float32], horizon: int, _wanted: Sequence[float]) -> FloatArray:
        """See :meth:`Forecaster.quantiles`."""
        answer = self.pipeline.predict(torch.from_numpy(series), horizon, limit_prediction_length=True)
        return np.asarray(answer.double().numpy()).swapaxes(1, 2)


class GroupedQuantiles:
    """Chronos-2, each series a group of its own."""

    def __init__(self, pipeline: Chronos2Pipeline) -> None:
        self.kind = "Chronos-2"
        self.pipeline = pipeline
        self.longest_context = int(pipeline.model_context_length)
        self.longest_horizon = int(pipeline.model_prediction_length)

    def own_levels(self, _wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the levels it was trained on."""
        return tuple(float(p) for p in self.pipeline.quantiles)

    def quantiles(self, series: NDArray[np.float32], horizon: int, _wanted: Sequence[float]) -> FloatArray:
        """See :meth:`Forecaster.quantiles`."""
        answer = self.pipeline.predict(
            torch.from_numpy(series)[:, None],
            horizon,
            batch_size=len(series),
            cross_learning=False,
            limit_prediction_length=True,
        )
        return np.asarray(torch.cat(list(answer)).double().numpy()).swapaxes(1, 2)


def open_chronos(weights: Weights, device: str, samples: int, seed: int) -> Forecaster:
    """Load weights of any Chronos; see :meth:`tradewind.models.foundation.model.FoundationModel.open`."""
    from chronos import Chronos2Pipeline, ChronosBoltPipeline

    pipeline = _pipeline(weights, str(device_of(device)))
    if isinstance(pipeline, Chronos2Pipeline):
        return GroupedQuantiles(pipeline)
    if isinstance(pipeline, ChronosBoltPipeline):
        return DirectQuantiles(pipeline)
    return SampledPaths(pipeline, samples, seed)


@lru_cache(maxsize=1)
def _pipeline(weights: Weights, device: str) -> Any:
    """Return the package's pipeline, in single precision; the last one stays in memory."""
    from chronos import BaseChronosPipeline

    shapes = weights.tensors()
    _require_chronos(weights.config, weights.folder)
    with loading("chronos-forecasting", weights.folder), _silent():
        pipeline = BaseChronosPipeline.from_pretrained(
            weights.folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        network = pipeline.inner_model
        require_all_loaded(network, shapes, source=weights.folder, unused=_UNUSED)
        network.to(device).eval()
    return pipeline


def _require_chronos(config: dict[str, Any], folder: Path) -> None:
    """Raise ``DataError`` for a configuration of something else."""
    kinds = ("ChronosPipeline", "ChronosBoltPipeline", "Chronos2Pipeline")
    kind = config.get("chronos_pipeline_class", kinds[0])
    if "chronos_config" not in config:
        what = config.get("model_type") or config.get("architectures") or "nothing known here"
        raise DataError(f"{folder} holds no Chronos: its config.json is of {what}", hint="name weights of Chronos")
    if kind not in kinds:
        raise DataError(
            f"{folder} holds a Chronos that is not known here: {kind!r}",
            hint=f"known: {', '.join(kinds)}; a newer chronos-forecasting may bring others",
        )


def seed_of(series: NDArray[np.float32], seed: int) -> int:
    """Return the seed of a series' sample paths."""
    digest = hashlib.blake2b(np.ascontiguousarray(series).tobytes(), digest_size=7, key=str(seed).encode())
    return int.from_bytes(digest.digest(), "little")


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from this seed inside, and leave its generators outside as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the progress bars and reports of loading away: what they say is checked and raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
