"""The open daily panel as a forecasting task: bars, labels, yearly walk-forward with a cache, and its scores."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tradewind.features.table import Features
from tradewind.labels.forward import forward_returns
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.base import MODELS, Windows
from tradewind.models.forecast import Forecast

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".bench" / "forecasts"
HORIZONS = (1, 5, 20)
FIRST_TRAINING_ROW = 120


@dataclass(frozen=True, eq=False)
class Task:
    panel: Panel
    labels: Labels
    features: Features

    def head(self, stop: int) -> Task:
        return Task(self.panel.head(stop), self.labels.head(stop), self.features.head(stop))

    def windows(self, rows: np.ndarray) -> Windows:
        at, columns = np.nonzero(self.panel.mask[rows])
        return Windows(self.panel, self.features, self.labels, rows[at].astype(np.int64), columns.astype(np.int64))


def load(with_features: bool = True, last_year: int = 2016) -> Task:
    panel = open_panel(last_year)
    labels = forward_returns(panel, HORIZONS)
    return Task(panel, labels, the_features(panel) if with_features else no_features(panel))


def open_panel(last_year: int = 2016) -> Panel:
    """All 341 tickers; members as of 2021, so the panel has survivorship bias."""
    import polars as pl

    path = DATA / "daily" / "sp500_ohlcv_2005_2016.parquet"
    if not path.exists():
        raise SystemExit(f"{path} is not here: this benchmark needs the open daily panel")
    frame = pl.read_parquet(path).filter(pl.col("date").dt.year() <= last_year)
    dates = frame["date"].unique().sort()
    symbols = frame["ticker"].unique().sort().to_list()
    row = dates.search_sorted(frame["date"]).to_numpy()
    column = pl.Series(symbols).search_sorted(frame["ticker"]).to_numpy()
    shape = (len(dates), len(symbols))
    fields = {}
    sources = dict.fromkeys(("open", "high", "low", "close", "volume"), np.nan) | {"split": 1.0, "dividend": 0.0}
    names = {"split": "split_coefficient", "dividend": "dividend_amount"}
    for name, fill in sources.items():
        fields[name] = np.full(shape, fill)
        fields[name][row, column] = frame[names.get(name, name)].cast(pl.Float64).to_numpy()
    mask = np.isfinite(fields["close"])
    times = dates.to_numpy().astype("datetime64[us]") + np.timedelta64(21, "h")
    context = {"vix": _vix(dates.to_list())}
    return Panel(
        times,
        tuple(symbols),
        tuple(symbols),
        fields,
        mask,
        mask.copy(),
        context,
        version=f"open-2005-{last_year}",
        flags=("survivorship bias: members as of 2021",),
    )


def _vix(dates: list[Any]) -> np.ndarray:
    import polars as pl

    path = DATA / "macro" / "vix_daily.csv.gz"
    if not path.exists():
        return np.full(len(dates), np.nan)
    frame = pl.read_csv(path)
    close = dict(zip(frame["DATE"].to_list(), frame["CLOSE"].to_list(), strict=True))
    return np.array([close.get(str(d), np.nan) for d in dates])


def the_features(panel: Panel) -> Features:
    from tradewind.features import compute
    from tradewind.features.registry import select

    return compute(panel, select())


def no_features(panel: Panel) -> Features:
    return Features(panel.times, panel.symbols, (), np.zeros((*panel.shape, 0), dtype=np.float32))


def code_of(name: str) -> str:
    """Hash of the model's file and of those of its room that it is built from: a changed model is run again."""
    module = type(MODELS.create(name)).__module__.rsplit(".", 1)[1]
    room, waiting, texts = ROOT / "src" / "tradewind" / "models", [module], {}
    while waiting:
        part = waiting.pop()
        if part not in texts:
            texts[part] = (room / f"{part}.py").read_text()
            waiting += re.findall(r"^from tradewind\.models\.(\w+) import", texts[part], re.MULTILINE)
    whole = "".join(texts[part] for part in sorted(texts))
    return hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()


def year_of(panel: Panel) -> np.ndarray:
    return panel.times.astype("datetime64[Y]").astype(int) + 1970


def walk(task: Task, name: str, years: range, cached: bool = True, **parameters: Any) -> tuple[Forecast, float]:
    """Refit each January on all before; return the out-of-sample forecast over ``years`` and the CPU seconds."""
    parts, seconds = [], 0.0
    for year in years:
        path = CACHE / f"{name}-{code_of(name)}-{year}.npz"
        if cached and path.exists():
            saved = np.load(path)
            parts.append((saved["quantiles"], saved["score"]))
            seconds += float(saved["seconds"])
            continue
        quantiles, score, spent = _one_year(task, name, year, parameters)
        if cached:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path.with_suffix(".part.npz"), quantiles=quantiles, score=score, seconds=spent)
            path.with_suffix(".part.npz").replace(path)
        parts.append((quantiles, score))
        seconds += spent
    rows = np.flatnonzero(np.isin(year_of(task.panel), list(years)))
    quantiles = np.concatenate([p[0] for p in parts])
    score = np.concatenate([p[1] for p in parts])
    from tradewind.models.forecast import LEVELS

    made = Forecast(task.panel.times[rows], task.panel.symbols, HORIZONS, LEVELS, quantiles, score, model=name)
    return made, seconds


def _one_year(task: Task, name: str, year: int, parameters: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    began = time.process_time()
    rows = np.flatnonzero(year_of(task.panel) == year)
    seen = task.head(int(rows[0]))
    threads = {} if name.startswith("naive") else {"threads": 1}
    model = MODELS.create(name, **{"seed": 1, **threads, **parameters}).fit(_training(seen))
    made = model.predict(task.head(int(rows[-1]) + 1).windows(rows))
    return made.quantiles, made.score, time.process_time() - began


def _training(seen: Task) -> Windows:
    whole = seen.windows(np.arange(FIRST_TRAINING_ROW, len(seen.panel)))
    known = np.isfinite(seen.labels.returns[whole.rows, whole.columns]).any(axis=1)
    return replace(whole, rows=whole.rows[known], columns=whole.columns[known])


def outcomes_of(task: Task, years: range, wait: int = 0) -> np.ndarray:
    """Returns over each horizon from the deciding close, or from the close `wait` bars later: what can be traded."""
    returns = task.labels.returns
    late = np.full_like(returns, np.nan)
    late[: len(returns) - wait] = returns[wait:]
    return late[np.isin(year_of(task.panel), list(years))]
