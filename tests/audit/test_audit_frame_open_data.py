"""The published tables: the leaking ones are flagged, column by column, the causal ones pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.audit import audit_frame

PAPERS = Path(__file__).parents[2] / "../shared/data/papers"
DAILY = Path(__file__).parents[2] / "../shared/data/daily/sp500_ohlcv_2005_2016.parquet"
SAMBA = {"mom", "mom1", "mom2", "mom3", "ROC_5", "ROC_10", "ROC_15", "ROC_20", "EMA_10", "EMA_20", "EMA_50", "EMA_200"}

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not PAPERS.exists(), reason="the open data is not beside the project"),
]


def test_samba_leaks_in_its_momentum_roc_and_ema_columns_and_in_no_other() -> None:
    audit = audit_frame(PAPERS / "samba_IXIC_LEAKY.parquet", time="Date", price="Price")
    assert {leak.column for leak in audit.leaks} == SAMBA
    lead = {leak.column: leak.lead for leak in audit.leaks}
    assert [lead[c] for c in ("mom", "mom1", "mom2", "mom3", "ROC_5", "ROC_20")] == [1, 2, 3, 4, 5, 20]


@pytest.mark.parametrize("rows", [400])
def test_a_part_of_samba_is_enough(rows: int) -> None:
    table = pl.read_parquet(PAPERS / "samba_IXIC_LEAKY.parquet").tail(rows)
    found = {leak.column for leak in audit_frame(table, time="Date", price="Price").leaks}
    assert found <= SAMBA
    assert found >= SAMBA - {"EMA_200"}


@pytest.mark.parametrize("ticker", ["600036", "601988"])
def test_mambastock_is_a_nowcast(ticker: str) -> None:
    audit = audit_frame(PAPERS / f"mambastock_{ticker}.parquet", time="trade_date", target="pct_chg")
    guilty = {leak.column for leak in audit.leaks}
    assert {"close", "high", "low", "change", "total_mv", "pe", "pb", "ps"} <= guilty
    assert not guilty & {"pre_close", "total_share", "float_share", "free_share"}


@pytest.mark.parametrize(("index", "rows"), [("NASDAQ", 1_984), ("DJI", 1_984), ("NASDAQ", 500)])
def test_cnnpred_is_causal(index: str, rows: int) -> None:
    table = pl.read_parquet(PAPERS / f"cnnpred_{index}.parquet").tail(rows)
    assert audit_frame(table, time="Date", price="Close").leaks == ()


@pytest.mark.parametrize("ticker", ["AAPL", "XOM"])
def test_features_of_real_stocks_raise_no_alarm(ticker: str) -> None:
    talib = pytest.importorskip("talib")
    bars = pl.read_parquet(DAILY).filter(pl.col("ticker") == ticker).sort("date").tail(900)
    factor = bars["adjusted_close"] / bars["close"]
    close, high, low = ((bars[c] * factor).cast(pl.Float64).to_numpy() for c in ("close", "high", "low"))
    columns = {
        "rsi": talib.RSI(close),
        "macd": talib.MACD(close)[0],
        "atr": talib.ATR(high, low, close),
        "adx": talib.ADX(high, low, close),
        "kama": talib.KAMA(close),
        "obv": talib.OBV(close, bars["volume"].cast(pl.Float64).to_numpy()),
        "linear": talib.LINEARREG(close, 30),
        "sar": talib.SAR(high, low),
        "trendline": talib.HT_TRENDLINE(close),
        "band": talib.BBANDS(close)[0],
        "stochastic": talib.STOCH(high, low, close)[0],
    }
    table = pl.DataFrame({"date": bars["date"], "close": close, "high": high, "low": low, **columns})
    assert audit_frame(table, time="date", price="close").clean
    assert np.isfinite(close).all()
