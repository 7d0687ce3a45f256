"""TimesFM 2.5 and 3.0 through Google's own package, ``timesfm``.

References
----------
Das, Kong, Sen & Zhou, *A decoder-only foundation model for time-series forecasting*, ICML 2024 (arXiv:2310.10688).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.models.foundation.forecaster import Forecaster, loading
from tradewind.models.foundation.weights import Weights, require_all_loaded
from tradewind.models.networks.training import device_of

if TYPE_CHECKING:
    from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch
    from timesfm3 import TimesFM3Forecaster

FloatArray = NDArray[np.float64]
#: A tensor of each, by which a checkpoint is told: what 2.5 is made of is written in its package, not beside it.
_OF_2_5, _OF_3 = "tokenizer.hidden_layer.weight", "pre_transformer_resblock.hidden_layer.weight"


class Decoder25:
    """TimesFM 2.5 with the quantile head and the settings that its authors recommend, but one.

    ``infer_is_positive`` would let no forecast of a series that is nowhere below zero fall below zero, and a symbol
    that only fell is such a series here. Missing bars are filled by the package, linearly between known ones.
    """

    def __init__(self, decoder: TimesFM_2p5_200M_torch) -> None:
        self.kind = "TimesFM 2.5"
        self.decoder = decoder
        config = decoder.model.config
        self._levels = tuple(float(p) for p in config.quantiles)
        self._patch = int(config.output_patch_len)
        self.longest_horizon = int(config.output_quantile_len)
        self.longest_context = int(config.context_limit) - self.longest_horizon

    def own_levels(self, _wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the levels it was trained on."""
        return self._levels

    def quantiles(self, series: NDArray[np.float32], horizon: int, _wanted: Sequence[float]) -> FloatArray:
        """See :meth:`Forecaster.quantiles`."""
        from timesfm import ForecastConfig

        self.decoder.compile(
            ForecastConfig(
                max_context=series.shape[1],
                max_horizon=horizon,
                per_core_batch_size=len(series),
                normalize_inputs=True,
                use_continuous_quantile_head=True,
                force_flip_invariance=True,
                infer_is_positive=False,
                fix_quantile_crossing=True,
            )
        )
        _, answer = self.decoder.forecast(horizon, list(series))
        return np.asarray(answer[..., 1:], dtype=np.float64)  # the first is the mean


class Decoder3:
    """TimesFM 3.0, each series by itself. Missing bars are filled by the package, linearly between known ones."""

    def __init__(self, forecaster: TimesFM3Forecaster) -> None:
        self.kind = "TimesFM 3.0"
        self.forecaster = forecaster
        self._levels = tuple(float(p) for p in forecaster.config.quantiles)
        self.longest_context = int(forecaster.global_context)
        self.longest_horizon = self.longest_context

    def own_levels(self, _wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the levels it was trained on."""
        return self._levels

    def quantiles(self, series: NDArray[np.float32], horizon: int, _wanted: Sequence[float]) -> FloatArray:
        """See :meth:`Forecaster.quantiles`.

        The package cuts a batch to its longest series, which would let one series move another's last digits: a whole
        one of no account always stands beside them.
        """
        whole = np.linspace(0.0, 1.0, series.shape[1], dtype=np.float32)
        self.forecaster.config.per_core_batch_size = len(series) + 1
        said = self.forecaster.predict_batch([*series, whole], horizon, return_quantiles=True)
        return np.stack([one.quantiles for one in said][:-1]).astype(np.float64)


def open_timesfm(weights: Weights, device: str) -> Forecaster:
    """Load weights of TimesFM; see :meth:`tradewind.models.foundation.model.FoundationModel.open`."""
    return _forecaster(weights, str(device_of(device)))


@lru_cache(maxsize=1)
def _forecaster(weights: Weights, device: str) -> Forecaster:
    """Return the loaded weights; the last ones stay in memory."""
    shapes = weights.tensors()
    if _OF_3 in shapes:
        return _open_3(weights, device, shapes)
    if _OF_2_5 in shapes:
        return _open_2_5(weights, device, shapes)
    raise DataError(
        f"{weights.folder} holds no TimesFM 2.5 or 3.0: its tensors are {', '.join(sorted(shapes)[:3])} ...",
        hint="take those that Google publishes for its own package, e.g. google/timesfm-2.5-200m-pytorch",
    )


def _open_2_5(weights: Weights, device: str, shapes: dict[str, Any]) -> Forecaster:
    from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch

    with loading("timesfm", weights.folder):
        decoder = TimesFM_2p5_200M_torch(torch_compile=False)
        decoder.model.device, decoder.model.device_count = torch.device(device), 1
        decoder.load_checkpoint(str(weights.folder), torch_compile=False)
        require_all_loaded(decoder.model, shapes, source=weights.folder)
    return Decoder25(decoder)


def _open_3(weights: Weights, device: str, shapes: dict[str, Any]) -> Forecaster:
    from timesfm3 import TimesFM3Forecaster

    if "transformer_config" not in weights.config:
        raise DataError(f"{weights.folder} holds TimesFM 3.0 tensors, but its config.json says nothing of their shape")
    with loading("timesfm", weights.folder):
        forecaster = TimesFM3Forecaster(
            checkpoint_path=str(weights.folder.resolve()), device=device, local_files_only=True
        )
        require_all_loaded(forecaster.model, shapes, source=weights.folder)
    return Decoder3(forecaster)
