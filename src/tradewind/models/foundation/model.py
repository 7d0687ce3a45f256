"""Foundation models behind the model protocol: zero-shot, from the closes of one symbol alone.

PyTorch and the packages are imported when a model is fitted, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.models.assembly import assemble, content_hash
from tradewind.models.base import Origin, Windows
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.foundation.kept import KeptAnswers
from tradewind.models.foundation.levels import at_levels, beyond
from tradewind.models.foundation.series import Series, require_history
from tradewind.models.foundation.weights import Weights, digest_of, find_weights, packages_are_there, versions

if TYPE_CHECKING:
    from tradewind.models.foundation.forecaster import Forecaster

FloatArray = NDArray[np.float64]
_STORE_EVERY_BATCHES = 32
_UNDATED = "nobody said when these weights were made: forecasts of any past bar"
_READ = "log of the adjusted close, relative to the last"


@dataclass(eq=False, kw_only=True)
class FoundationModel:
    """Base of forecasters whose weights were trained elsewhere; subclasses say how theirs are loaded.

    A sample is read as the last ``context_bars`` log closes of its symbol (forward-adjusted), relative to the last of
    them: the level is of no account, and no other symbol or feature is seen. What is forecast is the continuation of
    that series, whose value at step ``h`` is the log return over ``h`` bars. Levels that the weights do not have are
    made as :func:`tradewind.models.foundation.levels.at_levels` says; the explanation names them.

    Parameters
    ----------
    weights
        A folder, or the name of a repository on the Hugging Face hub, which must be in the hub's cache on this machine.
    revision
        Of that repository; empty: its newest.
    download
        Whether weights that are not there may be downloaded.
    weights_hash
        What the hash of the weights must be; empty: any. The explanation of a forecast tells it.
    weights_known_at
        ISO day from which on the world could know what the weights know; empty: their release, for published ones.
    context_bars, least_bars
        Bars that are read, and the fewest of them that a symbol must have to be forecast.
    batch_series
        Series that are forecast at a time.
    samples
        Sample paths, for weights that draw them.
    device
        ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
    levels, threads, seed
        Quantile levels, threads of torch, seed of the sample paths.
    """

    name: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    packages: ClassVar[Mapping[str, str]] = {}
    weights: str = ""
    revision: str = ""
    download: bool = False
    weights_hash: str = ""
    weights_known_at: str = ""
    context_bars: int = 512
    least_bars: int = 64
    batch_series: int = 32
    samples: int = 100
    device: str = "auto"
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0
    _around: dict[str, Any] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        self.levels = tuple(self.levels)
        rising = bool(self.levels) and list(self.levels) == sorted({*self.levels})
        if not rising or 0.5 not in self.levels or not (self.levels[0] > 0 and self.levels[-1] < 1):
            raise InputError(f"levels {self.levels} of {self.name!r} must rise between 0 and 1, with the median 0.5")
        if not 2 <= self.least_bars <= self.context_bars:
            raise InputError(
                f"least_bars = {self.least_bars} must lie between 2 and context_bars = {self.context_bars}"
            )
        if self.batch_series < 1 or self.samples < 2:
            raise InputError("batch_series must be 1 or more, samples 2 or more")
        self.weights_known_at = str(self.weights_known_at)  # a day of a TOML file is a date
        if self.weights_known_at:
            _require_day(self.name, self.weights_known_at)

    def open(self, weights: Weights) -> Forecaster:
        """Load weights; raises ``DataError`` for those that are damaged or of another kind."""
        raise NotImplementedError

    def resume_in(self, folder: Path | None, progress: Callable[[str, int, int], None]) -> None:
        """See :class:`tradewind.models.base.Resumable`; answers are kept in the folder by the content of the series."""
        self._around = {"folder": folder, "progress": progress}

    def origin(self) -> Origin:
        """See :class:`tradewind.models.base.Pretrained`; raises as :meth:`fit` does where there are no weights."""
        found = self._find()
        return Origin(found.name, content_hash(found.digest, self._versions()), found.known_at or None)

    def fit(self, windows: Windows) -> Self:
        """Learn nothing; see that the weights are there, whole, and made for what is asked of them."""
        from tradewind.models.foundation.forecaster import require_fit

        require_history(windows, self.least_bars, self.name)
        weights = self._find()
        forecaster = self._opened(weights)
        require_fit(forecaster, self.context_bars, windows.labels.horizons, self.name)
        self.weights_ = weights
        self.version_ = content_hash(self.name, weights.digest, self._versions(), self._settings())
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the median. None where a symbol has too few bars, or never moved."""
        forecaster = self._opened(self.weights_)
        series = Series.of(windows, self.context_bars)
        horizons = windows.labels.horizons
        kept = KeptAnswers(self._folder(horizons), (len(horizons), len(self.levels)))
        quantiles = np.full((len(windows.rows), len(horizons), len(self.levels)), np.nan)
        asked = series.told(self.least_bars)
        missing = []
        for block in _blocks(asked, 1_024):
            quantiles[block], known = kept.known(series.cut(block))
            missing.append(block[~known])
        self._forecast(forecaster, series, np.concatenate(missing) if missing else asked, kept, quantiles, horizons)
        return assemble(
            windows,
            quantiles,
            quantiles[..., tuple(self.levels).index(0.5)],
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation=self._explanation(forecaster),
        )

    def _forecast(
        self,
        forecaster: Forecaster,
        series: Series,
        samples: NDArray[np.int64],
        kept: KeptAnswers,
        quantiles: FloatArray,
        horizons: Sequence[int],
    ) -> None:
        """Fill in the quantiles of samples, batch by batch; what was done is kept when it is interrupted."""
        from tradewind.models.foundation.forecaster import memory_errors
        from tradewind.models.networks.training import threads

        own, steps = forecaster.own_levels(self.levels), np.asarray(horizons) - 1
        batches = _blocks(samples, self.batch_series)
        try:
            with threads(self.threads), memory_errors(self.name, self.batch_series, self.context_bars):
                for done, batch in enumerate(batches):
                    read = series.cut(batch)
                    paths = forecaster.quantiles(_filled(read, self.batch_series), max(horizons), self.levels)
                    quantiles[batch] = at_levels(paths[: len(batch), steps], own, self.levels)
                    kept.add(read, quantiles[batch])
                    if (done + 1) % _STORE_EVERY_BATCHES == 0:
                        kept.store()
                    self._say(done + 1, len(batches))
        finally:
            kept.store()

    def _say(self, done: int, total: int) -> None:
        progress = self._around.get("progress")
        if progress is not None:
            progress(self.name, done, total)

    def _find(self) -> Weights:
        packages_are_there(self.name, self.extra, self.packages)
        return find_weights(
            self.name,
            self.weights,
            revision=self.revision,
            download=self.download,
            digest=self.weights_hash,
            known_at=self.weights_known_at,
        )

    def _opened(self, weights: Weights) -> Forecaster:
        """Return the loaded weights, which stay in the process; refuse them where they changed since the fit."""
        if not weights.folder.is_dir():  # a stored model names its weights, it does not hold them
            found = self._find()
            weights = replace(weights, folder=found.folder)
        if digest_of(weights.folder) != weights.digest:
            raise DataError(
                f"the weights in {weights.folder} changed since {self.name} was fitted with them",
                hint="put the right ones back, or fit again",
            )
        return self.open(weights)

    def _versions(self) -> dict[str, str]:
        return versions(self.packages.values())

    def _settings(self) -> dict[str, Any]:
        """Return what the numbers depend on besides the weights."""
        names = ("context_bars", "least_bars", "levels", "samples", "seed")
        return {name: getattr(self, name) for name in names}

    def _folder(self, horizons: Sequence[int]) -> Path | None:
        """Return where the answers to this question are kept: of these weights, settings, versions and horizons."""
        folder = self._around.get("folder")
        return None if folder is None else Path(folder) / f"{self.name}-{content_hash(self.version_, list(horizons))}"

    def _explanation(self, forecaster: Forecaster) -> dict[str, Any]:
        """Return what was read, whose weights they are, which levels are not theirs, and what they may know."""
        own, weights = forecaster.own_levels(self.levels), self.weights_
        told: dict[str, Any] = {
            "kind": forecaster.kind,
            "read": f"{self.context_bars} bars: {_READ}; each symbol by itself",
            "weights": weights.name,
            "weights_hash": weights.digest,
            "weights_license": weights.license or "not known here: see their publisher",
            "packages": self._versions(),
            "own_levels": list(own),
            "contamination": contamination(weights.known_at),
        }
        outside = beyond(own, self.levels)
        if outside:
            told["levels_beyond_the_weights"] = {
                "levels": list(outside),
                "how": "a normal tail from the weights' outermost level on, as wide as its distance from the median",
            }
        return told


def contamination(known_at: str) -> str:
    """Return what is to be said of weights that may have read the future."""
    when = f"weights known on {known_at}: forecasts of earlier bars" if known_at else _UNDATED
    return f"{when} may come from a model that had read what came after"


def _blocks(samples: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _filled(series: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a batch of the full size, the last series repeated: sums of products differ with the shape of a batch."""
    return np.concatenate([series, np.repeat(series[-1:], size - len(series), axis=0)])


def _require_day(model: str, text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"weights_known_at = {text!r} of {model!r} is no day", hint='write it like "2024-11-26"'
        ) from None
